"""The state dictionaries of guided-diffusion (Dhariwal & Nichol 2021), and of its descendants such as P2 weighting.

Such a file contains only weights. The shape of the network follows from the arrays; the image size, the channels of an
attention head and the process do not, and must be given.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from einops import rearrange

from jaxdiff.errors import InputError
from jaxdiff.interop.layers import Arrays, Layer, filled, from_torch, places, residual
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network
from jaxdiff.models.size import require_held
from jaxdiff.process import Process

RESIDUAL = {
    "norm_in": "in_layers.0",
    "conv_in": "in_layers.2",
    "scale_shift": "emb_layers.1",
    "shift": "emb_layers.1",
    "norm_out": "out_layers.0",
    "conv_out": "out_layers.3",
    "skip": "skip_connection",
}
ORDERS = ("heads", "projections")


def converted(
    state: Mapping[str, np.ndarray],
    name: str,
    *,
    size: int | tuple[int, int],
    process: Process,
    head_channels: int,
    attention_order: str,
    null_label: bool,
) -> tuple[UNetConfig, Network]:
    """Our network with the weights of a network of guided-diffusion, and its configuration.

    Of a network that also predicts a variance (`learn_sigma`), the variance output is dropped: the solvers choose the variance.

    Arguments:
        state: its state dictionary.
        name: the name of the state dictionary in errors.
        size, process, head_channels, attention_order, null_label: see `jaxdiff.interop.load`.

    Raises:
        InputError: the arrays do not make such a network; missing and unexpected ones are listed.
    """
    if attention_order not in ORDERS:
        raise InputError(f"`attention_order` must be one of {', '.join(ORDERS)}, got {attention_order!r}")
    settings = {"size": size, "head_channels": head_channels, "timesteps": process.timesteps, "null_label": null_label}
    config = configuration(state, name, **settings)
    require_held(config, sum(array.size for array in state.values()), name)
    state = _ordered(state, config) if attention_order == "heads" else dict(state)
    for key in ("out.2.weight", "out.2.bias"):
        if len(state.get(key, ())) == 2 * config.channels:
            state[key] = state[key][: config.channels]
    return config, filled(config, partial(from_torch, _layers(config), state, name))


def configuration(
    state: Mapping[str, np.ndarray],
    name: str,
    *,
    size: int | tuple[int, int],
    head_channels: int,
    timesteps: int,
    null_label: bool,
) -> UNetConfig:
    """Our configuration of the network that has these arrays.

    Arguments:
        state: the arrays by name, with at least those in `state.REQUIRED`.
        name: the name of the state in errors.
        size, head_channels, timesteps, null_label: see `load`.
    """
    outputs = _blocks(state, "output_blocks")
    # a block with a resampling layer is the last of its level; the last level has none
    resamplers = [_resampler(layers) for layers in outputs]
    levels = 1 + sum(kind is not None for kind in resamplers)
    base, classes = state["time_embed.0.weight"].shape[1], len(state.get("label_emb.weight", ()))
    if null_label and classes < 2:
        raise InputError(f"`null_label` needs a network with at least two class embeddings; {name} has {classes}")
    blocks = len(outputs) // levels
    firsts = outputs[::blocks][::-1]  # from the highest resolution on
    widths = [len(layers["0.out_layers.3.bias"]) if "0.out_layers.3.bias" in layers else 0 for layers in firsts]
    first, scales = state["input_blocks.0.0.weight"], len(state["output_blocks.0.0.emb_layers.1.weight"]) == 2 * widths[-1]
    if len(outputs) != levels * blocks or not all(widths) or len(first) != base:
        raise InputError(
            f"{name} has another architecture than our UNet: {len(outputs)} output_blocks in {levels} levels of "
            f"{', '.join(map(str, widths))} channels, a first layer of {len(first)} channels and a time embedding of {base}"
        )
    pooled = any("0.in_layers.2.weight" in layers for layers in _blocks(state, "input_blocks")[blocks::blocks][: levels - 1])
    return UNetConfig(
        size=size,
        channels=first.shape[1],
        base=base,
        multipliers=tuple(width // base if width % base == 0 else width / base for width in widths),
        blocks=blocks - 1,
        attention=tuple(
            (size if isinstance(size, int) else size[0]) // 2**level
            for level, layers in enumerate(firsts)
            if "1.qkv.weight" in layers
        ),
        head_channels=head_channels,
        dropout=0.0,
        embedding="scale_shift" if scales else "shift",
        downsampling="residual" if pooled else "centred_convolution",
        upsampling="residual" if "residual" in resamplers else "convolution",
        timesteps=timesteps,
        time_offset=-1,
        values=(classes - null_label,) if classes else (),
        null_label=null_label or not classes,
    )


def _blocks(state: Mapping[str, np.ndarray], way: str) -> list[dict[str, np.ndarray]]:
    """The arrays of each block of `input_blocks` or `output_blocks`, by suffix after the block's path."""
    blocks: dict[int, dict[str, np.ndarray]] = {}
    for key, array in state.items():
        if found := re.fullmatch(rf"{way}\.(\d+)\.(.+)", key):
            blocks.setdefault(int(found[1]), {})[found[2]] = array
    return [blocks[place] for place in sorted(blocks)]


def _resampler(layers: Mapping[str, Any]) -> str | None:
    """The kind of layer at the end of a block that doubles the resolution, if any."""
    for place in (1, 2):
        if f"{place}.conv.weight" in layers:
            return "convolution"
        if f"{place}.in_layers.2.weight" in layers:
            return "residual"
    return None


def _ordered(state: Mapping[str, np.ndarray], config: UNetConfig) -> Arrays:
    """The state with the rows of its projections ordered by projection first, then by head."""
    ordered = dict(state)
    for key, array in state.items():
        if re.search(r"\.qkv\.(weight|bias)$", key) and len(array) % 3 == 0:
            heads = max(1, len(array) // 3 // config.head_channels)
            if len(array) % (3 * heads) == 0:
                ordered[key] = rearrange(array, "(heads which d) ... -> (which heads d) ...", heads=heads, which=3)
    return ordered


def _layers(config: UNetConfig) -> Iterator[Layer]:
    """Every layer that the network may have."""
    yield Layer("conv_in", "input_blocks.0.0", "convolution")
    yield Layer("time_in", "time_embed.0", "linear")
    yield Layer("time_out", "time_embed.2", "linear")
    yield Layer("label_table", "label_emb", "table")
    place = {"down": 0, "up": -1}
    attends = [resolution in config.attention for resolution in config.resolutions]
    for ours, way, level, block, how in places(config):
        if way == "middle":
            path, attention = f"middle_block.{2 * block}", "middle_block.1"
        elif way == "down":
            place["down"] += 1
            path, attention = f"input_blocks.{place['down']}.0", f"input_blocks.{place['down']}.1"
        else:
            place["up"] += how == "block"
            behind = 1 + attends[::-1][level]
            path = f"output_blocks.{place['up']}.{0 if how == 'block' else behind}"
            attention = f"output_blocks.{place['up']}.1"
        if how == "convolution":
            yield Layer(f"{ours}/conv", f"{path}.{'op' if way == 'down' else 'conv'}", "convolution")
        else:
            yield from residual(ours, path, RESIDUAL)
        yield Layer(f"{ours}/attention/norm", f"{attention}.norm", "normalisation")
        yield Layer(f"{ours}/attention/query_key_value", f"{attention}.qkv", "sequence")
        yield Layer(f"{ours}/attention/out", f"{attention}.proj_out", "sequence")
    yield Layer("norm_out", "out.0", "normalisation")
    yield Layer("conv_out", "out.2", "convolution")
