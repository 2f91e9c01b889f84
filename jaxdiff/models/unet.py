"""The UNet of ADM (Dhariwal & Nichol 2021) in Flax NNX, as the paper's minimal-diffusion baseline uses it."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from einops import reduce
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxdiff.errors import InputError
from jaxdiff.models import labels
from jaxdiff.models.config import EncoderConfig, UNetConfig
from jaxdiff.models.layers import (
    Attention,
    GroupNorm,
    convolution,
    convolve_repeated,
    depth_to_space,
    linear,
    repeated,
    sinusoids,
    space_to_depth,
)


class ResidualBlock(nnx.Module):
    """norm, SiLU, (resample,) conv, norm, SiLU, dropout, conv, plus a skip.

    The embedding scales and shifts the output of the second norm (ADM's ResBlock), or shifts its input (DDPM's).
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, *, config: EncoderConfig, resample: str | None = None):
        dtype = jnp.dtype(config.dtype)
        self.resample = resample
        self.dropout = config.dropout
        self.norm_in = GroupNorm(inputs, config.groups, config.epsilon)
        self.conv_in = convolution(inputs, outputs, 3, dtype=dtype)
        self.scales = config.embedding == "scale_shift"
        if self.scales:
            self.scale_shift = linear(embedding, 2 * outputs, dtype=dtype)
        else:
            self.shift = linear(embedding, outputs, dtype=dtype)
        self.norm_out = GroupNorm(outputs, config.groups, config.epsilon)
        self.conv_out = convolution(outputs, outputs, 3, dtype=dtype)
        self.skip = None if inputs == outputs else convolution(inputs, outputs, 1, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], key: PRNGKeyArray | None) -> Array:
        hidden = self.norm_in.silu(x)
        if self.resample == "up":
            x, hidden = repeated(x), convolve_repeated(self.conv_in, hidden)
        elif self.resample == "down":
            x, hidden = _halved(x), self.conv_in(_halved(hidden))
        else:
            hidden = self.conv_in(hidden)
        if self.scales:
            hidden = self.norm_out.silu(hidden, *jnp.split(self.scale_shift(embedding)[:, None, None], 2, axis=-1))
        else:
            hidden = self.norm_out.silu(hidden + self.shift(embedding)[:, None, None])
        if key is not None and self.dropout:
            keep = jax.random.bernoulli(key, 1 - self.dropout, hidden.shape)
            hidden = jnp.where(keep, hidden / (1 - self.dropout), 0).astype(hidden.dtype)
        return (x if self.skip is None else self.skip(x)) + self.conv_out(hidden)


def _halved(x):
    """The means of 2x2 pixels: (B, H, W, C) -> (B, H/2, W/2, C)."""
    return reduce(x, "b (h 2) (w 2) c -> b h w c", "mean")


def _attention(channels: int, config: EncoderConfig, normalised: bool) -> Attention:
    """Self-attention of a configuration."""
    norm = {"groups": config.groups, "epsilon": config.epsilon, "normalised": normalised}
    return Attention(channels, config.head_channels, **norm, dtype=jnp.dtype(config.dtype))


class Block(nnx.Module):
    """A residual block, followed by attention if its resolution has attention.

    Arguments:
        attention: `normalised`, `plain` or `none`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        *,
        config: EncoderConfig,
        resample: str | None = None,
        attention: str = "none",
    ):
        self.residual = ResidualBlock(inputs, outputs, embedding, config=config, resample=resample)
        self.attention = None if attention == "none" else _attention(outputs, config, attention == "normalised")

    def __call__(self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], key: PRNGKeyArray | None) -> Array:
        x = self.residual(x, embedding, key)
        return x if self.attention is None else self.attention(x)


class Resampler(nnx.Module):
    """A 3x3 convolution that halves the resolution or, after upsampling, doubles it. Called like a `Block`."""

    def __init__(self, channels: int, how: str, *, config: EncoderConfig, resample: str):
        self.resample = resample
        strides, centred = 2 if resample == "down" else 1, how == "centred_convolution"
        self.conv = convolution(channels, channels, 3, strides=strides, centred=centred, dtype=jnp.dtype(config.dtype))

    def __call__(self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None, key: PRNGKeyArray | None) -> Array:
        return convolve_repeated(self.conv, x) if self.resample == "up" else self.conv(x)


def _between(level: int, way: str, embedding: int, config: EncoderConfig) -> Block | Resampler:
    """The layer between a level and the next in the encoder, or back in the decoder."""
    width, how = config.level_widths[level if way == "down" else level + 1], config.resampling(way, level)
    if how == "residual":
        return Block(width, width, embedding, config=config, resample=way)
    return Resampler(width, how, config=config, resample=way)


def middle(width: int, embedding: int, config: EncoderConfig) -> list[Block]:
    """The two blocks between encoder and decoder."""
    first = Block(width, width, embedding, config=config, attention=config.middle_attention)
    return [first, Block(width, width, embedding, config=config)]


class Encoder(nnx.Module):
    """The encoder: from a noised image and its time to feature maps of decreasing resolution.

    Arguments:
        config: the configuration.
    """

    def __init__(self, config: EncoderConfig):
        self.config = config
        dtype, base = jnp.dtype(config.dtype), config.base
        embedding = 4 * base
        self.time_in = linear(base, embedding, dtype=dtype)
        self.time_out = linear(embedding, embedding, dtype=dtype)
        self.conv_in = convolution(config.channels * config.stem**2, base, 3, dtype=dtype)
        down, widths, width = [], [base], base
        for level, outputs in enumerate(config.level_widths):
            attention = "normalised" if config.resolutions[level] in config.attention else "none"
            for _ in range(config.blocks):
                down.append(Block(width, outputs, embedding, config=config, attention=attention))
                width = outputs
                widths.append(width)
            if level < len(config.multipliers) - 1:
                down.append(_between(level, "down", embedding, config))
                widths.append(width)
        self.down = nnx.List(down)
        self.widths = tuple(widths)  # channels of the output of each encoder layer

    def embed_time(self, time: Float[Array, " b"]) -> Float[Array, "b e"]:
        """The time embedding."""
        config = self.config
        position = float(config.timesteps) * time + config.time_offset
        features = sinusoids(position, config.base, shift=config.frequency_shift, sines_first=config.sines_first)
        return self.time_out(nnx.silu(self.time_in(features)))

    def descend(self, pixels: Array, embedding: Array, keys: Iterator[Array | None]) -> list[Array]:
        """The output of each encoder layer, from the first convolution on.

        Arguments:
            pixels: noised images after the stem.
            embedding: after its activation, (B, E).
            keys: a dropout key, or None, for each block.
        """
        given = [self.conv_in(pixels)]
        for block in self.down:
            given.append(self.call(block, given[-1], embedding, next(keys)))
        return given

    def call(self, block: Block | Resampler, *arguments: Any) -> Array:
        """A block's output, recomputed in the backward pass with `remat`."""
        return (nnx.remat(_called) if self.config.remat else _called)(block, *arguments)


