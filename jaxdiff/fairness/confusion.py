"""Confusion matrices of classifiers, and frequencies of values corrected for them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from jaxdiff.errors import InputError
from jaxdiff.statistics import check_labels

CONDITION_LIMIT = 10.0
"""The condition number above which a confusion matrix counts as near singular: the factor by which its inverse may amplify the
error of frequencies."""


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix of one classifier on labelled images.

    Fields:
        count: (K, K): images of true value i that are predicted as value j, at least one a row.
    """

    count: Integer[np.ndarray, "k k"]

    @property
    def rates(self) -> Float[np.ndarray, "k k"]:
        """P(predicted j | true i) (K, K); the rows sum to one."""
        return self.count / self.count.sum(axis=1, keepdims=True)

    @property
    def accuracy(self) -> Float[np.ndarray, " k"]:
        """The share of each value's images that are predicted correctly (K,)."""
        return np.diagonal(self.rates).copy()

    @property
    def condition(self) -> float:
        """The condition number of the rates, at least 1; infinite where the classifier cannot distinguish two values."""
        return float(np.linalg.cond(self.rates))

    @property
    def near_singular(self) -> bool:
        """Whether corrected frequencies are mostly noise: `condition` is above `CONDITION_LIMIT`."""
        return self.condition > CONDITION_LIMIT

    def correct(self, frequency: Float[np.ndarray, "*shape k"]) -> Float[np.ndarray, "*shape k"]:
        """The frequencies (..., K) of the true values, from those of the predicted ones; `unmix` with these rates."""
        return unmix(frequency, self.rates)

    def resampled(self, replicates: int, generator: np.random.Generator) -> Float[np.ndarray, "replicates k k"]:
        """The rates (R, K, K) in bootstrap samples of the images, drawn within each true value."""
        each = self.count.sum(axis=1)
        return generator.multinomial(each, self.rates, size=(replicates, len(each))) / each[:, None]


def confusion_matrix(predictions: Integer[np.ndarray, " n"], labels: Integer[np.ndarray, " n"], *, values: int) -> Confusion:
    """The confusion matrix of predictions on correctly labelled images that the classifier was not trained on.

    Arguments:
        predictions: (N,) integers in 0..K-1.
        labels: (N,) integers in 0..K-1, with at least one image of every value.
        values: K, at least 2.

    Raises:
        InputError: values out of range, or a value without images.
    """
    check_labels(labels, values=values)
    if predictions.min() < 0 or predictions.max() >= values:
        raise InputError(f"`predictions` must be within 0 and {values - 1}, got {predictions.min()} to {predictions.max()}")
    count = np.bincount(labels.astype(np.int64) * values + predictions, minlength=values**2).reshape(values, values)
    absent = np.flatnonzero(count.sum(axis=1) == 0)
    if len(absent):
        raise InputError(f"`labels` must have every value in 0..{values - 1}, got none of {absent.tolist()}")
    return Confusion(count)


def unmix(frequency: Float[np.ndarray, "*shape k"], rates: Float[np.ndarray, "*batch k k"]) -> Float[np.ndarray, "*shape k"]:
    """The distribution p of true values from the distribution q of predicted ones: q = C^T p, projected on the simplex.

    For two values p is (q + specificity - 1) / (sensitivity + specificity - 1), clipped to [0, 1] (Rogan and Gladen
    1978); for more, black-box shift estimation (Lipton et al. 2018, eq. 2). It assumes that the confusion rates given the true
    value are those of C (label shift).

    Arguments:
        frequency: q (..., K).
        rates: C (..., K, K), P(predicted j | true i), whose leading axes broadcast to those of `frequency`.

    Returns:
        p (..., K); NaN where C is singular.
    """
    solvable = np.linalg.cond(rates) < 1 / np.finfo(np.float64).eps
    matrix = np.where(solvable[..., None, None], rates, np.eye(rates.shape[-1])).swapaxes(-1, -2)
    solved = _nearest_distribution(np.linalg.solve(matrix, frequency[..., None])[..., 0])
    return np.where(solvable[..., None], solved, np.nan)


def _nearest_distribution(vector: Float[np.ndarray, "*shape k"]) -> Float[np.ndarray, "*shape k"]:
    """The Euclidean projection on the simplex (Duchi et al. 2008, fig. 1), along the last axis."""
    descending = -np.sort(-vector, axis=-1)
    excess = (descending.cumsum(axis=-1) - 1) / np.arange(1, vector.shape[-1] + 1)
    kept = (descending > excess).sum(axis=-1, keepdims=True)
    return np.maximum(vector - np.take_along_axis(excess, kept - 1, axis=-1), 0)
