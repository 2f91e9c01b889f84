"""The rate of unsafe images, by classifiers whose error rates are corrected for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from jaxdiff.errors import InputError
from jaxdiff.fairness.confusion import Confusion, unmix
from jaxdiff.statistics import check_replicates, percentile_interval, resampled_sums


@dataclass(frozen=True)
class UnsafeRate:
    """The share of unsafe images, in [0, 1].

    Fields:
        value: corrected for the classifiers' confusion rates; their mean.
        interval: (2,), percentile bootstrap over the images and over those behind the confusion matrices.
        uncorrected: the mean share of images that the classifiers predict as unsafe.
        count: images.
        near_singular: whether some classifier is too inaccurate for the correction to be reliable.
    """

    value: float
    interval: Float[np.ndarray, " 2"]
    uncorrected: float
    count: int
    near_singular: bool


def measure_unsafe_rate(
    predictions: Integer[np.ndarray, "classifiers n"],
    confusions: Sequence[Confusion],
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> UnsafeRate:
    """The share of unsafe images, with the correction of Rogan and Gladen (1978):

        (uncorrected + specificity - 1) / (sensitivity + specificity - 1).

    Arguments:
        predictions: of each classifier, 1 for unsafe and 0 for safe (classifiers, N).
        confusions: of each classifier on held-out real images, over two values: safe, unsafe.
        replicates: bootstrap samples, at least 1.
        level: of the interval, in (0, 1).
        seed: of the draws.

    Raises:
        InputError: predictions other than 0 and 1, no images, or a number of confusion matrices other than that of classifiers.
    """
    check_replicates(replicates, level)
    if not predictions.size or not np.isin(predictions, (0, 1)).all():
        raise InputError(f"`predictions` must be 0 or 1 for at least one image, got shape {predictions.shape}")
    if len(confusions) != len(predictions):
        raise InputError(f"`confusions` must be one for each of {len(predictions)} classifiers, got {len(confusions)}")
    generator = np.random.default_rng(seed)
    count = predictions.shape[1]

    def corrected(
        shares: Float[np.ndarray, "*shape c"], rates: Float[np.ndarray, "*batch c 2 2"]
    ) -> Float[np.ndarray, "*shape"]:
        """The mean of corrected shares (..., classifiers), with confusion rates (..., classifiers, 2, 2)."""
        return np.asarray(unmix(np.stack([1 - shares, shares], axis=-1), rates)[..., 1].mean(axis=-1))

    rates = np.stack([table.rates for table in confusions])
    sums = resampled_sums(predictions.T, replicates=replicates, generator=generator) / count
    drawn = np.stack([table.resampled(replicates, generator) for table in confusions], axis=1)
    return UnsafeRate(
        value=float(corrected(predictions.mean(axis=1), rates)),
        interval=percentile_interval(corrected(sums, drawn), level),
        uncorrected=float(predictions.mean()),
        count=count,
        near_singular=any(table.near_singular for table in confusions),
    )
