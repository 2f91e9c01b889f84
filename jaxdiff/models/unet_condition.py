"""The UNet of Stable Diffusion 1, 2 and XL (Rombach et al. 2022; Podell et al. 2023): diffusers' UNet2DConditionModel.

Attributes of the modules have the names of diffusers, see `jaxdiff.models.latent_blocks`.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxdiff.errors import InputError
from jaxdiff.models.latent_blocks import Downsampler, ResidualBlock, Upsampler, normalised_output
from jaxdiff.models.layers import GroupNorm, convolution, linear, sinusoids
from jaxdiff.models.transformer_2d import SpatialTransformer
from jaxdiff.models.unet_condition_config import SIZES, ConditionUNetConfig


class Embedding(nnx.Module):
    """Two dense layers with a SiLU between them."""

    def __init__(self, inputs: int, outputs: int, config: ConditionUNetConfig):
        self.linear_1 = linear(inputs, outputs, dtype=jnp.dtype(config.dtype))
        self.linear_2 = linear(outputs, outputs, dtype=jnp.dtype(config.dtype))

    def __call__(self, features: Float[Array, "b f"]) -> Float[Array, "b e"]:
        return self.linear_2(nnx.silu(self.linear_1(features)))


def _residual(inputs: int, outputs: int, config: ConditionUNetConfig) -> ResidualBlock:
    norm = {"groups": config.groups, "epsilon": config.epsilon}
    return ResidualBlock(inputs, outputs, config.embedding, **norm, dtype=jnp.dtype(config.dtype))


def _transformer(level: int, config: ConditionUNetConfig) -> SpatialTransformer:
    return SpatialTransformer(
        config.widths[level],
        config.heads[level],
        config.transformers[level],
        config.text_channels,
        groups=config.groups,
        linear_projection=config.linear_projection,
        dtype=jnp.dtype(config.dtype),
    )


class DownBlock(nnx.Module):
    """A level of the encoder: residual blocks, each followed by a transformer if the level has them, and a downsampler.

    Arguments:
        inputs: channels of the level above.
        level: its level.
    """

    def __init__(self, inputs: int, level: int, config: ConditionUNetConfig):
        outputs = config.widths[level]
        starts = [inputs] + [outputs] * (config.blocks - 1)
        self.resnets = nnx.List([_residual(start, outputs, config) for start in starts])
        attends = level in config.attention
        self.attentions = nnx.List([_transformer(level, config) for _ in starts]) if attends else None
        last = level == len(config.widths) - 1
        dtype = jnp.dtype(config.dtype)
        self.downsamplers = None if last else nnx.List([Downsampler(outputs, centred=True, dtype=dtype)])

    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], text: Float[Array, "b l d"]
    ) -> list[Float[Array, "b _ _ _"]]:
        """The output of each layer that the decoder is given."""
        outputs = []
        for position, block in enumerate(self.resnets):
            x = block(x, embedding)
            x = x if self.attentions is None else self.attentions[position](x, text)
            outputs.append(x)
        return outputs if self.downsamplers is None else [*outputs, self.downsamplers[0](x)]


class MiddleBlock(nnx.Module):
    """A residual block, a transformer and a residual block."""

    def __init__(self, config: ConditionUNetConfig):
        width = config.widths[-1]
        self.resnets = nnx.List([_residual(width, width, config) for _ in range(2)])
        self.attentions = nnx.List([_transformer(len(config.widths) - 1, config)])

    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"], text: Float[Array, "b l d"]
    ) -> Float[Array, "b h w c"]:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, embedding), text), embedding)


class UpBlock(nnx.Module):
    """A level of the decoder: one more residual block than in the encoder, each of which is given a skip, and an upsampler.

    Arguments:
        inputs: channels of the level below.
        skips: channels of the skips, in the order in which they are used.
        level: its level.
    """

    def __init__(self, inputs: int, skips: list[int], level: int, config: ConditionUNetConfig):
        outputs = config.widths[level]
        starts = [inputs] + [outputs] * config.blocks
        joined = [start + skip for start, skip in zip(starts, skips, strict=True)]
        self.resnets = nnx.List([_residual(each, outputs, config) for each in joined])
        attends = level in config.attention
        self.attentions = nnx.List([_transformer(level, config) for _ in joined]) if attends else None
        self.upsamplers = nnx.List([Upsampler(outputs, dtype=jnp.dtype(config.dtype))]) if level else None

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        skips: list[Float[Array, "b _ _ _"]],
        embedding: Float[Array, "b e"],
        text: Float[Array, "b l d"],
    ) -> Float[Array, "b h2 w2 o"]:
        """Arguments: x; the skips that are left, of which the last are taken; the embedding; the text."""
        for position, block in enumerate(self.resnets):
            x = block(jnp.concatenate([x, skips.pop()], -1), embedding)
            x = x if self.attentions is None else self.attentions[position](x, text)
        # the level above may have had an odd number of rows or columns
        return x if self.upsamplers is None else self.upsamplers[0](x, skips[-1].shape[1:3])


class ConditionUNet(nnx.Module):
    """Predicts an array of the shape of the latents from noised latents, their time and a text.

    Arguments:
        config: the shape of the network.
    """

    def __init__(self, config: ConditionUNetConfig):
        self.config = config
        dtype, widths = jnp.dtype(config.dtype), config.widths
        self.conv_in = convolution(config.channels, widths[0], 3, dtype=dtype)
        self.time_embedding = Embedding(widths[0], config.embedding, config)
        added = config.added_channels
        self.add_embedding = None if added is None else Embedding(added, config.embedding, config)
        down, skips, inputs = [], [widths[0]], widths[0]
        for level, width in enumerate(widths):
            down.append(DownBlock(inputs, level, config))
            skips += [width] * (config.blocks + (level < len(widths) - 1))
            inputs = width
        self.down_blocks = nnx.List(down)
        self.mid_block = MiddleBlock(config)
        up = []
        for level in reversed(range(len(widths))):
            taken = [skips.pop() for _ in range(config.blocks + 1)]
            up.append(UpBlock(inputs, taken, level, config))
            inputs = widths[level]
        self.up_blocks = nnx.List(up)
        self.conv_norm_out = GroupNorm(widths[0], config.groups, config.epsilon)
        self.conv_out = convolution(widths[0], config.channels, 3, dtype=dtype)

    def embed(self, time: Float[Array, " b"], condition: Mapping[str, Array]) -> Float[Array, "b e"]:
        """The time embedding, for SDXL plus that of the pooled text embedding and the sizes."""
        config = self.config
        position = float(config.timesteps) * time + config.time_offset
        embedding = self.time_embedding(sinusoids(position, config.widths[0], constant=True))
        if self.add_embedding is None or config.size_channels is None:
            return embedding
        sizes = sinusoids(condition["sizes"].reshape(-1), config.size_channels, constant=True).reshape(len(time), -1)
        return embedding + self.add_embedding(jnp.concatenate([condition["pooled"].astype(sizes.dtype), sizes], -1))

    def __call__(
        self, x: Float[Array, "b h w c"], time: Float[Array, " b"], condition: Mapping[str, Array]
    ) -> Float[Array, "b h w c"]:
        """The prediction, float32, of the shape of `x`.

        Arguments:
            x: noised latents (B, h, w, C) of any height and width.
            time: t in [0, 1], (B,).
            condition: `text`, embeddings of tokens (B, L, D), all of which are attended to; for SDXL also `pooled`, the pooled
                embedding (B, P), and `sizes` (B, 6): height and width of the original image, top and left of the crop, height
                and width of the image that is drawn.

        Raises:
            InputError: a part of the condition is missing or of another shape.
        """
        self._check(x, condition)
        dtype = jnp.dtype(self.config.dtype)
        embedding, text = nnx.silu(self.embed(time, condition)), condition["text"].astype(dtype)
        skips = [self.conv_in(x.astype(dtype))]
        for block in self.down_blocks:
            skips += block(skips[-1], embedding, text)
        hidden = self.mid_block(skips[-1], embedding, text)
        for block in self.up_blocks:
            hidden = block(hidden, skips, embedding, text)
        return normalised_output(self.conv_norm_out, self.conv_out, hidden)

    def _check(self, x: Array, condition: Mapping[str, Array]) -> None:
        config, rows = self.config, len(x)
        if x.shape[-1] != config.channels:
            raise InputError(f"`x` must have {config.channels} channels, got {x.shape[-1]}")
        wanted: dict[str, tuple[int | None, ...]] = {"text": (rows, None, config.text_channels)}
        if config.pooled_channels is not None:
            wanted |= {"pooled": (rows, config.pooled_channels), "sizes": (rows, SIZES)}
        if not isinstance(condition, Mapping) or wanted.keys() - condition.keys():
            given = ", ".join(sorted(condition)) if isinstance(condition, Mapping) else type(condition).__name__
            raise InputError(f"`condition` must be a mapping with {', '.join(wanted)}, got {given or 'an empty one'}")
        for name, shape in wanted.items():
            got = condition[name].shape
            if len(got) != len(shape) or any(size not in (None, there) for size, there in zip(shape, got, strict=True)):
                raise InputError(f"`condition`: {name} must be of shape {_text(shape)}, got {tuple(got)}")


def _text(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('tokens' if size is None else str(size) for size in shape)})"
