"""A network as a pure function: structure static, weights leaves."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import PRNGKeyArray

from jaxdiff.models.classifier import ClassifierConfig, EncoderClassifier
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.unet import UNet
from jaxdiff.parallel import replicate_at


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Network:
    """A module split once into structure and weights, so that jit, scan and vmap take it as an argument.

    Attributes:
        weights: the parameters, arrays in nested dictionaries: a training state of 2,000 leaves is taken apart and put
            together at every step, which Flax's own containers make several times slower.
        structure: the module's graph definition.
    """

    weights: Any
    structure: Any = field(metadata={"static": True})

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """The module's output under these weights."""
        weights = replicate_at(self.weights, (arguments, keywords))
        return nnx.merge(self.structure, weights)(*arguments, **keywords)


ZERO_OUTPUTS = ("conv_out", "attention/out", "pass_through", "head")
"""Layers that start at zero, so that every residual branch, and the network, begins as nothing (Dhariwal & Nichol 2021)."""


def unet(config: UNetConfig, key: PRNGKeyArray) -> Network:
    """A UNet with fresh weights drawn from `key`. Jit it over `key` to make the weights on the device."""
    return _fresh(lambda: UNet(config), key)


def noised_classifier(config: ClassifierConfig, key: PRNGKeyArray) -> Network:
    """A classifier of noised images with fresh weights drawn from `key`, as `unet`; its outputs are 0."""
    return _fresh(lambda: EncoderClassifier(config), key)


def _fresh(module: Callable[[], nnx.Module], key: PRNGKeyArray) -> Network:
    """A module with fresh weights.

    Kernels are normal with variance 1 / fan-in, label embeddings standard normal, scales one, biases and `ZERO_OUTPUTS`
    zero. All come from one draw that is cut into pieces: a generator for each array would take XLA half a minute to
    compile.
    """
    structure, abstract = nnx.split(nnx.eval_shape(module), nnx.Param)
    named, tree = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(abstract))
    drawn = jax.random.normal(key, (sum(leaf.size for _, leaf in named),))
    leaves, start = [], 0
    for path, leaf in named:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        piece = drawn[start : start + leaf.size].reshape(leaf.shape)
        start += leaf.size
        if name.endswith("kernel") and not any(zero in name for zero in ZERO_OUTPUTS):
            leaves.append(piece / math.sqrt(math.prod(leaf.shape[:-1])))
        elif name == "label_table":
            leaves.append(piece)
        else:
            leaves.append(jnp.full_like(piece, name.endswith("scale")))
    return Network(jax.tree.unflatten(tree, leaves), structure)
