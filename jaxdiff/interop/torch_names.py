"""The names and layouts of diffusers and transformers, for networks of ours whose modules have their names.

The path of a weight is its name, with dots; `kernel`, `scale` and `embedding` are called `weight`. PyTorch keeps kernels output
first: a convolution's is (O, I, H, W) where ours is (H, W, I, O), a dense layer's (O, I) where ours is (I, O).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxdiff.interop.layers import Arrays, modern_names, require_match
from jaxdiff.models.network import Network
from jaxdiff.weight_file import named

WEIGHTS = ("kernel", "scale", "embedding")
"""Our names of what PyTorch calls `weight`."""
NO_WEIGHTS = ("position_ids",)
"""The last part of the names of arrays that older files hold beside the weights."""
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}
"""The axes of a kernel in PyTorch, by its rank."""


def expected(network: Network) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays of a network in PyTorch, by name.

    Arguments:
        network: the network; its weights may be abstract.
    """
    return {_name(path): tuple(leaf.shape[axis] for axis in _axes(path, leaf)) for path, leaf in named(network.weights).items()}


def to_torch(network: Network) -> Arrays:
    """The arrays of a network under PyTorch's names and in its layouts, copies that PyTorch may write into."""
    held = jax.device_get(named(network.weights))
    return {_name(path): np.array(leaf.transpose(_axes(path, leaf)), order="C") for path, leaf in held.items()}


def from_torch(abstract: Network, state: Mapping[str, np.ndarray], name: str = "the state dictionary") -> Network:
    """A network with the weights of a PyTorch module, in the dtypes of our network.

    The names of attention before diffusers 0.12 are known. A dense layer may be given as a 1x1 convolution, and the reverse.

    Arguments:
        abstract: the network, with shapes and types in place of weights.
        state: the arrays of the module by name.
        name: the name of the state in errors.

    Raises:
        InputError: arrays are missing, unexpected, of another shape or not floating point; the error lists them.
    """
    return parts_from_torch([abstract], state, name)[0]


def parts_from_torch(
    parts: Sequence[Network], state: Mapping[str, np.ndarray], name: str = "the state dictionary"
) -> list[Network]:
    """`from_torch` for a module that is several networks of ours, whose names together are those of the module."""
    given = matched({key: shape for part in parts for key, shape in expected(part).items()}, state, name)
    return [_filled(part, given) for part in parts]


def matched(
    shapes: Mapping[str, tuple[int, ...]], state: Mapping[str, np.ndarray], name: str = "the state dictionary"
) -> Arrays:
    """The arrays of a module under their names of today and in the shapes of our networks; see `from_torch`.

    Arguments:
        shapes: those that our networks have, by name, as from `expected`.
        state: the arrays of the module by name.
        name: the name of the state in errors.
    """
    given = {key: array for key, array in modern_names(state).items() if key.rpartition(".")[2] not in NO_WEIGHTS}
    given |= {key: array.reshape(shapes[key]) for key, array in given.items() if _pointwise(array.shape, shapes.get(key))}
    require_match(shapes, given, name)
    return given


def _filled(abstract: Network, given: Mapping[str, np.ndarray]) -> Network:
    leaves = []
    for path, leaf in named(abstract.weights).items():
        array = given[_name(path)].transpose(np.argsort(_axes(path, leaf)))
        leaves.append(np.ascontiguousarray(array, leaf.dtype))
    # not jnp.asarray, which compiles a copy for each shape
    return Network(jax.tree.unflatten(jax.tree.structure(abstract.weights), jax.device_put(leaves)), abstract.structure)


def _name(path: str) -> str:
    module, _, last = path.replace("/", ".").rpartition(".")
    last = "weight" if last in WEIGHTS else last
    return f"{module}.{last}" if module else last


def _axes(path: str, leaf: Any) -> tuple[int, ...]:
    """The order of the axes of an array of ours in PyTorch."""
    return _TO_TORCH[leaf.ndim] if path.endswith("kernel") else tuple(range(leaf.ndim))


def _pointwise(got: tuple[int, ...], wanted: tuple[int, ...] | None) -> bool:
    """Whether an array is that of a 1x1 convolution where that of a dense layer is wanted, or the reverse."""
    return wanted is not None and {len(got), len(wanted)} == {2, 4} and got[:2] == wanted[:2] and max(got[2:] + wanted[2:]) == 1
