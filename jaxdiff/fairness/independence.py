"""Weights of images under which a label is independent of all other attributes together."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Integer

from jaxdiff.errors import InputError
from jaxdiff.fairness.linear_classifier import fit_linear_classifier
from jaxdiff.statistics import check_labels

LIMIT = 20.0
"""The largest weight, relative to the mean, of weights that are estimated by a regression."""


@dataclass(frozen=True)
class IndependenceWeights:
    """The result of `independence_weights`.

    Fields:
        values: (N,), positive, of mean 1.
        method: `counts` where they are those of the counts, `regression` where a logistic regression estimated them, `equal`
            without other attributes.
        clipped: the share of images whose weight was limited.
    """

    values: Float64[np.ndarray, " n"]
    method: str
    clipped: float


def independence_weights(
    labels: Integer[np.ndarray, " n"], others: Integer[np.ndarray, "n a"], *, values: int
) -> IndependenceWeights:
    """Weights P(label) P(others) / P(label, others), under which the label is independent of the others together.

    Where each combination of the other attributes has images of every label, the probabilities are shares of images, and the
    independence is exact. Otherwise P(label | others) is a logistic regression on the values of the others, and weights are at
    most `LIMIT` times their mean. `balancing_weights` makes each pair of attributes independent, not all together.

    Arguments:
        labels: (N,), 0..K-1, each at least once.
        others: the other attributes (N, A); A may be 0.
        values: K.

    Raises:
        InputError: labels out of range, or a value without images.
    """
    check_labels(labels, values=values)
    each = np.bincount(labels, minlength=values)
    if not each.all():
        raise InputError(f"`labels` must have every value in 0..{values - 1}, got none of {np.flatnonzero(each == 0).tolist()}")
    if not others.shape[1]:
        return IndependenceWeights(np.ones(len(labels)), "equal", 0.0)
    kinds, cell = np.unique(others, axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    counts = np.zeros((len(kinds), values))
    np.add.at(counts, (cell, labels), 1)
    share = each / len(labels)
    if counts.all():
        given = counts[cell, labels] / counts.sum(axis=1)[cell]
        return IndependenceWeights(share[labels] / given, "counts", 0.0)
    columns = np.concatenate([column[:, None] == np.unique(column) for column in others.T], axis=1)
    logs = fit_linear_classifier(columns, labels, values=values).log_probabilities(columns)
    weights = share[labels] / np.exp(logs[np.arange(len(labels)), labels])
    weights = weights / weights.mean()
    clipped = np.minimum(weights, LIMIT)
    return IndependenceWeights(clipped / clipped.mean(), "regression", float((weights > LIMIT).mean()))