def _called(block: Block | Resampler, *arguments: Any) -> Array:
    return block(*arguments)


def block_keys(dropout_key: Array | None, count: int) -> Iterator[Array | None]:
    """A key for each block, or None for each without dropout."""
    return iter([None] * count if dropout_key is None else jax.random.split(dropout_key, count))


class UNet(Encoder):
    """Predicts an array of the shape of the image from a noised image, its time and its condition.

    Arguments:
        config: the shape of the network.
    """

    config: UNetConfig

    def __init__(self, config: UNetConfig):
        super().__init__(config)
        dtype, embedding = jnp.dtype(config.dtype), 4 * config.base
        rows = labels.rows(config.values, config.null_label)
        self.label_table = nnx.Param(jnp.zeros((rows, embedding))) if rows else None
        skips, width = list(self.widths), self.widths[-1]
        self.middle = nnx.List(middle(width, embedding, config))
        up, self.joins = [], []
        for level, outputs in reversed(list(enumerate(config.level_widths))):
            attention = "normalised" if config.resolutions[level] in config.attention else "none"
            for _ in range(config.blocks + 1):
                up.append(Block(width + skips.pop(), outputs, embedding, config=config, attention=attention))
                width = outputs
                self.joins.append(True)
            if level:
                up.append(_between(level - 1, "up", embedding, config))
                self.joins.append(False)
        self.joins = tuple(self.joins)
        self.up = nnx.List(up)
        self.norm_out = GroupNorm(width, config.groups, config.epsilon)
        self.conv_out = convolution(width, config.channels * config.stem**2, 3, dtype=dtype)
        self.pass_through = linear(embedding, config.channels * config.stem**2, dtype=dtype) if config.stem > 1 else None

    def embed(self, time: Float[Array, " b"], condition: Array | None) -> Float[Array, "b e"]:
        """The sum of the time embedding and, for each attribute, the label embedding."""
        embedding = self.embed_time(time)
        if self.label_table is None:
            return embedding
        if condition is None:
            raise InputError("`condition` is None; this network takes labels of its attributes, -1 for the null label")
        config = self.config
        added = labels.embed(self.label_table[...], condition, config.values, config.null_label)
        return embedding + added.astype(embedding.dtype)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        time: Float[Array, " b"],
        condition: Int[Array, " b"] | Int[Array, "b a"] | Float[Array, "b v"] | None = None,
        dropout_key: Array | None = None,
    ) -> Float[Array, "b h w c"]:
        """The prediction, float32, of the shape of `x`.

        Arguments:
            x: noised images (B, H, W, C).
            time: t in [0, 1], (B,).
            condition: integer labels, (B,) for one attribute or (B, A), -1 for the null label; or weights (B, W), see
                `labels`.
            dropout_key: enables dropout (for training).
        """
        dtype = jnp.dtype(self.config.dtype)
        embedding = nnx.silu(self.embed(time, condition))
        keys = block_keys(dropout_key, len(self.down) + len(self.middle) + len(self.up))

        pixels = space_to_depth(x.astype(dtype), self.config.stem)
        skips = self.descend(pixels, embedding, keys)
        hidden = skips[-1]
        for block in self.middle:
            hidden = self.call(block, hidden, embedding, next(keys))
        for block, joins in zip(self.up, self.joins, strict=True):
            hidden = self.call(block, jnp.concatenate([hidden, skips.pop()], -1) if joins else hidden, embedding, next(keys))
        out = self.conv_out(self.norm_out.silu(hidden))
        if self.pass_through is not None:
            out = out + self.pass_through(embedding)[:, None, None] * pixels
        return depth_to_space(out, self.config.stem).astype(jnp.float32)
