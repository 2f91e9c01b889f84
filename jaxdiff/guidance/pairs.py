"""Pairs of samples of a batch, for guidances with interacting samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxdiff.references import squared_distances


class Pairs(NamedTuple):
    """The pairs of rows of a batch.

    Attributes:
        flat: (B, D), the rows minus their mean.
        squares: (B, B), squared distances.
        others: (B, B), whether the two rows are different samples under one condition.
    """

    flat: Float[Array, "b d"]
    squares: Float[Array, "b b"]
    others: Bool[Array, "b b"]

    def away(self, weights: Float[Array, "b b"]) -> Float[Array, "b d"]:
        """sum_j weights_ij (x_i - x_j) over the others."""
        weights = jnp.where(self.others, weights, 0.0)
        return weights.sum(1, keepdims=True) * self.flat - jnp.matmul(weights, self.flat, precision="highest")


def pairs(x: Float[Array, "b ..."], copy: Int[Array, " b"]) -> Pairs:
    """All pairs of rows.

    Arguments:
        x: states or posterior means.
        copy: from `copies`.
    """
    flat = x.reshape(len(x), -1)
    flat = flat - flat.mean(0)
    others = (copy[:, None] == copy) & ~jnp.eye(len(x), dtype=bool)
    return Pairs(flat, squared_distances(flat, flat, jnp.square(flat).sum(1)), others)


def copies(x: Float[Array, "b ..."]) -> Int[Array, " b"]:
    """For each row, the number of earlier rows with the same state.

    An outer guidance that evaluates several conditions stacks copies of the states: rows with the same number are then the
    different samples of the batch under one condition.
    """
    rows = jnp.arange(len(x))
    earlier = lambda i: jnp.sum((x == x[i]).reshape(len(x), -1).all(1) & (rows < i), dtype=jnp.int32)  # noqa: E731
    return jax.lax.map(earlier, rows)
