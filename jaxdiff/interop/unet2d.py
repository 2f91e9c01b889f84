"""Our UNet as diffusers' UNet2DModel.

A timestep i of diffusers is our time t = (i + 1) / 1000, see `jaxdiff.process.ddpm`. Its network reads sinusoids of i where
ours reads sinusoids of 1000 t: the two differ by a rotation of each pair of cosine and sine, which goes into the weights of
the layer that reads them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxdiff.errors import InputError
from jaxdiff.interop.layers import Arrays, Layer, to_torch
from jaxdiff.models import labels
from jaxdiff.models.layers import group_count, sinusoid_frequencies
from jaxdiff.models.network import Network
from jaxdiff.models.unet import UNetConfig
from jaxdiff.weight_file import named

TIMESTEPS = 1000  # timesteps of diffusers in our unit of time


def exported(config: UNetConfig, network: Network) -> tuple[dict[str, Any], Arrays]:
    """The `config.json` and the state dictionary of the UNet2DModel that computes what a UNet of ours does.

    `UNet2DModel(x, timestep, class_labels)` is our network at t = (timestep + 1) / 1000, with images (B, C, H, W). Its class
    label is our label for one attribute of K values, with K for the null label. For several attributes it is the place of
    their labels in the table of all combinations, null labels last, the last attribute fastest (`numpy.ravel_multi_index`).

    Arguments:
        config: the shape of the network.
        network: the network.

    Raises:
        InputError: the network has what UNet2DModel does not: a stem, a first level wider than `base`, group norms of
            unequally many groups, or attention heads of several widths.
    """
    if config.stem != 1:
        raise InputError(f"UNet2DModel has no space-to-depth stem: `stem` must be 1, got {config.stem}")
    if config.multipliers[0] != 1:
        first = config.multipliers[0]
        raise InputError(
            f"UNet2DModel's first layer is as wide as its first level: `multipliers` must begin with 1, got {first}"
        )
    arrays = {name: np.asarray(leaf, np.float32) for name, leaf in named(network.weights).items()}
    arrays["time_in/kernel"] = _turned(arrays["time_in/kernel"], by=1.0)
    if config.values:
        arrays["label_table"] = _combinations(arrays["label_table"], config.values)
    return _description(config, arrays), to_torch(_layers(config), arrays)


def _description(config: UNetConfig, arrays: Arrays) -> dict[str, Any]:
    """The `config.json`."""
    last = len(config.multipliers) - 1
    attends = [resolution in config.attention for resolution in _resolutions(config)]
    down = ["AttnDownBlock2D" if has else "ResnetDownsampleBlock2D" for has in attends]
    up = ["AttnUpBlock2D" if has else "ResnetUpsampleBlock2D" for has in attends[::-1]]
    widths = [config.base * multiplier for multiplier in config.multipliers]
    groups = _groups(arrays)
    return {
        "_class_name": "UNet2DModel",
        "sample_size": config.size,
        "in_channels": config.channels,
        "out_channels": config.channels,
        "center_input_sample": False,
        "time_embedding_type": "positional",
        "freq_shift": 0,
        "flip_sin_to_cos": True,
        "down_block_types": down,
        "up_block_types": up,
        "block_out_channels": widths,
        "layers_per_block": config.blocks,
        "mid_block_scale_factor": 1,
        "downsample_padding": 1,
        "downsample_type": "resnet",
        "upsample_type": "resnet",
        "dropout": config.dropout,
        "act_fn": "silu",
        "attention_head_dim": _head_channels(config, {widths[i] for i in range(last + 1) if attends[i] or i == last}),
        "norm_num_groups": groups,
        "attn_norm_num_groups": groups,
        "norm_eps": 1e-5,
        "resnet_time_scale_shift": "scale_shift",
        "add_attention": True,
        "class_embed_type": None,
        "num_class_embeds": len(arrays["label_table"]) if config.values else None,
    }


def _resolutions(config: UNetConfig) -> list[int]:
    """Of the feature maps at each level."""
    return [config.size // 2**level for level in range(len(config.multipliers))]


def _groups(arrays: Arrays) -> int:
    """The number of groups of every group norm. Raises `InputError` where there is more than one."""
    widths = [array.size for name, array in arrays.items() if name.endswith("/scale")]
    counts = sorted({group_count(width) for width in widths})
    if len(counts) > 1:
        told = ", ".join(f"{count} at {min(w for w in widths if group_count(w) == count)} channels" for count in counts)
        raise InputError(f"UNet2DModel has one number of groups for all group norms; this network has {told}")
    return counts[0]


def _head_channels(config: UNetConfig, widths: set[int]) -> int | None:
    """Channels of an attention head; None is one head whatever the width."""
    heads = {width: max(1, width // config.head_channels) for width in widths}
    if set(heads.values()) == {1}:
        return None
    channels = {width // count for width, count in heads.items()}
    if len(channels) > 1:
        raise InputError(
            f"UNet2DModel has one width for all attention heads; `head_channels` {config.head_channels} makes heads of "
            f"{sorted(channels)} channels at the widths {sorted(widths)}"
        )
    return channels.pop()


def _turned(kernel: np.ndarray, by: float) -> np.ndarray:
    """The kernel that gives for the sinusoids of p what `kernel` gives for those of p + `by`: by cos(w (p + by)) = cos(w by)
    cos(w p) - sin(w by) sin(w p) and its like for the sine."""
    cosines, sines = np.split(kernel.astype(np.float64), 2)
    angle = by * np.asarray(sinusoid_frequencies(len(kernel)), np.float64)[:, None]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.concatenate([cos * cosines + sin * sines, cos * sines - sin * cosines]).astype(np.float32)


def _combinations(table: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """The embedding of each combination of labels, null labels among them: the sum of its attributes' rows."""
    rows = np.split(table, np.cumsum([labels.width([count]) for count in values])[:-1])
    combined = rows[0]
    for more in rows[1:]:
        combined = (combined[:, None] + more).reshape(-1, table.shape[-1])
    return combined


