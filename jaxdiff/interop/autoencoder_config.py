"""Conversion between the `config.json` of diffusers' AutoencoderKL and our configuration of an autoencoder."""

from collections.abc import Mapping
from typing import Any, NamedTuple

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
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.config import MOST_BLOCKS

CLASS = "AutoencoderKL"
# The defaults of AutoencoderKL.
DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D"],
    "block_out_channels": [64],
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    "sample_size": 32,
    "scaling_factor": 0.18215,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}
# It asks for float32 where the pipeline is of half precision, which is the default here.
IDLE = frozenset({"force_upcast"})
# Settings for which our autoencoder supports only these values.
FIXED: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu", "swish"),
    "latents_mean": (None,),
    "latents_std": (None,),
    "mid_block_add_attention": (True,),
}
# The types of the other settings.
FREE = {
    "in_channels": WIDTH,
    "out_channels": WIDTH,
    "down_block_types": NAMES,
    "up_block_types": NAMES,
    "block_out_channels": WIDTHS,
    "layers_per_block": few(MOST_BLOCKS),
    "latent_channels": WIDTH,
    "norm_num_groups": WIDTH,
    "sample_size": WIDTH,
    "scaling_factor": NUMBER,
    "shift_factor": optional(NUMBER),
    "use_quant_conv": SWITCH,
    "use_post_quant_conv": SWITCH,
}
DESCRIBED = Described(CLASS, "our autoencoder", DEFAULTS, FIXED, FREE, IDLE)


class Autoencoder(NamedTuple):
    """An autoencoder, and the scale of the latents that a pipeline draws with it.

    Attributes:
        config: its configuration.
        scaling_factor, shift_factor: the latents of the pipeline are scaling_factor * (z - shift_factor) for the encoder's z.
    """

    config: AutoencoderConfig
    scaling_factor: float
    shift_factor: float


def read(given: Mapping[str, Any], *, dtype: str = "float32", name: str = CLASS) -> Autoencoder:
    """Our configuration of the autoencoder described by a `config.json`.

    Arguments:
        given: the `config.json`. Those of Stable Diffusion 1 lack the scaling factor, which is 0.18215 then.
        dtype: of the computation and of the kernels, `float32` or `bfloat16`.
        name: the name of the `config.json` in errors.

    Raises:
        InputError: it is of another class, or has a setting that our autoencoder does not support, which is named.
    """
    settings = DESCRIBED.completed(given, name)
    if settings["in_channels"] != settings["out_channels"]:
        raise InputError(f"{name}: in_channels {settings['in_channels']} must be out_channels {settings['out_channels']}")
    if not settings["scaling_factor"] > 0:
        raise InputError(f"{name}: scaling_factor must be above 0, got {settings['scaling_factor']}")
    require_divided(settings, name)
    require_levels(settings, name)
    for key in ("down_block_types", "up_block_types"):
        if unknown := sorted(set(settings[key]) - {DEFAULTS[key][0]}):
            raise InputError(f"{name}: {key} has {', '.join(unknown)}; our autoencoder takes {DEFAULTS[key][0]}")
    config = AutoencoderConfig(
        size=settings["sample_size"],
        channels=settings["in_channels"],
        latent_channels=settings["latent_channels"],
        widths=tuple(settings["block_out_channels"]),
        blocks=settings["layers_per_block"],
        groups=settings["norm_num_groups"],
        quant_conv=settings["use_quant_conv"],
        post_quant_conv=settings["use_post_quant_conv"],
        dtype=dtype,
    )
    return Autoencoder(config, float(settings["scaling_factor"]), float(settings["shift_factor"] or 0))


def written(autoencoder: Autoencoder) -> dict[str, Any]:
    """The `config.json` of our autoencoder."""
    config, levels = autoencoder.config, len(autoencoder.config.widths)
    own = {
        "in_channels": config.channels,
        "out_channels": config.channels,
        "down_block_types": DEFAULTS["down_block_types"] * levels,
        "up_block_types": DEFAULTS["up_block_types"] * levels,
        "block_out_channels": list(config.widths),
        "layers_per_block": config.blocks,
        "latent_channels": config.latent_channels,
        "norm_num_groups": config.groups,
        "sample_size": config.size,
        "scaling_factor": autoencoder.scaling_factor,
        "shift_factor": autoencoder.shift_factor or None,
        "use_quant_conv": config.quant_conv,
        "use_post_quant_conv": config.post_quant_conv,
    }
    return {"_class_name": CLASS, **DEFAULTS, **own}
