"""The UNet of ADM (Dhariwal & Nichol 2021) in Flax NNX, as the paper's minimal-diffusion baseline uses it."""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxdiff.errors import InputError
from jaxdiff.models import labels
from jaxdiff.models.layers import Attention, GroupNorm, convolution, depth_to_space, linear, sinusoids, space_to_depth

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of what reads a noised image: a UNet's way down.

    Arguments:
        size: height and width of the images in pixels.
        channels: channels of the images.
        base: channels at the highest resolution.
        multipliers: channels of each level in units of `base`; each level halves the resolution of the one before.
        blocks: residual blocks a level.
        attention: feature-map resolutions (in pixels) that have self-attention; the middle always has.
        head_channels: channels of an attention head.
        dropout: rate in [0, 1) inside the residual blocks.
        stem: space-to-depth factor ahead of the first convolution; 2 makes every pass about four times cheaper.
        dtype: `float32` or `bfloat16` for the computation; parameters are float32 always.
        remat: recompute the blocks in the backward pass, for less memory and a third more time.
    """

    size: int = 32
    channels: int = 3
    base: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: int = 2
    attention: tuple[int, ...] = (8,)
    head_channels: int = 64
    dropout: float = 0.1
    stem: int = 1
    dtype: str = "float32"
    remat: bool = False

    def __post_init__(self):
        step = self.stem * 2 ** (len(self.multipliers) - 1)
        if self.size % step:
            raise InputError(
                f"`size` (={self.size}) must be divisible by {step}: stem {self.stem}, {len(self.multipliers)} levels"
            )
        if self.dtype not in DTYPES:
            raise InputError(f"`dtype` must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"`dropout` must lie in [0, 1), got {self.dropout}")
        possible = [self.size // self.stem // 2**level for level in range(len(self.multipliers))]
        if missing := set(self.attention) - set(possible):
            raise InputError(f"`attention` names resolutions {sorted(missing)}; this network has {possible}")
        if self.base % 2:
            raise InputError(f"`base` must be even, for as many sines as cosines of the time; got {self.base}")
        for level, multiplier in enumerate(self.multipliers):
            width = self.base * multiplier
            attends = possible[level] in self.attention or level == len(self.multipliers) - 1
            if attends and width % max(1, width // self.head_channels):
                raise InputError(f"`head_channels` {self.head_channels} does not split the {width} channels of level {level}")


@dataclass(frozen=True)
class UNetConfig(EncoderConfig):
    """The shape of a UNet: of its way down, which the way up mirrors with one block more a level, and its labels.

    With a stem above 1, the pixels are also added to the output, by a gain for each channel that is learned as a function of
    the embedding: a narrow first level cannot carry the noise of f x f pixels, and need not.

    Arguments:
        values: number of values of each attribute that conditions the network; empty for an unconditional one.
        others: as of `EncoderConfig`.
    """

    values: tuple[int, ...] = ()


class ResidualBlock(nnx.Module):
    """norm, SiLU, (resample,) conv, scale-shift norm by the embedding, SiLU, dropout, conv, plus a skip (ADM's ResBlock)."""

    def __init__(self, inputs, outputs, embedding, *, config: EncoderConfig, resample: str | None = None):
        dtype = DTYPES[config.dtype]
        self.resample = resample
        self.dropout = config.dropout
        self.norm_in = GroupNorm(inputs)
        self.conv_in = convolution(inputs, outputs, 3, dtype=dtype)
        self.scale_shift = linear(embedding, 2 * outputs, dtype=dtype)
        self.norm_out = GroupNorm(outputs)
        self.conv_out = convolution(outputs, outputs, 3, dtype=dtype)
        self.skip = None if inputs == outputs else convolution(inputs, outputs, 1, dtype=dtype)

    def __call__(self, x, embedding, key):
        hidden = nnx.silu(self.norm_in(x))
        if self.resample:
            x, hidden = _resample(x, self.resample), _resample(hidden, self.resample)
        hidden = self.conv_in(hidden)
        scale, shift = jnp.split(self.scale_shift(embedding)[:, None, None], 2, axis=-1)
        hidden = nnx.silu(self.norm_out(hidden) * (1 + scale) + shift)
        if key is not None and self.dropout:
            keep = jax.random.bernoulli(key, 1 - self.dropout, hidden.shape)
            hidden = jnp.where(keep, hidden / (1 - self.dropout), 0).astype(hidden.dtype)
        return (x if self.skip is None else self.skip(x)) + self.conv_out(hidden)


def _resample(x, how: str):
    if how == "down":
        batch, height, width, channels = x.shape
        return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


class Block(nnx.Module):
    """A residual block, with attention behind it where its resolution has attention."""

    def __init__(self, inputs, outputs, embedding, *, config: EncoderConfig, resample=None, attention=False):
        self.residual = ResidualBlock(inputs, outputs, embedding, config=config, resample=resample)
        self.attention = Attention(outputs, config.head_channels, dtype=DTYPES[config.dtype]) if attention else None

    def __call__(self, x, embedding, key):
        x = self.residual(x, embedding, key)
        return x if self.attention is None else self.attention(x)


class Encoder(nnx.Module):
    """The way down, from a noised image and its time to feature maps at ever lower resolution.

    Arguments:
        config: its shape.
    """

    def __init__(self, config: EncoderConfig):
        self.config = config
        dtype, base = DTYPES[config.dtype], config.base
        embedding = 4 * base
        self.time_in = linear(base, embedding, dtype=dtype)
        self.time_out = linear(embedding, embedding, dtype=dtype)
        resolution = config.size // config.stem
        self.conv_in = convolution(config.channels * config.stem**2, base, 3, dtype=dtype)
        down, widths, width = [], [base], base
        for level, multiplier in enumerate(config.multipliers):
            for _ in range(config.blocks):
                down.append(Block(width, base * multiplier, embedding, config=config, attention=resolution in config.attention))
                width = base * multiplier
                widths.append(width)
            if level < len(config.multipliers) - 1:
                down.append(Block(width, width, embedding, config=config, resample="down"))
                widths.append(width)
                resolution //= 2
        self.down = nnx.List(down)
        self.widths = tuple(widths)  # channels of what each layer of the way down gives

    def embed_time(self, time: Float[Array, " b"]) -> Float[Array, "b e"]:
        """The time embedding."""
        return self.time_out(nnx.silu(self.time_in(sinusoids(1000.0 * time, self.config.base))))

    def descend(self, pixels: Array, embedding: Array, keys: Iterator[Array | None]) -> list[Array]:
        """What each layer of the way down gives, from the first convolution on.

        Arguments:
            pixels: noised images after the stem.
            embedding: after its activation, (B, E).
            keys: of the blocks' dropout, or None each; one is taken for each block.
        """
        given = [self.conv_in(pixels)]
        for block in self.down:
            given.append(self.call(block, given[-1], embedding, next(keys)))
        return given

    def call(self, block: Block, *arguments) -> Array:
        """A block's output, recomputed in the backward pass where the configuration says so."""
        return (nnx.remat(Block.__call__) if self.config.remat else Block.__call__)(block, *arguments)


def block_keys(dropout_key: Array | None, count: int) -> Iterator[Array | None]:
    """A key for each of some blocks, or None for each where there is no dropout."""
    return iter([None] * count if dropout_key is None else jax.random.split(dropout_key, count))


class UNet(Encoder):
    """Predicts, from a noised image, its time and its condition, an array of the image's shape.

    Arguments:
        config: the shape of the network.
    """

    def __init__(self, config: UNetConfig):
        super().__init__(config)
        dtype, base, embedding = DTYPES[config.dtype], config.base, 4 * config.base
        rows = labels.width(config.values)
        self.label_table = nnx.Param(jnp.zeros((rows, embedding))) if rows else None
        skips, width = list(self.widths), self.widths[-1]
        resolution = config.size // config.stem // 2 ** (len(config.multipliers) - 1)
        self.middle = nnx.List(
            [
                Block(width, width, embedding, config=config, attention=True),
                Block(width, width, embedding, config=config),
            ]
        )
        up, self.joins = [], []
        for level, multiplier in reversed(list(enumerate(config.multipliers))):
            for _ in range(config.blocks + 1):
                inputs = width + skips.pop()
                width = base * multiplier
                up.append(Block(inputs, width, embedding, config=config, attention=resolution in config.attention))
                self.joins.append(True)
            if level:
                up.append(Block(width, width, embedding, config=config, resample="up"))
                self.joins.append(False)
                resolution *= 2
        self.joins = tuple(self.joins)
        self.up = nnx.List(up)
        self.norm_out = GroupNorm(width)
        self.conv_out = convolution(width, config.channels * config.stem**2, 3, dtype=dtype)
        self.pass_through = linear(embedding, config.channels * config.stem**2, dtype=dtype) if config.stem > 1 else None

    def embed(self, time: Float[Array, " b"], condition: Array | None) -> Float[Array, "b e"]:
        """The sum of the time embedding and, for each attribute, the label embedding."""
        embedding = self.embed_time(time)
        if self.label_table is None:
            return embedding
        if condition is None:
            raise InputError("`condition` is None; this network takes labels of its attributes, -1 for the null label")
        if jnp.issubdtype(condition.dtype, jnp.integer):
            condition = labels.encode(condition, self.config.values)
        return embedding + (condition @ self.label_table[...]).astype(embedding.dtype)

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
            dropout_key: turns dropout on (training).
        """
        dtype = DTYPES[self.config.dtype]
        embedding = nnx.silu(self.embed(time, condition))
        keys = block_keys(dropout_key, len(self.down) + len(self.middle) + len(self.up))

        pixels = space_to_depth(x.astype(dtype), self.config.stem)
        skips = self.descend(pixels, embedding, keys)
        hidden = skips[-1]
        for block in self.middle:
            hidden = self.call(block, hidden, embedding, next(keys))
        for block, joins in zip(self.up, self.joins, strict=True):
            hidden = self.call(block, jnp.concatenate([hidden, skips.pop()], -1) if joins else hidden, embedding, next(keys))
        out = self.conv_out(nnx.silu(self.norm_out(hidden)))
        if self.pass_through is not None:
            out = out + self.pass_through(embedding)[:, None, None] * pixels
        return depth_to_space(out, self.config.stem).astype(jnp.float32)
