"""The layers of a UNet under other names and in other layouts.

PyTorch keeps kernels output first: a convolution's is (O, I, H, W) where ours is (H, W, I, O), a dense layer's (O, I) where
ours is (I, O).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]


class Layer(NamedTuple):
    """A layer of a UNet.

    Attributes:
        ours: its path in our network, e.g. `down/0/residual/conv_in`.
        theirs: its path in the other, e.g. `down_blocks.0.resnets.0.conv1`.
        layout: which of `TO_TORCH` its arrays follow.
    """

    ours: str
    theirs: str
    layout: str


def _normalisation(own: Arrays) -> Arrays:
    return {".weight": own["/scale"], ".bias": own["/bias"]}


def _convolution(own: Arrays) -> Arrays:
    return {".weight": own["/kernel"].transpose(3, 2, 0, 1), ".bias": own["/bias"]}


def _linear(own: Arrays) -> Arrays:
    return {".weight": own["/kernel"].T, ".bias": own["/bias"]}


def _pointwise(own: Arrays) -> Arrays:
    """Our 1x1 convolution as a dense layer."""
    return {".weight": own["/kernel"][0, 0].T, ".bias": own["/bias"]}


def _attention(own: Arrays) -> Arrays:
    """Our one projection to queries, keys and values as three."""
    kernels, biases = np.split(own["/kernel"][0, 0].T, 3), np.split(own["/bias"], 3)
    names = (".to_q", ".to_k", ".to_v")
    return {
        **{f"{name}.weight": kernel for name, kernel in zip(names, kernels, strict=True)},
        **{f"{name}.bias": bias for name, bias in zip(names, biases, strict=True)},
    }


def _table(own: Arrays) -> Arrays:
    return {".weight": own[""]}


TO_TORCH: dict[str, Callable[[Arrays], Arrays]] = {
    "normalisation": _normalisation,
    "convolution": _convolution,
    "linear": _linear,
    "pointwise": _pointwise,
    "attention": _attention,
    "table": _table,
}


def to_torch(layers: Iterator[Layer], arrays: Arrays) -> Arrays:
    """Our arrays, by path, under the other's names and in its layouts. Layers that have no arrays are passed over."""
    theirs: Arrays = {}
    for layer in layers:
        own = {name.removeprefix(layer.ours): arrays[name] for name in arrays if _belongs(name, layer.ours)}
        if not own:
            continue
        for suffix, array in TO_TORCH[layer.layout](own).items():
            theirs[layer.theirs + suffix] = np.array(array, order="C")  # its own, which PyTorch may write into
    return theirs


def _belongs(name: str, path: str) -> bool:
    return name == path or name.rpartition("/")[0] == path