def _layers(config: UNetConfig) -> Iterator[Layer]:
    """Every layer that the network may have."""
    yield Layer("conv_in", "conv_in", "convolution")
    yield Layer("time_in", "time_embedding.linear_1", "linear")
    yield Layer("time_out", "time_embedding.linear_2", "linear")
    yield Layer("label_table", "class_embedding", "table")
    for ours, residual, attention in _blocks(config):
        yield Layer(f"{ours}/residual/norm_in", f"{residual}.norm1", "normalisation")
        yield Layer(f"{ours}/residual/conv_in", f"{residual}.conv1", "convolution")
        yield Layer(f"{ours}/residual/scale_shift", f"{residual}.time_emb_proj", "linear")
        yield Layer(f"{ours}/residual/norm_out", f"{residual}.norm2", "normalisation")
        yield Layer(f"{ours}/residual/conv_out", f"{residual}.conv2", "convolution")
        yield Layer(f"{ours}/residual/skip", f"{residual}.conv_shortcut", "convolution")
        yield Layer(f"{ours}/attention/norm", f"{attention}.group_norm", "normalisation")
        yield Layer(f"{ours}/attention/query_key_value", attention, "attention")
        yield Layer(f"{ours}/attention/out", f"{attention}.to_out.0", "pointwise")
    yield Layer("norm_out", "conv_norm_out", "normalisation")
    yield Layer("conv_out", "conv_out", "convolution")


def _blocks(config: UNetConfig) -> Iterator[tuple[str, str, str]]:
    """Every block: its path, and those of its residual block and of its attention in UNet2DModel."""
    levels = len(config.multipliers)
    for way, count, resampler in (("down", config.blocks, "downsamplers"), ("up", config.blocks + 1, "upsamplers")):
        position = 0
        for level in range(levels):
            for block in range(count):
                where = f"{way}_blocks.{level}"
                yield f"{way}/{position}", f"{where}.resnets.{block}", f"{where}.attentions.{block}"
                position += 1
            if level < levels - 1:
                yield f"{way}/{position}", f"{way}_blocks.{level}.{resampler}.0", ""
                position += 1
    yield "middle/0", "mid_block.resnets.0", "mid_block.attentions.0"
    yield "middle/1", "mid_block.resnets.1", ""
