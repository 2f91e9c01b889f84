"""Quality of a synthetic set: distances to real images, precision, recall, density and coverage, overall and by group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from jaxdiff.errors import InputError
from jaxdiff.quality.estimate import UNKNOWN, Estimate, checked_pair
from jaxdiff.quality.kernel import KernelDistance, kernel_distance
from jaxdiff.quality.moments import frechet_estimate
from jaxdiff.quality.neighbours import density_coverage, precision_recall
from jaxdiff.statistics import check_labels

MIN_IMAGES = 12
"""The smallest number of images of each set: in a half sample each still has five neighbours."""


@dataclass(frozen=True)
class Scores:
    """Measures of synthetic images against real ones; all NaN where a set has fewer than `MIN_IMAGES` images.

    Fields:
        count: real and synthetic images.
        frechet: `frechet_estimate`, in squared units of the features.
        kernel: `kernel_distance`; `kernel.full` has the interval.
        precision, recall: from `precision_recall` with k = 3.
        density, coverage: from `density_coverage` with k = 5.
    """

    count: tuple[int, int]
    frechet: Estimate
    kernel: KernelDistance
    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate


@dataclass(frozen=True)
class Quality:
    """The result of `measure_quality`.

    Fields:
        whole: of all images; it depends on the shares of the groups too.
        groups: of each group's synthetic images against the same group's real ones, in order; empty without labels.
        extractor: the description of the features, as given: name, checksum, resizing.
    """

    whole: Scores
    groups: tuple[Scores, ...]
    extractor: Mapping[str, Any]


def measure_quality(
    real: Float[np.ndarray, "n d"],
    synthetic: Float[np.ndarray, "m e"],
    *,
    extractor: Mapping[str, Any],
    labels: tuple[Integer[np.ndarray, " a"], Integer[np.ndarray, " b"]] | None = None,
    values: int = 0,
    subsets: int = 100,
    size: int = 1000,
    replicates: int = 100,
    seed: int = 0,
) -> Quality:
    """Compares features of synthetic images with those of real ones, in float64; deterministic.

    No measure reaches its ideal value for a finite number of perfect images. The values that perfect images reach are those of
    held-out real images in place of the synthetic set, in the same number: see `balanced_subsets`.

    Arguments:
        real, synthetic: at least `MIN_IMAGES` finite feature vectors each (N, D), by one extractor.
        extractor: the description of the features, `Extractor.describe()`; returned unchanged.
        labels: the group of each real and of each synthetic image, in 0..values-1, for scores by group.
        values: the number of groups, at least 2 with labels.
        subsets, size: as in `kernel_distance`.
        replicates: half samples of `precision_recall` and `density_coverage`, at least 2.
        seed: of the subsets and the half samples.

    Raises:
        InputError: too few vectors, unequal lengths, values that are not finite; labels out of range or in the wrong number;
            `subsets`, `size` or `replicates` too small.
    """
    if min(subsets, size - 1, replicates - 1) < 1:
        raise InputError(f"`subsets` must be at least 1, `size` and `replicates` 2, got {subsets}, {size} and {replicates}")
    real, synthetic = checked_pair(real, synthetic, least=MIN_IMAGES)
    if labels is not None:
        for name, features, own in zip(("real", "synthetic"), (real, synthetic), labels, strict=True):
            check_labels(own, values=values)
            if len(own) != len(features):
                raise InputError(f"`labels` must be one for each image, got {len(own)} for {len(features)} {name} images")

    def scores(x, y):
        count = (len(x), len(y))
        if min(count) < MIN_IMAGES:
            return Scores(count, UNKNOWN, KernelDistance(UNKNOWN, np.nan, np.nan, subsets, 0), *[UNKNOWN] * 4)
        kernel = kernel_distance(x, y, subsets=subsets, size=size, seed=seed)
        shares = [share(x, y, replicates=replicates, seed=seed) for share in (precision_recall, density_coverage)]
        return Scores(count, frechet_estimate(x, y), kernel, *shares[0], *shares[1])

    whole = scores(real, synthetic)
    if labels is None:
        return Quality(whole, (), dict(extractor))
    of_real, of_synthetic = labels
    by_group = tuple(scores(real[of_real == group], synthetic[of_synthetic == group]) for group in range(values))
    return Quality(whole, by_group, dict(extractor))


def balanced_subsets(
    labels: Sequence[Integer[np.ndarray, " _"]], *, values: int, seed: int = 0
) -> list[Integer[np.ndarray, " drawn"]]:
    """Indices of subsets of several sets with equally many images of each group: the smallest number in any set.

    A group that one set lacks is in none of the subsets. The scores of such subsets, held-out real images among them, are
    comparable: they do not differ in the number of images or the shares of the groups.

    Arguments:
        labels: of each set, in 0..values-1.
        values: the number of groups, at least 2.
        seed: of the subsets.

    Returns:
        Ascending indices into each set.

    Raises:
        InputError: no sets, or labels out of range.
    """
    if not labels:
        raise InputError("`labels` must be of at least one set, got none")
    for own in labels:
        check_labels(own, values=values)
    fewest = np.min([np.bincount(own, minlength=values) for own in labels], axis=0)
    orders = [np.random.default_rng(seed).permutation(len(own)) for own in labels]
    return [
        np.sort(np.concatenate([order[own[order] == group][: fewest[group]] for group in range(values)]))
        for own, order in zip(labels, orders, strict=True)
    ]
