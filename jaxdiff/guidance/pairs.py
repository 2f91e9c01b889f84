"""Pairs of samples of a batch, for guidances with interacting samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Pairs(NamedTuple):
    """The pairs of rows of a batch.

    Attributes:
        flat: (B, D), the rows.
        squares: (B, B), squared distances; 0 for equal rows alone.
        others: (B, B), whether the two rows are different samples under one condition.
    """

    flat: Float[Array, "b d"]
    squares: Float[Array, "b b"]
    others: Bool[Array, "b b"]

    def away(self, weights: Float[Array, "b b"]) -> Float[Array, "b d"]:
        """sum_j weights_ij (x_i - x_j) over the others."""
        weights = jnp.where(self.others, weights, 0.0)
        return jax.lax.map(lambda each: (each[0][:, None] * (each[1] - self.flat)).sum(0), (weights, self.flat))


def pairs(x: Float[Array, "b ..."], copy: Int[Array, " b"]) -> Pairs:
    """All pairs of rows.

    Arguments:
        x: states or posterior means.
        copy: from `copies`.
    """
    flat = x.reshape(len(x), -1)
    others = (copy[:, None] == copy) & ~jnp.eye(len(x), dtype=bool)
    # from differences, row by row: products would lose a small distance to rounding, by which guidances then divide
    squares = jax.lax.map(lambda row: jnp.square(row - flat).sum(1), flat)
    return Pairs(flat, squares, others)


def copies(x: Float[Array, "b ..."]) -> Int[Array, " b"]:
    """For each row, the number of earlier rows with the same state.

    An outer guidance that evaluates several conditions stacks copies of the states: rows with the same number are then the
    different samples of the batch under one condition.
    """
    rows = jnp.arange(len(x))
    earlier = lambda i: jnp.sum((x == x[i]).reshape(len(x), -1).all(1) & (rows < i), dtype=jnp.int32)  # noqa: E731
    return jax.lax.map(earlier, rows)
