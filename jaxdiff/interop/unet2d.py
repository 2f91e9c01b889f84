"""Conversion between our UNet and diffusers' UNet2DModel.

A timestep i of diffusers is our time t = (i + 1) / T, see `jaxdiff.process.ddpm`. UNet2DModel embeds the timestep as sinusoids
of i, and so does our UNet with a `time_offset` of -1, which imported networks have. Networks trained with jaxdiff embed i + 1.
The two embeddings differ by a rotation of each pair of cosine and sine, which is absorbed into the weights of the next layer.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np

from jaxdiff.interop import unet2d_config
from jaxdiff.interop.layers import Arrays, Layer, filled, from_torch, modern_names, places, residual, to_torch
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.layers import sinusoid_frequencies
from jaxdiff.models.network import Network
from jaxdiff.models.size import require_held
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


def exported(config: UNetConfig, network: Network) -> tuple[dict[str, Any], Arrays]:
    """The `config.json` and the state dictionary of the UNet2DModel that computes the same function as our UNet.

    `UNet2DModel(x, timestep, class_labels)` is our network at t = (timestep + 1) / T, with images (B, C, H, W) and T the
    configuration's `timesteps`. For one attribute of K values the class label is our label, and K is the null label. For
    several attributes it is the index of their labels in the table of all combinations, null labels last, the last attribute
    varying fastest (`numpy.ravel_multi_index`).

    Arguments:
        config: the configuration of the network.
        network: the network.

    Raises:
        InputError: the network has a feature that UNet2DModel lacks: a stem, a first level wider than `base`, group norms with
            different numbers of groups, attention heads of several widths, or several kinds of resampling.
    """
    arrays = {name: np.asarray(leaf, np.float32) for name, leaf in named(network.weights).items()}
    arrays["time_in/kernel"] = _rotated(arrays["time_in/kernel"], config)
    if config.values:
        arrays["label_table"] = _combinations(arrays["label_table"], config)
    widths = {array.size for name, array in arrays.items() if name.endswith("/scale")}
    settings = unet2d_config.written(config, widths, len(arrays["label_table"]) if config.values else None)
    # copies, which PyTorch may write into
    return settings, {name: np.array(array, order="C") for name, array in to_torch(_layers(config), arrays).items()}


def imported(config: UNetConfig, state: Mapping[str, np.ndarray], name: str = "the state dictionary") -> Network:
    """Our network with the weights of a UNet2DModel.

    Arguments:
        config: its configuration, as `unet2d_config.read` gives it.
        state: its state dictionary.
        name: the name of the state dictionary in errors.

    Raises:
        InputError: the state dictionary does not match the configuration; missing and unexpected arrays are listed.
    """
    require_held(config, sum(array.size for array in state.values()), name)
    return filled(config, partial(from_torch, _layers(config), modern_names(state), name))


def _rotated(kernel: np.ndarray, config: UNetConfig) -> np.ndarray:
    """The kernel whose output for sinusoids of i equals the output of `kernel` for sinusoids of i + 1 + `time_offset`.

    It follows from cos(w (i + d)) = cos(w d) cos(w i) - sin(w d) sin(w i) and the same identity for the sine.
    """
    shift = 1 + config.time_offset
    if shift == 0:
        return kernel
    cosines, sines = np.split(kernel.astype(np.float64), 2)[:: -1 if config.sines_first else 1]
    angle = shift * np.asarray(sinusoid_frequencies(len(kernel), config.frequency_shift), np.float64)[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    rotated = [cos * cosines + sin * sines, cos * sines - sin * cosines]
    return np.concatenate(rotated[:: -1 if config.sines_first else 1]).astype(np.float32)


def _combinations(table: np.ndarray, config: UNetConfig) -> np.ndarray:
    """The embedding of each combination of labels, null labels included: the sum of the rows of its attributes."""
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
