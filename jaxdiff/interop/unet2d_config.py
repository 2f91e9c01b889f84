"""Conversion between the `config.json` of diffusers' UNet2DModel and our configuration of a UNet."""

from collections.abc import Mapping
from typing import Any

from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError
from jaxdiff.interop.settings import (
    NAMES,
    NUMBER,
    SWITCH,
    WIDTH,
    WIDTHS,
    Described,
    few,
    optional,
    require_divided,
    require_levels,
)
from jaxdiff.models.config import MOST_BLOCKS, MOST_CLASSES, UNetConfig
from jaxdiff.models.layers import group_count
from jaxdiff.spaces.pixels import CHANNELS, channels_text

CLASS = "UNet2DModel"
# The defaults of UNet2DModel.
DEFAULTS: dict[str, Any] = {
    "sample_size": None,
    "in_channels": 3,
    "out_channels": 3,
    "center_input_sample": False,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"],
    "mid_block_type": "UNetMidBlock2D",
    "up_block_types": ["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [224, 448, 672, 896],
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "dropout": 0.0,
    "act_fn": "silu",
    "attention_head_dim": 8,
    "norm_num_groups": 32,
    "attn_norm_num_groups": None,
    "norm_eps": 1e-5,
    "resnet_time_scale_shift": "default",
    "add_attention": True,
    "class_embed_type": None,
    "num_class_embeds": None,
    "num_train_timesteps": None,
}
# Settings for which our UNet supports only these values.
FIXED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "time_embedding_type": ("positional",),
    "mid_block_type": ("UNetMidBlock2D",),
    "mid_block_scale_factor": (1,),
    "act_fn": ("silu", "swish"),
    "class_embed_type": (None,),
    "downsample_padding": (0, 1),
    "downsample_type": ("conv", "resnet"),
    "upsample_type": ("conv", "resnet"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
}

# The types of the other settings.
FREE = {
    "layers_per_block": few(MOST_BLOCKS),
    "in_channels": WIDTH,
    "out_channels": WIDTH,
    "norm_num_groups": WIDTH,
    "attention_head_dim": optional(few(MOST_CLASSES)),
    "num_class_embeds": optional(few(MOST_CLASSES)),
    "attn_norm_num_groups": optional(few(MOST_CLASSES)),
    "time_embedding_dim": optional(few(MOST_CLASSES)),
    "freq_shift": NUMBER,
    "dropout": NUMBER,
    "norm_eps": NUMBER,
    "flip_sin_to_cos": SWITCH,
    "add_attention": SWITCH,
    "block_out_channels": WIDTHS,
    "down_block_types": NAMES,
    "up_block_types": NAMES,
}
DESCRIBED = Described(CLASS, "our UNet", DEFAULTS, FIXED, FREE)
# For each type of block: whether it has attention, and how it resamples; None is set by downsample_type and upsample_type.
DOWN_BLOCKS = {"DownBlock2D": (False, "conv"), "ResnetDownsampleBlock2D": (False, "resnet"), "AttnDownBlock2D": (True, None)}
UP_BLOCKS = {"UpBlock2D": (False, "conv"), "ResnetUpsampleBlock2D": (False, "resnet"), "AttnUpBlock2D": (True, None)}
PADDINGS = {"convolution": 0, "centred_convolution": 1}


def read(
    given: Mapping[str, Any],
    *,
    size: int | tuple[int, int] | None = None,
    timesteps: int = 1000,
    null_label: bool = False,
    name: str = CLASS,
) -> UNetConfig:
    """Our configuration of the network described by a `config.json`.

    Arguments:
        given: the `config.json`.
        size: of the images, (height, width) or one number for both; needed if the `config.json` has none.
        timesteps: T, the number of timesteps that the network was trained with.
        null_label: whether the last class embedding is that of the null label.
        name: the name of the `config.json` in errors.

    Raises:
        InputError: it is of another class, or has a setting that our UNet does not support, which is named.
    """
    settings = completed(given, name)
    widths, levels = settings["block_out_channels"], len(settings["block_out_channels"])
    attends, downsampling = _ways(settings, "down_block_types", DOWN_BLOCKS, settings["downsample_type"], name)
    back, upsampling = _ways(settings, "up_block_types", UP_BLOCKS, settings["upsample_type"], name)
    if attends != back[::-1]:
        raise InputError(
            f"{name}: down_block_types {settings['down_block_types']} and up_block_types {settings['up_block_types']} have "
            "attention at different levels, which our UNet does not support"
        )
    size, classes = _size(size or settings["sample_size"], name), settings["num_class_embeds"]
    if null_label and (classes or 0) < 2:
        raise InputError(f"`null_label` needs a network with at least two class embeddings; {name} has {classes}")
    heads = settings["attention_head_dim"]
    attending = {width for width, attention in zip(widths, attends, strict=True) if attention} | {widths[-1]}
    if heads is not None and any(width % heads for width in attending):
        raise InputError(
            f"{name}: attention_head_dim {heads} does not divide the {sorted(attending)} channels of its attention"
        )
    convolution = next(kind for kind, padding in PADDINGS.items() if padding == settings["downsample_padding"])
    kinds = {"resnet": "residual", "conv": convolution}
    return UNetConfig(
        size=size,
        channels=settings["in_channels"],
        base=widths[0],
        multipliers=tuple(_quotient(width, widths[0]) for width in widths),
        blocks=settings["layers_per_block"],
        attention=tuple(size[0] // 2**level for level in range(levels) if attends[level]),
        head_channels=max(widths) if heads is None else heads,
        dropout=float(settings["dropout"]),
        groups=settings["norm_num_groups"],
        epsilon=float(settings["norm_eps"]),
        embedding="scale_shift" if settings["resnet_time_scale_shift"] == "scale_shift" else "shift",
        downsampling=_one_or_all([kinds[how] for how in downsampling[:-1]]),
        upsampling=_one_or_all(["residual" if how == "resnet" else "convolution" for how in upsampling[-2::-1]]),
        middle_attention=_middle(settings, name),
        timesteps=timesteps,
        time_offset=-1,
        sines_first=not settings["flip_sin_to_cos"],
        frequency_shift=settings["freq_shift"],
        values=() if classes is None else (classes - null_label,),
        null_label=null_label or classes is None,
    )


def _size(given: Any, name: str) -> tuple[int, int]:
    """Height and width of the images."""
    if WIDTH.holds(given):
        return given, given
    if not (WIDTHS.holds(given) and len(given) == 2):
        raise InputError(f"{name} has sample_size {shortened(given)}: give the height and width of the images as `size`")
    return tuple(given)


def completed(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """All settings of a `config.json` with defaults, each checked.

    Arguments:
        given: the `config.json`.
        name: its name in errors.

    Raises:
        InputError: it is of another class, or has a setting that our UNet does not support, which is named.
    """
    settings = DESCRIBED.completed(given, name)
    if settings["in_channels"] != settings["out_channels"]:
        raise InputError(f"{name}: in_channels {settings['in_channels']} must be out_channels {settings['out_channels']}")
    if settings["in_channels"] not in CHANNELS:
        raise InputError(
            f"{name}: in_channels is {settings['in_channels']}; jaxdiff imports networks of images, with {channels_text()} "
            "channels, and none of latents"
        )
    require_divided(settings, name)
    base = settings["block_out_channels"][0]
    if settings["time_embedding_dim"] not in (None, 4 * base):
        raise InputError(f"{name}: time_embedding_dim is {settings['time_embedding_dim']}; our UNet takes {4 * base}")
    require_levels(settings, name)
    return settings


def _ways(settings, key: str, known, otherwise: str, name: str) -> tuple[list[bool], list[str]]:
    """Whether each block of a way has attention, and how it resamples."""
    types = [kind.removeprefix("UNetRes") for kind in settings[key]]
    if unknown := sorted(set(types) - known.keys()):
        raise InputError(f"{name}: {key} has {', '.join(unknown)}; our UNet takes {', '.join(known)}")
    return [known[kind][0] for kind in types], [known[kind][1] or otherwise for kind in types]


def _middle(settings, name: str) -> str:
    """The attention of the middle block; by default UNet2DModel omits its norm if the embedding scales and shifts."""
    own, groups = settings["attn_norm_num_groups"], settings["norm_num_groups"]
    if not settings["add_attention"]:
        return "none"
    if own is None and settings["resnet_time_scale_shift"] == "scale_shift":
        return "plain"
    if own not in (None, groups):
        raise InputError(f"{name}: attn_norm_num_groups is {own}; our UNet takes norm_num_groups, {groups}")
    return "normalised"


def _quotient(width: int, base: int) -> int | float:
    return width // base if width % base == 0 else width / base


def _one_or_all(kinds: list[str]) -> str | tuple[str, ...]:
    """One name if all levels share it."""
    return kinds[0] if len(set(kinds)) == 1 else tuple(kinds)


def written(config: UNetConfig, norm_widths: set[int], classes: int | None) -> dict[str, Any]:
    """The `config.json` of our network.

    Arguments:
        config: the network's configuration.
        norm_widths: the channels of its group norms.
        classes: its number of class embeddings; None without.

    Raises:
        InputError: the network has a feature that UNet2DModel lacks, which is named.
    """
    if config.stem != 1:
        raise InputError(f"{CLASS} has no space-to-depth stem: `stem` must be 1, got {config.stem}")
    if config.multipliers[0] != 1:
        first = config.multipliers[0]
        raise InputError(f"{CLASS}'s first layer is as wide as its first level: `multipliers` must begin with 1, got {first}")
    levels = range(len(config.multipliers))
    attends = [resolution in config.attention for resolution in config.resolutions]
    down = [_kind(config.resampling("down", level)) for level in levels[:-1]]
    up = [_kind(config.resampling("up", level)) for level in levels[:-1]]
    groups, scales = _groups(config, norm_widths), config.embedding == "scale_shift"
    if config.middle_attention == "plain" and not scales:
        raise InputError(f"{CLASS} has a norm before the middle attention if `embedding` is shift; this network has none")
    return {
        "_class_name": CLASS,
        "sample_size": config.size if isinstance(config.size, int) else list(config.size),
        "in_channels": config.channels,
        "out_channels": config.channels,
        "center_input_sample": False,
        "time_embedding_type": "positional",
        "freq_shift": config.frequency_shift,
        "flip_sin_to_cos": not config.sines_first,
        "down_block_types": [_block(DOWN_BLOCKS, attends[level], (down[level:] or down[-1:])[:1]) for level in levels],
        "up_block_types": [_block(UP_BLOCKS, attends[level], up[max(level - 1, 0) :][:1]) for level in reversed(levels)],
        "block_out_channels": list(config.level_widths),
        "layers_per_block": config.blocks,
        "mid_block_scale_factor": 1,
        "downsample_padding": _padding(config),
        "downsample_type": _shared("downsampling", down, attends[:-1]),
        "upsample_type": _shared("upsampling", up, attends[1:]),
        "dropout": config.dropout,
        "act_fn": "silu",
        "attention_head_dim": _head_channels(config),
        "norm_num_groups": groups,
        "attn_norm_num_groups": groups if scales and config.middle_attention == "normalised" else None,
        "norm_eps": config.epsilon,
        "resnet_time_scale_shift": "scale_shift" if scales else "default",
        "add_attention": config.middle_attention != "none",
        "class_embed_type": None,
        "num_class_embeds": classes,
    }


def _kind(resampling: str) -> str:
    return "resnet" if resampling == "residual" else "conv"


def _block(known: Mapping[str, tuple[bool, str | None]], attention: bool, resampling: list[str]) -> str:
    """The type of block with or without attention that resamples in this way; [] for a network of one level."""
    for kind, (has, how) in known.items():
        if has == attention and how in (None, *(resampling or ["conv"])):
            return kind
    raise AssertionError(f"no block {attention} {resampling}")


def _shared(name: str, kinds: list[str], attends: list[bool]) -> str:
    """How the levels with attention resample. Raises `InputError` if they differ."""
    shared = {kind for kind, attention in zip(kinds, attends, strict=True) if attention} or set(kinds[:1]) or {"conv"}
    if len(shared) > 1:
        raise InputError(f"{CLASS} has one kind of `{name}` for all levels with attention; this network has two")
    return shared.pop()


def _padding(config: UNetConfig) -> int:
    """Where strided convolutions pad: 0 below and to the right, 1 all around."""
    kinds = {config.resampling("down", level) for level in range(len(config.multipliers) - 1)} - {"residual"}
    if len(kinds) > 1:
        raise InputError(f"{CLASS} pads all its convolutions alike; `downsampling` {config.downsampling} does not")
    return PADDINGS[kinds.pop()] if kinds else 1


def _groups(config: UNetConfig, widths: set[int]) -> int:
    """The number of groups of all group norms. Raises `InputError` if they differ."""
    counts = {width: group_count(width, config.groups) for width in sorted(widths)}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} at {width} channels" for width, count in counts.items())
        raise InputError(f"{CLASS} has one number of groups for all group norms; this network has {listed}")
    return min(counts.values())


def _head_channels(config: UNetConfig) -> int | None:
    """Channels of an attention head; None is one head at every width."""
    widths = {config.level_widths[level] for level in range(len(config.multipliers)) if config.attends(level)}
    heads = {width: max(1, width // config.head_channels) for width in widths}
    channels = {width // count for width, count in heads.items()}
    if set(heads.values()) <= {1}:
        return None
    if len(channels) > 1:
        raise InputError(
            f"{CLASS} has one width for all attention heads; `head_channels` {config.head_channels} makes heads of "
            f"{sorted(channels)} channels at the widths {sorted(widths)}"
        )
    return channels.pop()
