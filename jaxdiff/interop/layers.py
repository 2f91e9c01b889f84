"""Conversion of the layers of a UNet to other names and layouts.

PyTorch keeps kernels output first: a convolution's is (O, I, H, W) where ours is (H, W, I, O), a dense layer's (O, I) where
ours is (I, O).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from jaxdiff.errors import InputError
from jaxdiff.model import abstract
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network
from jaxdiff.weight_file import named

Arrays = dict[str, np.ndarray]
LISTED = 20  # names that an error lists of a kind


class Layer(NamedTuple):
    """A layer of a UNet.

    Attributes:
        ours: its path in our network, e.g. `down/0/residual/conv_in`.
        theirs: its path in the other, e.g. `down_blocks.0.resnets.0.conv1`.
        layout: which of `LAYOUTS` its arrays follow.
    """

    ours: str
    theirs: str
    layout: str


class Layout(NamedTuple):
    """How a layer's arrays go from ours to PyTorch's and back; both name them by what stands behind the layer's path."""

    out: Callable[[Arrays], Arrays]
    back: Callable[[Arrays], Arrays]


def _with_bias(out: Callable[[np.ndarray], np.ndarray], back: Callable[[np.ndarray], np.ndarray]) -> Layout:
    """A layout of a layer of kernel and bias."""
    return Layout(
        lambda own: {".weight": out(own["/kernel"]), ".bias": own["/bias"]},
        lambda their: {"/kernel": back(their[".weight"]), "/bias": their[".bias"]},
    )


def _split(own: Arrays) -> Arrays:
    """Our one projection to queries, keys and values as three dense layers."""
    kernels, biases = np.split(own["/kernel"][0, 0].T, 3), np.split(own["/bias"], 3)
    named = zip(_PROJECTIONS, kernels, biases, strict=True)
    return {name: array for path, kernel, bias in named for name, array in ((f"{path}.weight", kernel), (f"{path}.bias", bias))}


def _joined(their: Arrays) -> Arrays:
    kernels, biases = ([their[path + suffix] for path in _PROJECTIONS] for suffix in (".weight", ".bias"))
    return {"/kernel": np.concatenate(kernels).T[None, None], "/bias": np.concatenate(biases)}


_PROJECTIONS = (".to_q", ".to_k", ".to_v")

LAYOUTS: dict[str, Layout] = {
    "normalisation": Layout(
        lambda own: {".weight": own["/scale"], ".bias": own["/bias"]},
        lambda their: {"/scale": their[".weight"], "/bias": their[".bias"]},
    ),
    "convolution": _with_bias(
        lambda kernel: rearrange(kernel, "h w i o -> o i h w"), lambda weight: rearrange(weight, "o i h w -> h w i o")
    ),
    "linear": _with_bias(np.transpose, np.transpose),
    # our 1x1 convolution as a dense layer, and as one over a row of pixels
    "pointwise": _with_bias(lambda kernel: kernel[0, 0].T, lambda weight: weight.T[None, None]),
    "sequence": _with_bias(lambda kernel: kernel[0, 0].T[..., None], lambda weight: weight[..., 0].T[None, None]),
    "attention": Layout(_split, _joined),
    "table": Layout(lambda own: {".weight": own[""]}, lambda their: {"": their[".weight"]}),
}


