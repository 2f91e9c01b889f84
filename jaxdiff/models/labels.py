"""Labels as weights: the form in which a network takes a class condition.

A condition row holds, for each attribute of K values, K + 1 weights: one per value and one for the *null label*, which
leaves the attribute unspecified. A plain label is one-hot; a convex combination of rows is a mixture of label embeddings, since
the embedding is linear.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxdiff.errors import InputError

NULL = -1


def width(values: Sequence[int]) -> int:
    """The number of weights in a condition row for attributes with these numbers of values."""
    return sum(count + 1 for count in values)


def value_columns(values: Sequence[int]) -> np.ndarray:
    """The columns of a condition row, without those of null labels."""
    starts = np.cumsum([0, *(count + 1 for count in values)])
    return np.concatenate([start + np.arange(count) for start, count in zip(starts, values, strict=False)])


def rows(values: Sequence[int], null_label: bool) -> int:
    """The number of rows of a table of label embeddings: one for each value and, if it has one, for each null label."""
    return width(values) if null_label else sum(values)


def embed(
    table: Float[Array, "r d"],
    labels: Int[Array, " b"] | Int[Array, "b a"] | Float[Array, "b w"],
    values: Sequence[int],
    null_label: bool,
) -> Float[Array, "b d"]:
    """The sum of the label embeddings of all attributes.

    Arguments:
        table: a row for each value, see `rows`.
        labels: integer labels, see `encode`, or weights (B, W).
        values: the number of values of each attribute.
        null_label: whether the null label has an embedding; otherwise it adds nothing.
    """
    weights = encode(labels, values) if jnp.issubdtype(labels.dtype, jnp.integer) else labels
    return (weights if null_label else weights[:, value_columns(values)]) @ table


def encode(labels: Int[Array, " b"] | Int[Array, "b a"], values: Sequence[int]) -> Float[Array, "b w"]:
    """One-hot weights of integer labels.

    Arguments:
        labels: (B,) for one attribute, else (B, A); -1 is the null label.
        values: the number of values of each attribute.
    """
    if labels.ndim == 1:
        labels = labels[:, None]
    if labels.shape[1] != len(values):
        raise InputError(f"`labels` has {labels.shape[1]} attributes, the model has {len(values)}")
    columns = [
        jax.nn.one_hot(jnp.where(labels[:, i] == NULL, count, labels[:, i]), count + 1) for i, count in enumerate(values)
    ]
    return jnp.concatenate(columns, axis=-1)
