"""The shapes of networks that read noised images, and the conventions in which such networks differ."""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

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

# `typing.Self` is no annotation that beartype checks in a single method
Config = TypeVar("Config", bound="EncoderConfig")


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of what reads a noised image: a UNet's way down.

    The arguments from `groups` on are conventions, in which the networks of others differ from ours.

    Arguments:
        size: height and width of the images in pixels: one number where they are equal, else (height, width).
        channels: channels of the images.
        base: channels at the highest resolution.
        multipliers: channels of each level in units of `base`, whole channels; each level halves the resolution of the one
            before.
        blocks: residual blocks a level.
        attention: heights of the feature maps (in pixels) that have self-attention; for the middle see `middle_attention`.
        head_channels: channels of an attention head.
        dropout: rate in [0, 1) inside the residual blocks.
        stem: space-to-depth factor ahead of the first convolution; 2 makes every pass about four times cheaper.
        dtype: `float32` or `bfloat16` for the computation; parameters are float32 always.
        remat: recompute the blocks in the backward pass, for less memory and a third more time.
        groups: groups of a group norm; the largest common divisor of it and the channels is taken.
        epsilon: what a group norm adds to the variance, above 0.
        embedding: how the embedding of the time enters a residual block: `scale_shift` scales and shifts what its second norm
            gives (ADM), `shift` is added to what that norm is given (DDPM).
        downsampling: how a level gives the next its input: `residual`, a residual block that takes means over 2x2 pixels (ADM);
            `convolution`, a 3x3 convolution of stride 2 with a row and a column of zeros below and to the right (DDPM); or
            `centred_convolution`, with zeros all around. One for all levels, or one for each level but the last.
        upsampling: how it gets what comes back: `residual`, a residual block that repeats pixels (ADM), or `convolution`, a 3x3
            convolution of repeated pixels (DDPM). One for all levels, or one for each level but the last.
        middle_attention: `normalised`, `plain` (no norm ahead of it) or `none`.
        timesteps: the sinusoids are those of the position timesteps * t + time_offset.
        time_offset: see `timesteps`; -1 counts the timesteps of a DDPM table from 0.
        sines_first: whether the sines come ahead of the cosines.
        frequency_shift: how many steps of the row of frequencies its last falls short by, see `layers.sinusoids`.
    """

    size: int | tuple[int, int] = 32
    channels: int = 3
    base: int = 64
    multipliers: tuple[int | float, ...] = (1, 2, 2)
    blocks: int = 2
    attention: tuple[int, ...] = (8,)
    head_channels: int = 64
    dropout: float = 0.1
    stem: int = 1
    dtype: str = "float32"
    remat: bool = False
    groups: int = 32
    epsilon: float = 1e-5
    embedding: str = "scale_shift"
    downsampling: str | tuple[str, ...] = "residual"
    upsampling: str | tuple[str, ...] = "residual"
    middle_attention: str = "normalised"
    timesteps: int = 1000
    time_offset: float | int = 0
    sines_first: bool = False
    frequency_shift: float | int = 0

    def __post_init__(self):
        if not isinstance(self.size, int):
            height, width = self.size
            object.__setattr__(self, "size", height if height == width else (height, width))
        step = self.stem * 2 ** (len(self.multipliers) - 1)
        if self.height % step or self.width % step:
            raise InputError(
                f"`size` (={self.size}) must be divisible by {step}: stem {self.stem}, {len(self.multipliers)} levels"
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"`dropout` must lie in [0, 1), got {self.dropout}")
        if missing := set(self.attention) - set(self.resolutions):
            raise InputError(f"`attention` names resolutions {sorted(missing)}; this network has {list(self.resolutions)}")
        if self.base % 2:
            raise InputError(f"`base` must be even, for as many sines as cosines of the time; got {self.base}")
        for multiplier in self.multipliers:
            if not (multiplier > 0 and abs(self.base * multiplier - round(self.base * multiplier)) < 1e-6):
                raise InputError(f"`multipliers` must give whole channels, got {multiplier} times {self.base}")
        self._check_conventions()
        for level, width in enumerate(self.level_widths):
            if self.attends(level) and width % max(1, width // self.head_channels):
                raise InputError(f"`head_channels` {self.head_channels} does not split the {width} channels of level {level}")

    def _check_conventions(self) -> None:
        """Raises `InputError` for an option there is not."""
        chosen: list[tuple[str, str, tuple[str, ...]]] = [
            ("dtype", self.dtype, DTYPES),
            ("embedding", self.embedding, EMBEDDINGS),
        ]
        chosen += [("middle_attention", self.middle_attention, MIDDLES)]
        for name, options in (("downsampling", DOWNSAMPLINGS), ("upsampling", UPSAMPLINGS)):
            given = getattr(self, name)
            if not isinstance(given, str) and len(given) != len(self.multipliers) - 1:
                raise InputError(f"`{name}` must be one for each level but the last, got {len(given)}")
            chosen += [(name, value, options) for value in ((given,) if isinstance(given, str) else given)]
        for name, value, options in chosen:
            if value not in options:
                raise InputError(f"`{name}` must be one of {', '.join(options)}, got {value!r}")
        for name in ("groups", "epsilon", "timesteps"):
            if not getattr(self, name) > 0:
                raise InputError(f"`{name}` must be above 0, got {getattr(self, name)}")

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
        """Height of the feature maps of each level, which is their width too where images are square."""
        return tuple(self.height // self.stem // 2**level for level in range(len(self.multipliers)))

    def resized(self: Config, size: int | tuple[int, int], channels: int) -> Config:
        """The same network for other images: attention stays at the levels at which it is.

        Arguments:
            size, channels: of the images.
        """
        plain = dataclasses.replace(self, size=size, channels=channels, attention=())
        attention = tuple(plain.resolutions[self.resolutions.index(each)] for each in self.attention)
        return dataclasses.replace(plain, attention=attention)

    def attends(self, level: int) -> bool:
        """Whether there is attention at the channels of a level: in its blocks, or in the middle."""
        in_middle = level == len(self.multipliers) - 1 and self.middle_attention != "none"
        return in_middle or self.resolutions[level] in self.attention

    def resampling(self, way: str, level: int) -> str:
        """The `downsampling` or `upsampling` (`way` is `down` or `up`) between a level and the next."""
        given = self.downsampling if way == "down" else self.upsampling
        return given if isinstance(given, str) else given[level]

    def settings(self) -> dict[str, Any]:
        """What makes the configuration again, JSON-ready. Conventions that are ours go unsaid: they came later than the files
        that lack them, and a network that does not use them is the same network."""
        described = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in CONVENTIONS or value != field.default:
                described[field.name] = list(value) if isinstance(value, tuple) else value
        return described


@dataclass(frozen=True)
class UNetConfig(EncoderConfig):
    """The shape of a UNet: of its way down, which the way up mirrors with one block more a level, and its labels.

    With a stem above 1, the pixels are also added to the output, by a gain for each channel that is learned as a function of
    the embedding: a narrow first level cannot carry the noise of f x f pixels, and need not.

    Arguments:
        values: number of values of each attribute that conditions the network; empty for an unconditional one.
        null_label: whether there is an embedding of the null label; without one it adds nothing to the embedding of the time.
        others: as of `EncoderConfig`.
    """

    values: tuple[int, ...] = ()
    null_label: bool = True