def to_torch(layers: Iterable[Layer], arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Our arrays, by path, under the other's names and in its layouts, as views. Layers without arrays are skipped."""
    return {
        layer.theirs + suffix: array
        for layer, own in _present(layers, arrays)
        for suffix, array in LAYOUTS[layer.layout].out(own).items()
    }


def from_torch(layers: Iterable[Layer], state: Mapping[str, np.ndarray], name: str, wanted: Mapping[str, np.ndarray]) -> Arrays:
    """The other's arrays under our names and in our layouts, float32.

    Arguments:
        layers: all layers that the network may have.
        state: the other's arrays by name.
        name: what the state is called in errors.
        wanted: arrays of our network by path, of which the shapes alone count.

    Raises:
        InputError: the state lacks arrays, has others, has some of another shape or of another kind than floats. It lists them.
    """
    layers = list(layers)
    expected = to_torch(layers, wanted)
    listed = {
        "lacks": sorted(expected.keys() - state.keys()),
        "has, against its configuration,": sorted(state.keys() - expected.keys()),
        "has of another shape": [
            f"{key} {state[key].shape} instead of {array.shape}"
            for key, array in expected.items()
            if key in state and state[key].shape != array.shape
        ],
        "has of another kind than floats": [f"{key} {array.dtype}" for key, array in state.items() if not _floats(array)],
    }
    faults = [f"{fault} {len(keys)} arrays: {_told(keys)}" for fault, keys in listed.items() if keys]
    if faults:
        raise InputError(f"{name} {'; '.join(faults)}")
    ours: Arrays = {}
    for layer, own in _present(layers, wanted):
        layout = LAYOUTS[layer.layout]
        their = {suffix: np.asarray(state[layer.theirs + suffix], np.float32) for suffix in layout.out(own)}
        ours |= {layer.ours + suffix: np.ascontiguousarray(array) for suffix, array in layout.back(their).items()}
    return ours


def filled(config: UNetConfig, arrays: Callable[[Arrays], Mapping[str, np.ndarray]]) -> Network:
    """A network of a configuration.

    Arguments:
        config: the configuration.
        arrays: the weights by path, as a function of arrays of their shapes.
    """
    without = abstract(config)
    shapes = {name: np.broadcast_to(np.float32(0), leaf.shape) for name, leaf in named(without.weights).items()}
    given = arrays(shapes)
    leaves = [jnp.asarray(given[name]) for name in shapes]
    return Network(jax.tree.unflatten(jax.tree.structure(without.weights), leaves), without.structure)


def _present(layers: Iterable[Layer], arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[Layer, Arrays]]:
    """The layers that have arrays, with those by what stands behind the layer's path."""
    by_layer: dict[str, Arrays] = {}
    for name, array in arrays.items():
        path, slash, last = name.rpartition("/")
        by_layer.setdefault(path or name, {})[slash + last if slash else ""] = array
    for layer in layers:
        if layer.ours in by_layer:
            yield layer, by_layer[layer.ours]


def _floats(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _told(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


class Place(NamedTuple):
    """A block of a UNet.

    Attributes:
        ours: its path in our network.
        way: `down`, `middle` or `up`.
        level: its level, counted from 0 in the order of this way; for the middle, its position.
        block: its place in the level.
        how: `block`, or what the block is that leads to the next level: `residual` or `convolution`.
    """

    ours: str
    way: str
    level: int
    block: int
    how: str


def places(config: UNetConfig) -> Iterator[Place]:
    """All blocks of a UNet, in the order in which it runs them."""
    last = len(config.multipliers) - 1
    yield from _way("down", config.blocks, [config.resampling("down", level) for level in range(last)])
    yield from (Place(f"middle/{block}", "middle", block, block, "block") for block in range(2))
    yield from _way("up", config.blocks + 1, [config.resampling("up", level) for level in reversed(range(last))])


def _way(way: str, blocks: int, between: list[str]) -> Iterator[Place]:
    position = 0
    for level in range(len(between) + 1):
        for block in range(blocks):
            yield Place(f"{way}/{position}", way, level, block, "block")
            position += 1
        if level < len(between):
            how = "residual" if between[level] == "residual" else "convolution"
            yield Place(f"{way}/{position}", way, level, blocks, how)
            position += 1


RESIDUAL_LAYOUTS = {
    "norm_in": "normalisation",
    "conv_in": "convolution",
    "scale_shift": "linear",
    "shift": "linear",
    "norm_out": "normalisation",
    "conv_out": "convolution",
    "skip": "convolution",
}


def residual(ours: str, theirs: str, names: Mapping[str, str]) -> Iterator[Layer]:
    """The layers of a residual block.

    Arguments:
        ours, theirs: the block's paths.
        names: the others' names of the layers by ours, as in `RESIDUAL_LAYOUTS`.
    """
    for name, layout in RESIDUAL_LAYOUTS.items():
        yield Layer(f"{ours}/residual/{name}", f"{theirs}.{names[name]}", layout)
