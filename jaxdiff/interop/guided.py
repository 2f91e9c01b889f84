"""The state dictionaries of guided-diffusion (Dhariwal & Nichol 2021), and of its descendants such as P2 weighting.

Such a file contains only weights. The shape of the network follows from the arrays; the image size, the channels of an
attention head and the process do not, and must be given.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange

from jaxdiff import torch_file
from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError
from jaxdiff.interop.attributes import class_attribute
from jaxdiff.interop.layers import Arrays, Layer, filled, from_torch, places, residual
from jaxdiff.model import Model, fingerprinted, image_model
from jaxdiff.models.config import UNetConfig
from jaxdiff.process import Prediction, Process

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
# Arrays that every such network has, from which its shape is inferred.
REQUIRED = ("time_embed.0.weight", "input_blocks.0.0.weight", "out.2.weight", "output_blocks.0.0.emb_layers.1.weight")


def load(
    path: str | os.PathLike,
    *,
    size: int | tuple[int, int],
    process: Process,
    prediction: Prediction = "eps",
    head_channels: int = 64,
    attention_order: str = "heads",
    attribute: Attribute | None = None,
    null_label: bool = False,
) -> Model:
    """The model in a `.pt` file of a guided-diffusion network. No code in the file is run.

    For a network that also predicts a variance (`learn_sigma`), the variance output is dropped: the solvers choose the
    variance.

    Arguments:
        path: the network's `state_dict()`, written by `torch.save`, with averaged weights or not.
        size: of the images in pixels, (height, width) or one number for both.
        process: the forward process, usually `ddpm("linear")`; its T is that of the network's timesteps.
        prediction: what the network predicts.
        head_channels: channels of an attention head (`num_head_channels`; with `num_heads`, the channels divided by it).
        attention_order: whether the rows of the projection to queries, keys and values are ordered by `heads` first
            (guided-diffusion's default) or by `projections` first (`use_new_attention_order`).
        attribute: name and values of the class label; by default `class` with the values 0, 1, ..
        null_label: whether the last class embedding is that of the null label.

    Raises:
        InputError: the file is not the state dictionary of such a network; missing and unexpected arrays are listed.
    """
    content, name = torch_file.load(path), Path(path).name
    if not isinstance(content, dict) or not all(isinstance(value, np.ndarray) for value in content.values()):
        held = (
            f"a dictionary of {', '.join(map(str, list(content)[:10]))}"
            if isinstance(content, dict)
            else type(content).__name__
        )
        raise InputError(f"{name} must hold a network's state_dict(), got {held}")
    if attention_order not in ORDERS:
        raise InputError(f"`attention_order` must be one of {', '.join(ORDERS)}, got {attention_order!r}")
    settings = {"size": size, "head_channels": head_channels, "timesteps": process.timesteps, "null_label": null_label}
    config = configuration(content, name, **settings)
    state = _ordered(content, config) if attention_order == "heads" else dict(content)
    for key in ("out.2.weight", "out.2.bias"):
        if len(state.get(key, ())) == 2 * config.channels:
            state[key] = state[key][: config.channels]
    network = filled(config, partial(from_torch, _layers(config), state, name))
    attributes = class_attribute(config.values, attribute)
    return fingerprinted(
        image_model(config, network, process, prediction, attributes, {"imported": f"guided-diffusion, {name}"})
    )


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
        state: the arrays by name.
        name: the name of the state in errors.
        size, head_channels, timesteps, null_label: see `load`.
    """
    if lacking := [key for key in REQUIRED if key not in state]:
        raise InputError(f"{name} is not a UNet of guided-diffusion: it lacks {', '.join(lacking)}")
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
