"""A permutation test of whether a classifier's error rate differs from chance."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

from jaxdiff.errors import InputError
from jaxdiff.statistics import check_labels, permuted_tables


@dataclass(frozen=True)
class ChanceTest:
    """The result of `chance_test`.

    Fields:
        below: p-value of a balanced error rate at most the observed one, under independence of labels and predictions.
        above: p-value of one at least the observed one: classifiers that are wrong more often than chance.
        permutations: how many were drawn; the smallest p-value is 1 / (1 + permutations).
    """

    below: float
    above: float
    permutations: int


def chance_test(
    predictions: Integer[np.ndarray, "seeds n"],
    labels: Integer[np.ndarray, " n"],
    *,
    values: int,
    permutations: int = 9999,
    seed: int = 0,
) -> ChanceTest:
    """Tests whether the balanced error rate, averaged over the seeds, differs from that under randomly permuted labels.

    The labels are permuted and the predictions kept (Fisher 1935). The test is exact for any number of images, given
    classifiers that were trained without these labels and images: under the null hypothesis their predictions are independent
    of the labels. The seeds' classifiers share the images and labels; they are tested as one statistic, so that nothing is
    assumed of their correlation.

    It is not valid for classifiers trained on a synthetic set and tested on real images: a classifier of random labels has
    learnt some arbitrary direction, in which the real groups may differ.

    Arguments:
        predictions: of each seed's classifier (seeds, N).
        labels: (N,), 0..K-1.
        values: K.
        permutations: at least 1.
        seed: of the permutations.

    Raises:
        InputError: labels out of range, or no permutations.
    """
    check_labels(labels, values=values)
    if permutations < 1:
        raise InputError(f"`permutations` must be at least 1, got {permutations}")
    count = np.bincount(labels, minlength=values)
    present = np.flatnonzero(count)
    votes = (predictions[:, :, None] == present).sum(axis=0)
    kinds, kind, of_kind = np.unique(votes, axis=0, return_inverse=True, return_counts=True)
    weight = kinds / count[present]
    observed = np.zeros((len(kinds), len(present)), np.int64)
    np.add.at(observed, (kind.reshape(-1), np.searchsorted(present, labels)), 1)
    right = (observed * weight).sum()
    tables = permuted_tables(of_kind, count[present], replicates=permutations, generator=np.random.default_rng(seed))
    permuted = (tables * weight).sum(axis=(1, 2))
    tie = 1e-9 * len(predictions) * values  # so that rounding does not break ties
    below, above = (permuted >= right - tie).sum(), (permuted <= right + tie).sum()
    return ChanceTest(*((1 + int(reached)) / (1 + permutations) for reached in (below, above)), permutations)
