"""Do predictions follow labels more than chance has it? A permutation test that no classifier's luck can fool."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

from jaxdiff.errors import InputError
from jaxdiff.statistics import check_labels, permuted_tables


@dataclass(frozen=True)
class ChanceTest:
    """The answer of `chance_test`.

    Fields:
        below: p-value of a balanced error rate as low as the one observed, if labels and predictions are independent.
        above: the same of one as high: judges that are wrong more often than a coin.
        permutations: how many were drawn; the least p-value is 1 / (1 + permutations).
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
    """Tests whether the balanced error rate, averaged over the seeds, is another than that of labels dealt at random.

    The labels are permuted and the predictions stay (Fisher 1935): the test is exact, for any number of images, for
    classifiers that were trained without these labels and these images. However they came out, lucky or not, their
    predictions are independent of the labels where the images are. The seeds of one set share its images and labels; they
    are tested together, as one statistic, so that nothing is assumed of how alike they are.

    It is no test of a set by classifiers trained on it and tested on real images: those labels do follow the images, and a
    classifier of labels that mean nothing has found some direction, in which the real groups may well differ.

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
    dealt = permuted_tables(of_kind, count[present], replicates=permutations, generator=np.random.default_rng(seed))
    permuted = (dealt * weight).sum(axis=(1, 2))
    tie = 1e-9 * len(predictions) * values  # rounding must not decide what is equal
    below, above = (permuted >= right - tie).sum(), (permuted <= right + tie).sum()
    return ChanceTest(*((1 + int(reached)) / (1 + permutations) for reached in (below, above)), permutations)
