"""Mixing: a fixed convex combination of two conditions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import Guidance, as_denoiser
from jaxdiff.errors import InputError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixing(Guidance):
    """See `mixing`."""

    weight: Float[Array, ""]

    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The inner posterior mean under (1 - weight) start + weight end."""
        start, end = condition
        for leaf in jax.tree.leaves(condition):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise InputError(
                    f"mixing takes floating conditions (`model.conditions.encode(labels)` or embeddings), got {leaf.dtype}"
                )
        return denoise(x, t, jax.tree.map(self._mix, start, end))

    def _mix(self, start: Array, end: Array) -> Array:
        # from the nearer of the two: exact at the weights 0 and 1, and where the two are equal
        difference = end - start
        return jnp.where(self.weight < 0.5, start + self.weight * difference, end - (1 - self.weight) * difference)


def mixing(denoise: Callable, weight: ArrayLike) -> Mixing:
    """Samples under a fixed mixture of two conditions: a baseline for attribute switching.

    The guided denoiser takes a pair (start, end) of floating conditions. A label enters a network by a linear
    embedding, so mixing one-hot weights (`model.conditions.encode`) mixes the label embeddings,
    E = (1 - p) E[start] + p E[end].

    Arguments:
        denoise: the denoiser inside.
        weight: p in [0, 1], the share of `end`.
    """
    if not isinstance(weight, jax.core.Tracer) and not 0 <= float(np.asarray(weight)) <= 1:
        raise InputError(f"`weight` must lie in [0, 1], got {weight}")
    return Mixing(as_denoiser(denoise), jnp.asarray(weight, jnp.float32))
