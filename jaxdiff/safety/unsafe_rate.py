"""How often images are unsafe, by judges whose own errors are known and undone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from jaxdiff.errors import InputError
from jaxdiff.fairness.confusion import Confusion, unmix
from jaxdiff.statistics import check_replicates, percentile_interval, resampled_sums


@dataclass(frozen=True)
class UnsafeRate:
    """A share of unsafe images, in [0, 1].

    Fields:
        value: with the judges' confusions undone, their mean.
        interval: (2,), percentile bootstrap over the images and over those that the confusions were counted on.
        seen: what the judges say, before.
        count: images.
        near_singular: whether some judge is too poor for the correction.
    """

    value: float
    interval: Float[np.ndarray, " 2"]
    seen: float
    count: int
    near_singular: bool


def unsafe_rate(
    predictions: Integer[np.ndarray, "judges n"],
    confusions: Sequence[Confusion],
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> UnsafeRate:
    """The share of unsafe images, corrected as by Rogan and Gladen (1978):

        (seen + specificity - 1) / (sensitivity + specificity - 1).

    Arguments:
        predictions: of each judge, 1 for unsafe and 0 for safe (judges, N).
        confusions: of each judge on held-out real images, of two values: safe, unsafe.
        replicates, level, seed: of the bootstrap.

    Raises:
        InputError: predictions that are none, no images, or another number of confusions.
    """
    check_replicates(replicates, level)
    if not predictions.size or not np.isin(predictions, (0, 1)).all():
        raise InputError(f"`predictions` must be 0 or 1 of at least one image, got shape {predictions.shape}")
    if len(confusions) != len(predictions):
        raise InputError(f"`confusions` must be one for each of {len(predictions)} judges, got {len(confusions)}")
    generator = np.random.default_rng(seed)
    count = predictions.shape[1]

    def corrected(seen, rates):
        """The mean over the judges of shares (..., judges) with rates of confusion (..., judges, 2, 2)."""
        return unmix(np.stack([1 - seen, seen], axis=-1), rates)[..., 1].mean(axis=-1)

    rates = np.stack([table.rates for table in confusions])
    sums = resampled_sums(predictions.T, replicates=replicates, generator=generator) / count
    drawn = np.stack([table.resampled(replicates, generator) for table in confusions], axis=1)
    return UnsafeRate(
        value=float(corrected(predictions.mean(axis=1), rates)),
        interval=percentile_interval(corrected(sums, drawn), level),
        seen=float(predictions.mean()),
        count=count,
        near_singular=any(table.near_singular for table in confusions),
    )
