"""The number of weights of the networks of Stable Diffusion, from their configurations alone, see `jaxdiff.models.size`."""

from collections.abc import Iterable

from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.transformer_2d import EXPANSION
from jaxdiff.models.unet_condition_config import ConditionUNetConfig


def dense(inputs: int, outputs: int) -> int:
    """Weights of a dense layer with a bias, or of a 1x1 convolution."""
    return (inputs + 1) * outputs


def convolution(side: int, inputs: int, outputs: int) -> int:
    """Weights of a convolution with a bias."""
    return (side**2 * inputs + 1) * outputs


def condition_unet(config: ConditionUNetConfig) -> int:
    """Weights of a UNet of latents."""
    embedding, widths, blocks = config.embedding, config.widths, config.blocks
    count = dense(widths[0], embedding) + dense(embedding, embedding)
    if config.added_channels is not None:
        count += dense(config.added_channels, embedding) + dense(embedding, embedding)
    count += convolution(3, config.channels, widths[0]) + 2 * widths[0] + convolution(3, widths[0], config.channels)
    last = len(widths) - 1
    count += 2 * _residual(widths[last], widths[last], embedding) + _transformer(last, config)
    for level, width in enumerate(widths):
        above, below = widths[max(level - 1, 0)], widths[min(level + 1, last)]
        # down: from the level above; up: from the level below, with skips of this level but for the last, of the level above
        joined = [below + width] + [2 * width] * (blocks - 1) + [width + above]
        count += _residuals([above] + [width] * (blocks - 1) + joined, width, embedding)
        if level in config.attention:
            count += (2 * blocks + 1) * _transformer(level, config)
        # a downsampler, and the upsampler back to this level
        count += convolution(3, width, width) + convolution(3, below, below) if level < last else 0
    return count


def encoder(config: AutoencoderConfig) -> int:
    """Weights of the encoder of an autoencoder."""
    widths, moments = config.widths, 2 * config.latent_channels
    count = convolution(3, config.channels, widths[0]) + 2 * widths[-1] + convolution(3, widths[-1], moments)
    for level, width in enumerate(widths):
        count += _residuals([widths[max(level - 1, 0)]] + [width] * (config.blocks - 1), width)
    count += sum(convolution(3, width, width) for width in widths[:-1])
    return count + _middle(config) + (dense(moments, moments) if config.quant_conv else 0)


def decoder(config: AutoencoderConfig) -> int:
    """Weights of the decoder of an autoencoder."""
    widths, channels, last = config.widths, config.latent_channels, len(config.widths) - 1
    count = convolution(3, channels, widths[-1]) + 2 * widths[0] + convolution(3, widths[0], config.channels)
    for level, width in enumerate(widths):
        count += _residuals([widths[min(level + 1, last)]] + [width] * config.blocks, width)
    count += sum(convolution(3, width, width) for width in widths[1:])
    return count + _middle(config) + (dense(channels, channels) if config.post_quant_conv else 0)


def _residuals(inputs: Iterable[int], outputs: int, embedding: int | None = None) -> int:
    return sum(_residual(each, outputs, embedding) for each in inputs)


def _residual(inputs: int, outputs: int, embedding: int | None = None) -> int:
    count = 2 * (inputs + outputs) + convolution(3, inputs, outputs) + convolution(3, outputs, outputs)
    count += 0 if embedding is None else dense(embedding, outputs)
    return count + (dense(inputs, outputs) if inputs != outputs else 0)


def _transformer(level: int, config: ConditionUNetConfig) -> int:
    """Weights of the transformer after a residual block."""
    width, text = config.widths[level], config.text_channels
    itself = 3 * width**2 + dense(width, width)
    crossed = width**2 + 2 * text * width + dense(width, width)
    forward = dense(width, 2 * EXPANSION * width) + dense(EXPANSION * width, width)
    return 2 * width + 2 * dense(width, width) + config.transformers[level] * (6 * width + itself + crossed + forward)


def _middle(config: AutoencoderConfig) -> int:
    """Weights of the blocks between the levels and the ends."""
    width = config.widths[-1]
    return _residuals([width, width], width) + 2 * width + 4 * dense(width, width)
