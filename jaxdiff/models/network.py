"""A network as a pure function: structure static, weights leaves."""

from dataclasses import dataclass, field
from typing import Any

import jax
from flax import nnx

from jaxdiff.models.unet import UNet, UNetConfig


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Network:
    """A module split once into structure and weights, so that jit, scan and vmap take it as an argument.

    Attributes:
        weights: the parameters, a pytree of arrays.
        structure: the module's graph definition.
    """

    weights: Any
    structure: Any = field(metadata={"static": True})

    def __call__(self, *arguments, **keywords):
        """The module's output under these weights."""
        return nnx.merge(self.structure, self.weights)(*arguments, **keywords)


def unet(config: UNetConfig, key) -> Network:
    """A UNet with fresh weights drawn from `key`. Jit it over `key` to make the weights on the device."""
    structure, weights = nnx.split(UNet(config, rngs=nnx.Rngs(key)), nnx.Param)
    return Network(weights, structure)
