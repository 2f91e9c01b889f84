"""The configuration of the UNet of Stable Diffusion."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

from jaxdiff.bounds import Bounds, Positive, Timesteps, check_bounds
from jaxdiff.errors import InputError
from jaxdiff.models.config import DTYPES, MOST_BLOCKS, MOST_LEVELS, Width

SIZES = 6
"""The numbers of the condition `sizes`: height and width of the original, top and left of the crop, height and width drawn."""
Blocks = Annotated[int, Bounds(least=1, limit=MOST_BLOCKS)]
MOST_TRANSFORMERS = 1000
"""The most layers of all transformers of a network, of which SDXL has 70."""


@dataclass(frozen=True)
class ConditionUNetConfig:
    """The configuration of a UNet of latents with cross attention to a text; by default that of Stable Diffusion 1.5.

    Arguments:
        size: height and width of the latents that it was trained on: (height, width), or one number for both. It takes others.
        channels: channels of the latents.
        widths: channels of each level; each level halves the resolution.
        blocks: residual blocks per level of the encoder; the decoder has one more.
        attention: the levels with transformers, counted from 0 at the highest resolution; the middle always has one.
        transformers: layers of each transformer of a level; the middle has as many as the last.
        heads: attention heads at each level; the middle has as many as the last.
        text_channels: channels of the text embeddings.
        pooled_channels: channels of the pooled text embedding of SDXL; None for a network that takes none.
        size_channels: sinusoidal features of each of the six sizes that SDXL takes; given with `pooled_channels` or not at all.
        linear_projection: whether the layers before and after a transformer are stored as dense layers or, as in Stable
            Diffusion 1, as 1x1 convolutions. They compute the same.
        upcast_attention: what diffusers does with half-precision attention; kept for export alone, since attention weights are
            always float32 here.
        groups: groups of a group norm, a divisor of all `widths`.
        epsilon: added to the variance in the group norms of residual blocks, above 0.
        timesteps: the sinusoidal features of the time are of the position timesteps * t + time_offset.
        time_offset: see `timesteps`; -1 counts the timesteps of a DDPM table from 0.
        dtype: dtype of the computation, `float32` or `bfloat16`; kernels are stored in it, all other weights in float32.
    """

    size: Width | tuple[Width, Width] = 64
    channels: Width = 4
    widths: tuple[Width, ...] = (320, 640, 1280, 1280)
    blocks: Blocks = 2
    attention: tuple[Annotated[int, Bounds(least=0, limit=MOST_LEVELS)], ...] = (0, 1, 2)
    transformers: tuple[Blocks, ...] = (1, 1, 1, 1)
    heads: tuple[Width, ...] = (8, 8, 8, 8)
    text_channels: Width = 768
    pooled_channels: Width | None = None
    size_channels: Width | None = None
    linear_projection: bool = False
    upcast_attention: bool = False
    groups: Width = 32
    epsilon: Positive = 1e-5
    timesteps: Timesteps = 1000
    time_offset: Annotated[float | int, Bounds()] = -1
    dtype: str = "float32"

    def __post_init__(self):
        check_bounds(self)
        levels = len(self.widths)
        if not 1 <= levels <= MOST_LEVELS:
            raise InputError(f"`widths` must be of 1 to {MOST_LEVELS} levels, got {levels}")
        if not isinstance(self.size, int):
            height, width = self.size
            object.__setattr__(self, "size", height if height == width else (height, width))
        for name in ("transformers", "heads"):
            if len(given := getattr(self, name)) != levels:
                raise InputError(f"`{name}` must have one entry for each of the {levels} levels, got {len(given)}")
        if self.attention != tuple(sorted(set(self.attention) & set(range(levels)))):
            raise InputError(f"`attention` must name levels from 0 to {levels - 1} in order, got {list(self.attention)}")
        check_widths(self.widths, self.groups)
        for level, (width, heads) in enumerate(zip(self.widths, self.heads, strict=True)):
            if (level in self.attention or level == levels - 1) and width % heads:
                raise InputError(f"`heads` {heads} does not divide the {width} channels of level {level}")
        if self.widths[0] % 2 or (self.size_channels or 0) % 2:
            raise InputError("the first of `widths` and `size_channels` must be even, half of the features being sines")
        if (count := self.transformer_layers) > MOST_TRANSFORMERS:
            raise InputError(f"`transformers` and `blocks` must make at most {MOST_TRANSFORMERS:,} layers, got {count:,}")
        if (self.pooled_channels is None) != (self.size_channels is None):
            raise InputError("`pooled_channels` and `size_channels` must be given together or not at all")
        check_dtype(self.dtype)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the latents that it was trained on, (h, w, C)."""
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        return (height, width, self.channels)

    @property
    def transformer_layers(self) -> int:
        """The layers of all transformers."""
        on_levels = sum(self.transformers[level] for level in self.attention)
        return (2 * self.blocks + 1) * on_levels + self.transformers[-1]

    @property
    def embedding(self) -> int:
        """Channels of the time embedding."""
        return 4 * self.widths[0]

    @property
    def added_channels(self) -> int | None:
        """Channels of the pooled text embedding and the features of the sizes together; None for a network without them."""
        if self.pooled_channels is None or self.size_channels is None:
            return None
        return self.pooled_channels + SIZES * self.size_channels

    def settings(self) -> dict[str, Any]:
        """The arguments of the configuration, JSON-ready."""
        return settings_of(self)


def check_widths(widths: tuple[int, ...], groups: int) -> None:
    """Raises `InputError` unless the groups of group norms divide all channels."""
    if undivided := [width for width in widths if width % groups]:
        raise InputError(f"`groups` {groups} does not divide the channels {undivided} of `widths`")


def check_dtype(dtype: str) -> None:
    """Raises `InputError` for a dtype in which networks do not compute."""
    if dtype not in DTYPES:
        raise InputError(f"`dtype` must be one of {', '.join(DTYPES)}, got {dtype!r}")


def settings_of(config: Any) -> dict[str, Any]:
    """The fields of a configuration, JSON-ready."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
