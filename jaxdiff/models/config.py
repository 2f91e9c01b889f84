"""Configurations of networks that take noised images, and the conventions in which such networks differ."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from jaxdiff.bounds import Bounds, Positive, Timesteps, check_bounds
from jaxdiff.errors import InputError

DTYPES = ("float32", "bfloat16")
EMBEDDINGS = ("scale_shift", "shift")
DOWNSAMPLINGS = ("residual", "convolution", "centred_convolution")
UPSAMPLINGS = ("residual", "convolution")
MIDDLES = ("normalised", "plain", "none")
CONVENTIONS = (
    "groups",
    "epsilon",
    "embedding",
    "downsampling",
    "upsampling",
    "middle_attention",
    "timesteps",
    "time_offset",
    "sines_first",
    "frequency_shift",
    "null_label",
)

MOST_CHANNELS, MOST_BLOCKS, MOST_LEVELS, MOST_CLASSES = 2**16, 100, 16, 10**7
"""Limits of a network: its channels or pixels along one axis, residual blocks per level, levels, and values of an attribute."""
Width = Annotated[int, Bounds(least=1, limit=MOST_CHANNELS)]

# beartype does not support `typing.Self` on a single method
Config = TypeVar("Config", bound="EncoderConfig")


@dataclass(frozen=True)
class EncoderConfig:
    """The configuration of the encoder of a UNet.

    The arguments from `groups` on are conventions in which networks of other libraries differ from the defaults.

    Arguments:
        size: height and width of the images in pixels: (height, width), or one number for both.
        channels: channels of the images.
        base: channels at the highest resolution.
        multipliers: channels of each level in units of `base`; the products must be whole. Each level halves the resolution.
        blocks: residual blocks per level.
        attention: heights in pixels of the feature maps with self-attention; for the middle see `middle_attention`.
        head_channels: channels of an attention head.
        dropout: dropout rate of the residual blocks, in [0, 1).
        stem: space-to-depth factor before the first convolution; 2 makes every pass about four times cheaper.
        dtype: dtype of the computation, `float32` or `bfloat16`; parameters are always float32.
        remat: recompute the blocks in the backward pass, which takes a third more time, and saves memory on GPUs and TPUs.
        groups: groups of a group norm; reduced to the greatest common divisor with the channels.
        epsilon: added to the variance in a group norm, above 0.
        embedding: how the time embedding enters a residual block: `scale_shift` scales and shifts the output of its second norm
            (ADM), `shift` is added to the input of that norm (DDPM).
        downsampling: downsampling between levels: `residual`, a residual block with 2x2 average pooling (ADM);
            `convolution`, a 3x3 convolution of stride 2 padded with zeros below and to the right (DDPM); or
            `centred_convolution`, padded on all sides. One for all levels, or one for each level but the last.
        upsampling: upsampling between levels: `residual`, a residual block with nearest-neighbour upsampling (ADM), or
            `convolution`, nearest-neighbour upsampling and a 3x3 convolution (DDPM). One for all levels, or one for each level
            but the last.
        middle_attention: `normalised`, `plain` (without a norm) or `none`.
        timesteps: the sinusoidal features are of the position timesteps * t + time_offset.
        time_offset: see `timesteps`; -1 counts the timesteps of a DDPM table from 0.
        sines_first: whether the sines come before the cosines.
        frequency_shift: shift of the spacing of the frequencies, see `layers.sinusoid_frequencies`.
    """

    size: Width | tuple[Width, Width] = 32
    channels: Width = 3
    base: Width = 64
    multipliers: tuple[Annotated[int | float, Bounds(above=0, limit=MOST_CHANNELS)], ...] = (1, 2, 2)
    blocks: Annotated[int, Bounds(least=0, limit=MOST_BLOCKS)] = 2
    attention: tuple[Width, ...] = (8,)
    head_channels: Width = 64
    dropout: Annotated[float | int, Bounds(least=0, below=1)] = 0.1
    stem: Width = 1
    dtype: str = "float32"
    remat: bool = False
    groups: Width = 32
    epsilon: Positive = 1e-5
    embedding: str = "scale_shift"
    downsampling: str | tuple[str, ...] = "residual"
    upsampling: str | tuple[str, ...] = "residual"
    middle_attention: str = "normalised"
    timesteps: Timesteps = 1000
    time_offset: Annotated[float | int, Bounds()] = 0
    sines_first: bool = False
    frequency_shift: Annotated[float | int, Bounds()] = 0

    def __post_init__(self):
        check_bounds(self)
        if not 1 <= len(self.multipliers) <= MOST_LEVELS:
            raise InputError(f"`multipliers` must be of 1 to {MOST_LEVELS} levels, got {len(self.multipliers)}")
        if not isinstance(self.size, int):
            height, width = self.size
            object.__setattr__(self, "size", height if height == width else (height, width))
        step = self.stem * 2 ** (len(self.multipliers) - 1)
        if self.height % step or self.width % step:
            raise InputError(
                f"`size` (={self.size}) must be divisible by {step}: stem {self.stem}, {len(self.multipliers)} levels"
            )
        if missing := set(self.attention) - set(self.resolutions):
            raise InputError(f"`attention` names resolutions {sorted(missing)}; this network has {list(self.resolutions)}")
        if self.base % 2:
            raise InputError(f"`base` must be even, half of the time features being sines; got {self.base}")
        for multiplier in self.multipliers:
            width = self.base * multiplier
            if not (round(width) >= 1 and abs(width - round(width)) < 1e-6):
                raise InputError(f"`multipliers` must give whole channels, got {multiplier} times {self.base}")
        self._check_conventions()
        for level, width in enumerate(self.level_widths):
            if self.attends(level) and width % max(1, width // self.head_channels):
                raise InputError(f"`head_channels` {self.head_channels} does not divide the {width} channels of level {level}")

    def _check_conventions(self) -> None:
        """Raises `InputError` for an unknown option."""
        chosen: list[tuple[str, str, tuple[str, ...]]] = [
            ("dtype", self.dtype, DTYPES),
            ("embedding", self.embedding, EMBEDDINGS),
        ]
        chosen += [("middle_attention", self.middle_attention, MIDDLES)]
        for name, options in (("downsampling", DOWNSAMPLINGS), ("upsampling", UPSAMPLINGS)):
            given = getattr(self, name)
            if not isinstance(given, str) and len(given) != len(self.multipliers) - 1:
                raise InputError(f"`{name}` must have one entry for each level but the last, got {len(given)}")
            chosen += [(name, value, options) for value in ((given,) if isinstance(given, str) else given)]
        for name, value, options in chosen:
            if value not in options:
                raise InputError(f"`{name}` must be one of {', '.join(options)}, got {value!r}")

    @property
    def height(self) -> int:
        """Height of the images in pixels."""
        return self.size if isinstance(self.size, int) else self.size[0]

    @property
    def width(self) -> int:
        """Width of the images in pixels."""
        return self.size if isinstance(self.size, int) else self.size[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image, (H, W, C)."""
        return (self.height, self.width, self.channels)

    @property
    def level_widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(round(self.base * multiplier) for multiplier in self.multipliers)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Height of the feature maps of each level."""
        return tuple(self.height // self.stem // 2**level for level in range(len(self.multipliers)))

    def resized(self: Config, size: int | tuple[int, int], channels: int) -> Config:
        """The same configuration for images of another size; attention stays at the same levels.

        Arguments:
            size, channels: of the images.
        """
        plain = dataclasses.replace(self, size=size, channels=channels, attention=())
        attention = tuple(plain.resolutions[self.resolutions.index(each)] for each in self.attention)
        return dataclasses.replace(plain, attention=attention)

    def attends(self, level: int) -> bool:
        """Whether there is attention at the width of a level: in its blocks, or in the middle."""
        in_middle = level == len(self.multipliers) - 1 and self.middle_attention != "none"
        return in_middle or self.resolutions[level] in self.attention

    def resampling(self, way: str, level: int) -> str:
        """The `downsampling` or `upsampling` (`way` is `down` or `up`) between a level and the next."""
        given = self.downsampling if way == "down" else self.upsampling
        return given if isinstance(given, str) else given[level]

    def settings(self) -> dict[str, Any]:
        """The arguments of the configuration, JSON-ready. Conventions at their default values are left out, so that files from
        before they were added describe the same network."""
        described = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in CONVENTIONS or value != field.default:
                described[field.name] = list(value) if isinstance(value, tuple) else value
        return described


@dataclass(frozen=True)
class UNetConfig(EncoderConfig):
    """The configuration of a UNet: its encoder, which the decoder mirrors with one more block per level, and its labels.

    With a stem above 1, the pixels are also added to the output with a learned gain per channel that depends on the embedding,
    since a narrow first level cannot represent the noise of f x f pixels.

    Arguments:
        values: number of values of each attribute that conditions the network; empty for an unconditional one.
        null_label: whether the null label has an embedding; otherwise it adds nothing to the time embedding.
        others: see `EncoderConfig`.
    """

    values: tuple[Annotated[int, Bounds(least=1, limit=MOST_CLASSES)], ...] = ()
    null_label: bool = True
