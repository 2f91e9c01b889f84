"""Conversion between the `config.json` of diffusers' UNet2DConditionModel and our configuration of a UNet of latents."""

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
    either,
    few,
    optional,
    require_divided,
    require_levels,
    several,
)
from jaxdiff.models.config import MOST_BLOCKS
from jaxdiff.models.unet_condition_config import SIZES, ConditionUNetConfig

CLASS = "UNet2DConditionModel"
DOWN = {"DownBlock2D": False, "CrossAttnDownBlock2D": True}
UP = {"UpBlock2D": False, "CrossAttnUpBlock2D": True}
"""The types of blocks, and whether they have cross attention."""
SDXL = "text_time"
"""The `addition_embed_type` of SDXL."""
# The defaults of UNet2DConditionModel.
DEFAULTS: dict[str, Any] = {
    "sample_size": None,
    "in_channels": 4,
    "out_channels": 4,
    "center_input_sample": False,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "only_cross_attention": False,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "downsample_padding": 1,
    "mid_block_scale_factor": 1,
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "cross_attention_dim": 1280,
    "transformer_layers_per_block": 1,
    "reverse_transformer_layers_per_block": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "attention_head_dim": 8,
    "num_attention_heads": None,
    "dual_cross_attention": False,
    "use_linear_projection": False,
    "class_embed_type": None,
    "addition_embed_type": None,
    "addition_time_embed_dim": None,
    "num_class_embeds": None,
    "upcast_attention": False,
    "resnet_time_scale_shift": "default",
    "resnet_skip_time_act": False,
    "resnet_out_scale_factor": 1.0,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "time_embedding_act_fn": None,
    "timestep_post_act": None,
    "time_cond_proj_dim": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "projection_class_embeddings_input_dim": None,
    "attention_type": "default",
    "class_embeddings_concat": False,
    "mid_block_only_cross_attention": None,
    "cross_attention_norm": None,
}
# Dropout is none when images are drawn; the other belongs to an `addition_embed_type` that is not read.
IDLE = frozenset({"dropout", "addition_embed_type_num_heads"})
# Settings for which our UNet supports only these values.
FIXED: dict[str, tuple[Any, ...]] = {
    "center_input_sample": (False,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "only_cross_attention": (False,),
    "downsample_padding": (1,),
    "mid_block_scale_factor": (1,),
    "act_fn": ("silu", "swish"),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "num_attention_heads": (None,),
    "dual_cross_attention": (False,),
    "class_embed_type": (None,),
    "addition_embed_type": (None, SDXL),
    "num_class_embeds": (None,),
    "resnet_time_scale_shift": ("default",),
    "resnet_skip_time_act": (False,),
    "resnet_out_scale_factor": (1.0,),
    "time_embedding_type": ("positional",),
    "time_embedding_act_fn": (None,),
    "timestep_post_act": (None,),
    "time_cond_proj_dim": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "attention_type": ("default",),
    "class_embeddings_concat": (False,),
    "mid_block_only_cross_attention": (None, False),
    "cross_attention_norm": (None,),
}
LAYERS = few(MOST_BLOCKS)
ALL_LAYERS = several(LAYERS, f"whole numbers from 1 to {MOST_BLOCKS}")
# The types of the other settings.
FREE = {
    "sample_size": optional(either(WIDTH, WIDTHS)),
    "in_channels": WIDTH,
    "out_channels": WIDTH,
    "down_block_types": NAMES,
    "up_block_types": NAMES,
    "block_out_channels": WIDTHS,
    "layers_per_block": either(LAYERS, ALL_LAYERS),
    "norm_num_groups": WIDTH,
    "norm_eps": NUMBER,
    "cross_attention_dim": either(WIDTH, WIDTHS),
    "transformer_layers_per_block": either(LAYERS, ALL_LAYERS),
    "reverse_transformer_layers_per_block": optional(ALL_LAYERS),
    "attention_head_dim": either(WIDTH, WIDTHS),
    "use_linear_projection": SWITCH,
    "addition_time_embed_dim": optional(WIDTH),
    "upcast_attention": SWITCH,
    "time_embedding_dim": optional(WIDTH),
    "projection_class_embeddings_input_dim": optional(WIDTH),
}
DESCRIBED = Described(CLASS, "our UNet", DEFAULTS, FIXED, FREE, IDLE)
# What a UNet of other inputs is for, by its `in_channels`.
OTHERS = {
    5: "a model that draws from depth maps",
    7: "an upscaler",
    8: "a model that edits by instructions, or one with another image beside the latents",
    9: "an inpainting model, which takes a mask and a masked image beside the latents",
}
# `cross_attention_dim`, `addition_time_embed_dim` and `projection_class_embeddings_input_dim` of SDXL's refiner, which takes
# four sizes and a score in place of six sizes.
REFINER = (1280, 256, 2560)


def read(
    given: Mapping[str, Any],
    *,
    size: int | tuple[int, int] | None = None,
    timesteps: int = 1000,
    dtype: str = "float32",
    name: str = CLASS,
) -> ConditionUNetConfig:
    """Our configuration of the network described by a `config.json`.

    Arguments:
        given: the `config.json`.
        size: of the latents, (height, width) or one number for both; needed if the `config.json` has none.
        timesteps: T, the number of timesteps that the network was trained with.
        dtype: of the computation and of the kernels, `float32` or `bfloat16`.
        name: the name of the `config.json` in errors.

    Raises:
        InputError: it is of another class, or has a setting that our UNet does not support, which is named.
    """
    settings = DESCRIBED.completed(given, name)
    _require_latents(settings, name)
    require_divided(settings, name)
    require_levels(settings, name)
    widths = settings["block_out_channels"]
    if settings["time_embedding_dim"] not in (None, 4 * widths[0]):
        raise InputError(f"{name}: time_embedding_dim is {settings['time_embedding_dim']}; our UNet takes {4 * widths[0]}")
    transformers = _for_each("transformer_layers_per_block", settings, name)
    back = settings["reverse_transformer_layers_per_block"]
    if back is not None and tuple(back) != transformers[::-1]:
        raise InputError(f"{name}: reverse_transformer_layers_per_block is {back}; our UNet takes {list(transformers[::-1])}")
    pooled, sizes = _added(settings, name)
    return ConditionUNetConfig(
        size=_size(settings["sample_size"] if size is None else size, name),
        channels=settings["in_channels"],
        widths=tuple(widths),
        blocks=_same("layers_per_block", settings, name),
        attention=_attention(settings, name),
        transformers=transformers,
        heads=_for_each("attention_head_dim", settings, name),  # a number of heads, in spite of its name
        text_channels=_same("cross_attention_dim", settings, name),
        pooled_channels=pooled,
        size_channels=sizes,
        linear_projection=settings["use_linear_projection"],
        upcast_attention=settings["upcast_attention"],
        groups=settings["norm_num_groups"],
        epsilon=float(settings["norm_eps"]),
        timesteps=timesteps,
        dtype=dtype,
    )


def _require_latents(settings: Mapping[str, Any], name: str) -> None:
    """Raises `InputError` for a network that takes more than noised latents, or predicts something else."""
    inputs, outputs = settings["in_channels"], settings["out_channels"]
    if inputs == outputs:
        return
    kind = f", as that of {OTHERS[inputs]}" if inputs in OTHERS and outputs < inputs else ""
    raise InputError(f"{name}: in_channels is {inputs} and out_channels {outputs}{kind}; our UNet has as many of both")


def _size(given: Any, name: str) -> int | tuple[int, int]:
    """Height and width of the latents."""
    if given is None or not (isinstance(given, int) or len(given) == 2):
        raise InputError(f"{name} has sample_size {shortened(given)}: give the height and width of the latents as `size`")
    return given if isinstance(given, int) else (given[0], given[1])


def _attention(settings: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """The levels with cross attention."""
    attends = {}
    for key, known in (("down_block_types", DOWN), ("up_block_types", UP)):
        if unknown := sorted(set(settings[key]) - known.keys()):
            raise InputError(f"{name}: {key} has {', '.join(unknown)}; our UNet takes {', '.join(known)}")
        attends[key] = [known[kind] for kind in settings[key]]
    if attends["down_block_types"] != attends["up_block_types"][::-1]:
        raise InputError(
            f"{name}: down_block_types {settings['down_block_types']} and up_block_types {settings['up_block_types']} have "
            "cross attention at different levels, which our UNet does not support"
        )
    return tuple(level for level, has in enumerate(attends["down_block_types"]) if has)


def _added(settings: Mapping[str, Any], name: str) -> tuple[int | None, int | None]:
    """The channels of the pooled text embedding and of the features of a size, both None without added conditions."""
    kind, each = settings["addition_embed_type"], settings["addition_time_embed_dim"]
    total = settings["projection_class_embeddings_input_dim"]
    if kind is None:
        return None, None
    if each is None or total is None or total <= SIZES * each:
        raise InputError(
            f"{name}: projection_class_embeddings_input_dim {total} must be more than {SIZES} times addition_time_embed_dim, "
            f"which is {each}"
        )
    if (settings["cross_attention_dim"], each, total) == REFINER:
        raise InputError(f"{name} describes the refiner of SDXL, which takes a score; jaxdiff reads SDXL's base model")
    return total - SIZES * each, each


def _for_each(key: str, settings: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """A setting that is one for all levels or one for each, as one for each."""
    value, levels = settings[key], len(settings["block_out_channels"])
    if isinstance(value, int):
        return (value,) * levels
    if len(value) != levels:
        raise InputError(f"{name}: {key} has {len(value)} entries, block_out_channels {levels}")
    return tuple(value)


def _same(key: str, settings: Mapping[str, Any], name: str) -> int:
    """A setting that may be given for each level, and must be the same for all."""
    values = set(_for_each(key, settings, name))
    if len(values) > 1:
        raise InputError(f"{name}: {key} is {settings[key]}; our UNet takes one number for all levels")
    return values.pop()


def written(config: ConditionUNetConfig) -> dict[str, Any]:
    """The `config.json` of our network.

    Raises:
        InputError: its time is none of UNet2DConditionModel's.
    """
    if config.time_offset != -1:
        raise InputError(f"{CLASS} counts timesteps from 0: `time_offset` must be -1, got {config.time_offset}")
    attends = [level in config.attention for level in range(len(config.widths))]
    down, up = ({has: kind for kind, has in types.items()} for types in (DOWN, UP))
    own = {
        "sample_size": config.size if isinstance(config.size, int) else list(config.size),
        "in_channels": config.channels,
        "out_channels": config.channels,
        "down_block_types": [down[has] for has in attends],
        "up_block_types": [up[has] for has in reversed(attends)],
        "block_out_channels": list(config.widths),
        "layers_per_block": config.blocks,
        "norm_num_groups": config.groups,
        "norm_eps": config.epsilon,
        "cross_attention_dim": config.text_channels,
        "transformer_layers_per_block": list(config.transformers),
        "attention_head_dim": list(config.heads),
        "use_linear_projection": config.linear_projection,
        "addition_embed_type": None if config.pooled_channels is None else SDXL,
        "addition_time_embed_dim": config.size_channels,
        "upcast_attention": config.upcast_attention,
        "projection_class_embeddings_input_dim": config.added_channels,
    }
    return {"_class_name": CLASS, **DEFAULTS, **own}
