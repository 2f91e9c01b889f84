"""The autoencoder of Stable Diffusion (Rombach et al. 2022), diffusers' AutoencoderKL, as two networks.

Attributes of the modules have the names of diffusers, see `jaxdiff.models.latent_blocks`.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxdiff.bounds import check_bounds
from jaxdiff.errors import InputError
from jaxdiff.models.config import MOST_LEVELS, Width
from jaxdiff.models.latent_blocks import Downsampler, PixelAttention, ResidualBlock, Upsampler, normalised_output
from jaxdiff.models.layers import GroupNorm, convolution
from jaxdiff.models.unet_condition_config import Blocks, check_dtype, check_widths, settings_of

EPSILON = 1e-6
"""Of all group norms."""
LOG_VARIANCES = (-30.0, 20.0)
"""The range to which log variances are clipped."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """The configuration of an autoencoder; by default that of Stable Diffusion.

    Arguments:
        size: height and width of the images that it was trained on, in pixels. It takes others.
        channels: channels of the images.
        latent_channels: channels of the latents.
        widths: channels of each level; each level but the last halves the resolution.
        blocks: residual blocks per level of the encoder; the decoder has one more.
        groups: groups of a group norm, a divisor of all `widths`.
        quant_conv, post_quant_conv: whether there is a 1x1 convolution after the encoder, and one before the decoder.
        dtype: dtype of the computation, `float32` or `bfloat16`; kernels are stored in it, all other weights in float32.
    """

    size: Width = 512
    channels: Width = 3
    latent_channels: Width = 4
    widths: tuple[Width, ...] = (128, 256, 512, 512)
    blocks: Blocks = 2
    groups: Width = 32
    quant_conv: bool = True
    post_quant_conv: bool = True
    dtype: str = "float32"

    def __post_init__(self):
        check_bounds(self)
        if not 1 <= len(self.widths) <= MOST_LEVELS:
            raise InputError(f"`widths` must be of 1 to {MOST_LEVELS} levels, got {len(self.widths)}")
        check_widths(self.widths, self.groups)
        check_dtype(self.dtype)

    @property
    def factor(self) -> int:
        """Pixels of an image along the side of one pixel of its latents."""
        return 2 ** (len(self.widths) - 1)

    def settings(self) -> dict[str, Any]:
        """The arguments of the configuration, JSON-ready."""
        return settings_of(self)


def _residual(inputs: int, outputs: int, config: AutoencoderConfig) -> ResidualBlock:
    return ResidualBlock(inputs, outputs, groups=config.groups, epsilon=EPSILON, dtype=jnp.dtype(config.dtype))


def _level(inputs: int, outputs: int, blocks: int, config: AutoencoderConfig) -> list[ResidualBlock]:
    """The residual blocks of a level."""
    return [_residual(start, outputs, config) for start in [inputs] + [outputs] * (blocks - 1)]


class DownBlock(nnx.Module):
    """A level of the encoder: residual blocks, and a downsampler unless it is the last."""

    def __init__(self, inputs: int, level: int, config: AutoencoderConfig):
        outputs, dtype = config.widths[level], jnp.dtype(config.dtype)
        self.resnets = nnx.List(_level(inputs, outputs, config.blocks, config))
        last = level == len(config.widths) - 1
        self.downsamplers = None if last else nnx.List([Downsampler(outputs, centred=False, dtype=dtype)])

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
        for block in self.resnets:
            x = block(x)
        return x if self.downsamplers is None else self.downsamplers[0](x)


class UpBlock(nnx.Module):
    """A level of the decoder: one more residual block than in the encoder, and an upsampler unless it is the last."""

    def __init__(self, inputs: int, level: int, config: AutoencoderConfig):
        outputs = config.widths[level]
        self.resnets = nnx.List(_level(inputs, outputs, config.blocks + 1, config))
        self.upsamplers = nnx.List([Upsampler(outputs, dtype=jnp.dtype(config.dtype))]) if level else None

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
        for block in self.resnets:
            x = block(x)
        return x if self.upsamplers is None else self.upsamplers[0](x)


class MiddleBlock(nnx.Module):
    """A residual block, attention and a residual block."""

    def __init__(self, config: AutoencoderConfig):
        width = config.widths[-1]
        self.resnets = nnx.List(_level(width, width, 2, config))
        norm = {"groups": config.groups, "epsilon": EPSILON}
        self.attentions = nnx.List([PixelAttention(width, **norm, dtype=jnp.dtype(config.dtype))])

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Encoder(nnx.Module):
    """From images to the moments of their latents, before `quant_conv`."""

    def __init__(self, config: AutoencoderConfig):
        dtype, widths = jnp.dtype(config.dtype), config.widths
        self.conv_in = convolution(config.channels, widths[0], 3, dtype=dtype)
        levels = enumerate(zip(widths[:1] + widths, widths, strict=False))
        self.down_blocks = nnx.List([DownBlock(inputs, level, config) for level, (inputs, _) in levels])
        self.mid_block = MiddleBlock(config)
        self.conv_norm_out = GroupNorm(widths[-1], config.groups, EPSILON)
        self.conv_out = convolution(widths[-1], 2 * config.latent_channels, 3, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return normalised_output(self.conv_norm_out, self.conv_out, self.mid_block(x))


class Decoder(nnx.Module):
    """From latents after `post_quant_conv` to images."""

    def __init__(self, config: AutoencoderConfig):
        dtype, widths = jnp.dtype(config.dtype), config.widths
        self.conv_in = convolution(config.latent_channels, widths[-1], 3, dtype=dtype)
        self.mid_block = MiddleBlock(config)
        levels = reversed(list(enumerate(widths[1:] + widths[-1:])))
        self.up_blocks = nnx.List([UpBlock(inputs, level, config) for level, inputs in levels])
        self.conv_norm_out = GroupNorm(widths[0], config.groups, EPSILON)
        self.conv_out = convolution(widths[0], config.channels, 3, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        return normalised_output(self.conv_norm_out, self.conv_out, x)


class LatentEncoder(nnx.Module):
    """The distribution of the latents of images: a normal one, independent for each number.

    Arguments:
        config: the configuration of the autoencoder.
    """

    def __init__(self, config: AutoencoderConfig):
        self.config = config
        self.encoder = Encoder(config)
        moments, dtype = 2 * config.latent_channels, jnp.dtype(config.dtype)
        self.quant_conv = convolution(moments, moments, 1, dtype=dtype) if config.quant_conv else None

    def __call__(self, images: Float[Array, "b h w c"]) -> tuple[Float[Array, "b h2 w2 o"], Float[Array, "b h2 w2 o"]]:
        """The means and the log variances, float32, (B, H/f, W/f, latent channels) each; the latter clipped to `LOG_VARIANCES`.

        Arguments:
            images: in [-1, 1], (B, H, W, C); sides are multiples of the configuration's `factor` f.

        Raises:
            InputError: the images have other sides.
        """
        _, height, width, _ = images.shape
        if height % self.config.factor or width % self.config.factor:
            raise InputError(f"`images` must have sides that are multiples of {self.config.factor}, got {height} x {width}")
        moments = self.encoder(images.astype(self.config.dtype))
        if self.quant_conv is not None:
            moments = self.quant_conv(moments).astype(jnp.float32)
        mean, log_variance = jnp.split(moments, 2, axis=-1)
        return mean, jnp.clip(log_variance, *LOG_VARIANCES)


class LatentDecoder(nnx.Module):
    """The images of latents.

    Arguments:
        config: the configuration of the autoencoder.
    """

    def __init__(self, config: AutoencoderConfig):
        self.config = config
        channels, dtype = config.latent_channels, jnp.dtype(config.dtype)
        self.post_quant_conv = convolution(channels, channels, 1, dtype=dtype) if config.post_quant_conv else None
        self.decoder = Decoder(config)

    def __call__(self, latents: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 o"]:
        """The images, float32, about in [-1, 1] and not clipped, (B, f h, f w, C) for the configuration's `factor` f.

        Arguments:
            latents: (B, h, w, latent channels), of the scale of the encoder's means.
        """
        latents = latents.astype(self.config.dtype)
        return self.decoder(latents if self.post_quant_conv is None else self.post_quant_conv(latents))
