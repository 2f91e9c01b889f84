"""Conversion of the layers of a UNet to other names and layouts.

PyTorch keeps kernels output first: a convolution's is (O, I, H, W) where ours is (H, W, I, O), a dense layer's (O, I) where
ours is (I, O).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, abstract, unet
from jaxdiff.weight_file import named

Arrays = dict[str, np.ndarray]
LISTED = 20  # maximum number of names that an error lists of each kind


class Layer(NamedTuple):
    """A layer of a UNet.

    Attributes:
        ours: its path in our network, e.g. `down/0/residual/conv_in`.
        theirs: its path in the other network, e.g. `down_blocks.0.resnets.0.conv1`.
        layout: which of `LAYOUTS` its arrays follow.
    """

    ours: str
    theirs: str
    layout: str


class Layout(NamedTuple):
    """Conversion of a layer's arrays, which are named by their suffix after the layer's path.

    Attributes:
        export: from our layout to PyTorch's.
        load: from PyTorch's layout to ours.
    """

    export: Callable[[Arrays], Arrays]
    load: Callable[[Arrays], Arrays]


def _with_bias(export: Callable[[np.ndarray], np.ndarray], load: Callable[[np.ndarray], np.ndarray]) -> Layout:
    """The layout of a layer with a kernel and a bias, from the conversions of the kernel."""
    return Layout(
        lambda own: {".weight": export(own["/kernel"]), ".bias": own["/bias"]},
        lambda their: {"/kernel": load(their[".weight"]), "/bias": their[".bias"]},
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
    """Our arrays, by path, under the other network's names and in its layouts, as views. Layers without arrays are skipped."""
    return {
        layer.theirs + suffix: array
        for layer, own in _present(layers, arrays)
        for suffix, array in LAYOUTS[layer.layout].export(own).items()
    }


def from_torch(layers: Iterable[Layer], state: Mapping[str, np.ndarray], name: str, wanted: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays of another network under our names and in our layouts, float32.

    Arguments:
        layers: all layers that the network may have.
        state: its arrays by name.
        name: the name of the state in errors.
        wanted: arrays of our network by path; only their shapes are used.

    Raises:
        InputError: arrays are missing, unexpected, of another shape or not floating point; the error lists them.
    """
    layers = list(layers)
    require_match({key: array.shape for key, array in to_torch(layers, wanted).items()}, state, name)
    ours: Arrays = {}
    for layer, own in _present(layers, wanted):
        layout = LAYOUTS[layer.layout]
        their = {suffix: np.asarray(state[layer.theirs + suffix], np.float32) for suffix in layout.export(own)}
        ours |= {layer.ours + suffix: np.ascontiguousarray(array) for suffix, array in layout.load(their).items()}
    return ours


def require_match(expected: Mapping[str, tuple[int, ...]], state: Mapping[str, np.ndarray], name: str) -> None:
    """Compares the arrays of another network with those that ours has.

    Arguments:
        expected: the shapes of the arrays by name.
        state: the arrays of the other network by name.
        name: the name of the state in errors.

    Raises:
        InputError: arrays are missing, unexpected, of another shape or not floating point; the error lists all of them.
    """
    found = {
        "missing": sorted(expected.keys() - state.keys()),
        "unexpected": sorted(state.keys() - expected.keys()),
        "of wrong shape": [
            f"{key} {state[key].shape} instead of {shape}"
            for key, shape in expected.items()
            if key in state and state[key].shape != shape
        ],
        "not floating point": [f"{key} {array.dtype}" for key, array in state.items() if not _floats(array)],
    }
    faults = [f"{len(keys)} {fault}: {listed(keys)}" for fault, keys in found.items() if keys]
    if faults:
        raise InputError(f"{name} does not match the network; arrays: {'; '.join(faults)}")


OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names of attention layers in files written before diffusers 0.12."""


def modern_names(state: Mapping[str, np.ndarray]) -> Arrays:
    """Arrays of a network of diffusers, those of `OLD_ATTENTION` under their names of today."""
    renamed = {}
    for key, array in state.items():
        block, _, rest = key.rpartition(".attentions.")
        place, _, layer = rest.partition(".")
        old, _, kind = layer.rpartition(".")
        renamed[f"{block}.attentions.{place}.{OLD_ATTENTION[old]}.{kind}" if old in OLD_ATTENTION else key] = array
    return renamed


def filled(config: UNetConfig, arrays: Callable[[Arrays], Mapping[str, np.ndarray]]) -> Network:
    """A network of a configuration.

    Arguments:
        config: the configuration.
        arrays: the weights by path, as a function of arrays of their shapes.
    """
    without = abstract(unet, config)
    shapes = {name: np.broadcast_to(np.float32(0), leaf.shape) for name, leaf in named(without.weights).items()}
    given = arrays(shapes)
    leaves = [jnp.asarray(given[name]) for name in shapes]
    return Network(jax.tree.unflatten(jax.tree.structure(without.weights), leaves), without.structure)


def _present(layers: Iterable[Layer], arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[Layer, Arrays]]:
    """The layers that have arrays, and their arrays by suffix after the layer's path."""
    by_layer: dict[str, Arrays] = {}
    for name, array in arrays.items():
        path, slash, last = name.rpartition("/")
        by_layer.setdefault(path or name, {})[slash + last if slash else ""] = array
    for layer in layers:
        if layer.ours in by_layer:
            yield layer, by_layer[layer.ours]


def _floats(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def listed(names: Sequence[str]) -> str:
    """Names for an error, the first `LISTED` of them."""
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


class Place(NamedTuple):
    """A block of a UNet.

    Attributes:
        ours: its path in our network.
        way: `down`, `middle` or `up`.
        level: its level, counted from 0 in the order of evaluation; for the middle, its position.
        block: its position in the level.
        how: `block`, or the kind of the resampling block between two levels: `residual` or `convolution`.
    """

    ours: str
    way: str
    level: int
    block: int
    how: str


def places(config: UNetConfig) -> Iterator[Place]:
    """All blocks of a UNet, in the order of evaluation."""
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
        names: the other network's names of the layers, by our names as in `RESIDUAL_LAYOUTS`.
    """
    for name, layout in RESIDUAL_LAYOUTS.items():
        yield Layer(f"{ours}/residual/{name}", f"{theirs}.{names[name]}", layout)
