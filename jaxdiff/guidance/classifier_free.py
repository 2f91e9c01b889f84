"""Classifier-free guidance (Ho & Salimans 2022)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import Guidance, as_denoiser
from jaxdiff.guidance.scale import scale_of
from jaxdiff.parallel import stacked, unstacked


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassifierFree(Guidance):
    """See `classifier_free`."""

    null: Any
    scale: Float[Array, ""]

    def inner_states(self, x: Array) -> Array:
        """x twice."""
        return stacked(x, x)

    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """null + scale (conditional - null), both from one evaluation at twice the batch."""
        null = jax.tree.map(lambda n, c: jnp.broadcast_to(n, c.shape).astype(c.dtype), self.null, condition)
        both = stacked(condition, null)
        times = jnp.broadcast_to(jnp.asarray(t), x.shape[:1])
        conditional, unconditional = unstacked(denoise(self.inner_states(x), stacked(times, times), both), 2)
        # in this form scale 1 is exactly the conditional mean
        return conditional + (scale_of(self.scale, condition, x) - 1) * (conditional - unconditional)


def classifier_free(denoise: Callable, null: Any, scale: ArrayLike) -> ClassifierFree:
    """Strengthens the condition: null + scale (conditional - null) in x0, which is the same `scale` in eps, v and score.

    Arguments:
        denoise: the denoiser inside.
        null: the null condition, one row without a batch axis or anything that broadcasts to a condition: -1 for
            integer labels, `model.conditions.encode`'s row of -1 for weights.
        scale: w; 1 is the conditional denoiser, above 1 strengthens it, 0 is the unconditional one. A condition that is a
            dictionary with a part `guidance` (B,) has its own scale for each sample instead.
    """
    return ClassifierFree(as_denoiser(denoise), jax.tree.map(jnp.asarray, null), jnp.asarray(scale, jnp.float32))
