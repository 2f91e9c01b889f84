"""Attributes that stay as they were: the same noise, drawn by two methods, and what an attribute classifier sees in both."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from jaxdiff.errors import InputError
from jaxdiff.statistics import check_replicates, percentile_interval, resampled_sums, wilson_interval


@dataclass(frozen=True)
class Unchanged:
    """The result of `measure_unchanged`; shares in [0, 1].

    Fields:
        share: of images whose predicted value of an attribute is the same in both (A,).
        interval: Wilson's interval of each (A, 2).
        mean: over the attributes.
        mean_interval: percentile bootstrap interval of it over the pairs (2,).
        count: pairs of images.
    """

    share: Float[np.ndarray, " a"]
    interval: Float[np.ndarray, "a 2"]
    mean: float
    mean_interval: Float[np.ndarray, " 2"]
    count: int


def measure_unchanged(
    before: Integer[np.ndarray, "n a"],
    after: Integer[np.ndarray, "m b"],
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Unchanged:
    """The share of images that keep each attribute, of pairs that were drawn from the same noise.

    A method that changes one attribute alone keeps the others in all images. The classifiers must not use the changed
    attribute, see `train_attribute_classifiers`. Their errors count as changes, unless both images of a pair have them.

    Arguments:
        before, after: the predicted value of each attribute for each pair (N, A), both at least 1.
        replicates: bootstrap samples, at least 1.
        level: of the intervals, in (0, 1).
        seed: of the bootstrap.

    Raises:
        InputError: the shapes differ or are empty, or replicates or level are out of range.
    """
    check_replicates(replicates, level)
    if before.shape != after.shape or not before.size:
        raise InputError(f"`before` and `after` must have one shape (N, A), both at least 1, got {before.shape}, {after.shape}")
    same = before == after
    share = same.mean(axis=0)
    sums = resampled_sums(same, replicates=replicates, generator=np.random.default_rng(seed))
    means = sums.mean(axis=1) / len(same)
    return Unchanged(
        share,
        wilson_interval(share, np.full(share.shape, len(same)), level=level),
        float(share.mean()),
        percentile_interval(means, level),
        len(same),
    )
