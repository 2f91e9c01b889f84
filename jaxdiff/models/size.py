"""The number of weights of a network, from its configuration alone: a file is compared with it before anything is built."""

from jaxdiff.errors import InputError
from jaxdiff.models import labels, latent_size
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.config import EncoderConfig, UNetConfig
from jaxdiff.models.image_encoder import ImageEncoderConfig
from jaxdiff.models.latent_size import convolution, dense
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.models.text_encoder import TextEncoderConfig
from jaxdiff.models.unet_condition_config import ConditionUNetConfig

Config = (
    UNetConfig
    | ClassifierConfig
    | ConditionUNetConfig
    | AutoencoderConfig
    | TextEncoderConfig
    | ImageEncoderConfig
    | SeriesConfig
)


def weight_count(config: Config) -> int:
    """The number of weights of the network with a configuration; of an autoencoder, of encoder and decoder together.

    The time that it takes does not depend on their number.
    """
    if isinstance(config, ConditionUNetConfig):
        return latent_size.condition_unet(config)
    if isinstance(config, AutoencoderConfig):
        return latent_size.encoder(config) + latent_size.decoder(config)
    if isinstance(config, TextEncoderConfig):
        tables = config.vocabulary * config.width + 2 * config.width  # of tokens, and the final norm
        return tables + config.width * (config.projection or 0) + _transformer(config)
    if isinstance(config, ImageEncoderConfig):
        patches = config.channels * config.patch**2 * config.width
        return patches + 5 * config.width + config.width * config.projection + _transformer(config)
    if isinstance(config, SeriesConfig):
        return _series(config)
    embedding, inputs = 4 * config.base, config.channels * config.stem**2
    count = dense(config.base, embedding) + dense(embedding, embedding) + convolution(3, inputs, config.base)
    skips, width = [(config.base, 1)], config.base  # channels of the encoder's layers, and how many follow one another
    for level, outputs in enumerate(config.level_widths):
        if config.blocks:
            count += _block(width, outputs, config, level) + (config.blocks - 1) * _block(outputs, outputs, config, level)
            width = outputs
            skips.append((width, config.blocks))
        if level < len(config.multipliers) - 1:
            count += _between(level, "down", config)
            skips.append((width, 1))
    count += _residual(width, width, config) + _attention(width, config.middle_attention) + _residual(width, width, config)
    if isinstance(config, ClassifierConfig):
        return count + dense(width, config.values)
    for level, outputs in reversed(list(enumerate(config.level_widths))):
        left = config.blocks + 1
        while left:
            channels, there = skips.pop()
            used = min(there, left)
            if used < there:
                skips.append((channels, there - used))
            count += _block(width + channels, outputs, config, level)
            count += (used - 1) * _block(outputs + channels, outputs, config, level)
            width, left = outputs, left - used
        if level:
            count += _between(level - 1, "up", config)
    rows = labels.width(config.values) if config.null_label else sum(config.values)
    count += rows * embedding + 2 * width + convolution(3, width, inputs)
    return count + (dense(embedding, inputs) if config.stem > 1 else 0)


def require_held(config: Config, held: int, name: str) -> None:
    """Raises `InputError` if a network has more than twice the weights that its file holds.

    For a smaller difference, the arrays that are missing can be named once the network is built.

    Arguments:
        config: its configuration.
        held: how many numbers the file holds.
        name: the name of the file in errors.
    """
    if (count := weight_count(config)) > 2 * held:
        raise InputError(f"{name} describes a network of {count:,} weights and holds {held:,}: it is damaged")


def _transformer(config: TextEncoderConfig | ImageEncoderConfig) -> int:
    """The layers of a transformer, and the table of its positions."""
    width = config.width
    layer = 4 * dense(width, width) + dense(width, config.inner) + dense(config.inner, width) + 4 * width
    return config.positions * width + config.layers * layer


def _series(config: SeriesConfig) -> int:
    """A transformer of series."""
    length, features, width, decoder = config.length, config.features, config.width, config.decoder
    inputs = config.features * (2 if config.known_input else 1)  # inputs with the mask beside them
    if config.end_input:
        count = 2 * dense(3 * features, width // 2) + 3 * (inputs - features) * (width // 2)
    else:
        count = dense(3 * inputs, width)
    count += 2 * length * width + labels.rows(config.values, config.null_label) * width
    count += (config.encoder + 2 * decoder) * (dense(width, 2 * width) + 4 * dense(width, width))  # norms, attention
    count += (config.encoder + decoder) * (2 * width + dense(width, 4 * width) + dense(4 * width, width))
    trend = dense(3 * length, 3) + dense(3 * width, features)
    count += decoder * (dense(length, 2 * length) + trend + dense(width, features) + 1)
    return count + config.season_kernel * width * features + dense(3 * width, features)


def _residual(inputs: int, outputs: int, config: EncoderConfig) -> int:
    count = 2 * (inputs + outputs) + convolution(3, inputs, outputs) + convolution(3, outputs, outputs)
    count += dense(4 * config.base, (2 if config.embedding == "scale_shift" else 1) * outputs)
    return count + (convolution(1, inputs, outputs) if inputs != outputs else 0)


def _attention(width: int, kind: str) -> int:
    if kind == "none":
        return 0
    return convolution(1, width, 3 * width) + convolution(1, width, width) + (2 * width if kind == "normalised" else 0)


def _block(inputs: int, outputs: int, config: EncoderConfig, level: int) -> int:
    attends = config.resolutions[level] in config.attention
    return _residual(inputs, outputs, config) + _attention(outputs, "normalised" if attends else "none")


def _between(level: int, way: str, config: EncoderConfig) -> int:
    width = config.level_widths[level if way == "down" else level + 1]
    if config.resampling(way, level) == "residual":
        return _residual(width, width, config)
    return convolution(3, width, width)
