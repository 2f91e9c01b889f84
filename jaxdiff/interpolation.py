"""Interpolation between known values along an axis: of NumPy arrays on the host in their precision, and of JAX arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int


def neighbours(known: Bool[Any, "..."], axis: int = 0) -> tuple[Int[Any, "..."], Int[Any, "..."]]:
    """The last known place up to each place, and the first from it on; -1 and L where there is none.

    Arguments:
        known: which places are known, L along the axis.
        axis: the axis.
    """
    length, places = known.shape[axis], _places(known, axis)
    if isinstance(known, jax.Array):
        before = jax.lax.cummax(jnp.where(known, places, -1), axis)
        return before, jax.lax.cummin(jnp.where(known, places, length), axis, reverse=True)
    before = np.maximum.accumulate(np.where(known, places, -1), axis)
    after = np.flip(np.minimum.accumulate(np.flip(np.where(known, places, length), axis), axis), axis)
    return before, after


def linear(values: Float[Any, "..."], known: Bool[Any, "..."], axis: int = 0) -> Float[Any, "..."]:
    """Values on the line between the nearest known ones; beyond the first and the last known value, that value.

    Arguments:
        values: of any value, also NaN, where unknown.
        known: which values are known, of the same shape. Where none is along the axis, all become 0.
        axis: the axis.
    """
    xp: Any = jnp if isinstance(values, jax.Array) else np
    length, places = known.shape[axis], _places(known, axis)
    values = xp.where(known, values, 0)
    before, after = neighbours(known, axis)
    left, right = xp.where(before < 0, after, before), xp.where(after == length, before, after)
    left, right = xp.clip(left, 0, length - 1), xp.clip(right, 0, length - 1)
    share = ((places - left) / xp.maximum(right - left, 1)).astype(values.dtype)
    first, second = xp.take_along_axis(values, left, axis), xp.take_along_axis(values, right, axis)
    return xp.where(known, values, first + (second - first) * share)


def _places(known: Bool[Any, "..."], axis: int) -> Int[Any, "..."]:
    """The places along an axis, of a shape that broadcasts."""
    xp: Any = jnp if isinstance(known, jax.Array) else np
    shape = [1] * known.ndim
    shape[axis] = known.shape[axis]
    return xp.arange(known.shape[axis]).reshape(shape)
