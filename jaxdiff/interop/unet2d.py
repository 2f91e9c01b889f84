"""Our UNet as diffusers' UNet2DModel, and the other way.

A timestep i of diffusers is our time t = (i + 1) / T, see `jaxdiff.process.ddpm`. Its network reads sinusoids of i. So does
ours where its `time_offset` is -1, as in networks that come from there; one that was trained here reads sinusoids of i + 1. The
two differ by a rotation of each pair of cosine and sine, which goes into the weights of the layer that reads them.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from jaxdiff.interop import unet2d_config
from jaxdiff.interop.layers import Arrays, Layer, filled, from_torch, places, residual, to_torch
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.layers import sinusoid_frequencies
from jaxdiff.models.network import Network
from jaxdiff.weight_file import named

RESIDUAL = {
    "norm_in": "norm1",
    "conv_in": "conv1",
    "scale_shift": "time_emb_proj",
    "shift": "time_emb_proj",
    "norm_out": "norm2",
    "conv_out": "conv2",
    "skip": "conv_shortcut",
}
# Names of attention's layers in files from before diffusers 0.12.
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def exported(config: UNetConfig, network: Network) -> tuple[dict[str, Any], Arrays]:
    """The `config.json` and the state dictionary of the UNet2DModel that computes what a UNet of ours does.

    `UNet2DModel(x, timestep, class_labels)` is our network at t = (timestep + 1) / T, with images (B, C, H, W) and T the
    configuration's `timesteps`. Its class label is our label for one attribute of K values, with K for the null label. For
    several attributes it is the place of their labels in the table of all combinations, null labels last, the last
    attribute fastest (`numpy.ravel_multi_index`).

    Arguments:
        config: the shape of the network.
        network: the network.

    Raises:
        InputError: the network has what UNet2DModel has not: a stem, a first level wider than `base`, group norms of
            unequally many groups, attention heads of several widths, or several kinds of resampling where it has one.
    """
    arrays = {name: np.asarray(leaf, np.float32) for name, leaf in named(network.weights).items()}
    arrays["time_in/kernel"] = _turned(arrays["time_in/kernel"], config)
    if config.values:
        arrays["label_table"] = _combinations(arrays["label_table"], config)
    widths = {array.size for name, array in arrays.items() if name.endswith("/scale")}
    settings = unet2d_config.written(config, widths, len(arrays["label_table"]) if config.values else None)
    # arrays of their own, which PyTorch may write into
    return settings, {name: np.array(array, order="C") for name, array in to_torch(_layers(config), arrays).items()}


def imported(config: UNetConfig, state: Mapping[str, np.ndarray], name: str = "the state dictionary") -> Network:
    """Our network with the weights of a UNet2DModel.

    Arguments:
        config: its configuration, as `unet2d_config.read` gives it.
        state: its state dictionary.
        name: what the state dictionary is called in errors.

    Raises:
        InputError: the state dictionary is not one of this configuration; it lists the arrays.
    """
    renamed = {}
    for key, array in state.items():
        block, _, rest = key.rpartition(".attentions.")
        place, _, layer = rest.partition(".")
        old, _, kind = layer.rpartition(".")
        renamed[f"{block}.attentions.{place}.{OLD_ATTENTION[old]}.{kind}" if old in OLD_ATTENTION else key] = array
    return filled(config, partial(from_torch, _layers(config), renamed, name))


def _turned(kernel: np.ndarray, config: UNetConfig) -> np.ndarray:
    """The kernel that gives for the sinusoids of i what `kernel` gives for those of i + 1 + `time_offset`.

    By cos(w (i + d)) = cos(w d) cos(w i) - sin(w d) sin(w i) and its like for the sine.
    """
    by = 1 + config.time_offset
    if by == 0:
        return kernel
    cosines, sines = np.split(kernel.astype(np.float64), 2)[:: -1 if config.sines_first else 1]
    angle = by * np.asarray(sinusoid_frequencies(len(kernel), config.frequency_shift), np.float64)[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    turned = [cos * cosines + sin * sines, cos * sines - sin * cosines]
    return np.concatenate(turned[:: -1 if config.sines_first else 1]).astype(np.float32)


def _combinations(table: np.ndarray, config: UNetConfig) -> np.ndarray:
    """The embedding of each combination of labels, null labels among them: the sum of its attributes' rows."""
    counts = [count + config.null_label for count in config.values]
    combined, *others = np.split(table, list(accumulate(counts))[:-1])
    for rows in others:
        combined = (combined[:, None] + rows).reshape(-1, table.shape[-1])
    return combined


def _layers(config: UNetConfig) -> Iterator[Layer]:
    """Every layer that the network may have."""
    yield Layer("conv_in", "conv_in", "convolution")
    yield Layer("time_in", "time_embedding.linear_1", "linear")
    yield Layer("time_out", "time_embedding.linear_2", "linear")
    yield Layer("label_table", "class_embedding", "table")
    for ours, way, level, block, how in places(config):
        if way == "middle":
            where, path, attention = "mid_block", f"mid_block.resnets.{block}", f"mid_block.attentions.{block}"
        else:
            where = f"{way}_blocks.{level}"
            path = f"{where}.resnets.{block}" if how == "block" else f"{where}.{way}samplers.0"
            attention = f"{where}.attentions.{block}"
        if how == "convolution":
            yield Layer(f"{ours}/conv", f"{path}.conv", "convolution")
        else:
            yield from residual(ours, path, RESIDUAL)
        yield Layer(f"{ours}/attention/norm", f"{attention}.group_norm", "normalisation")
        yield Layer(f"{ours}/attention/query_key_value", attention, "attention")
        yield Layer(f"{ours}/attention/out", f"{attention}.to_out.0", "pointwise")
    yield Layer("norm_out", "conv_norm_out", "normalisation")
    yield Layer("conv_out", "conv_out", "convolution")
