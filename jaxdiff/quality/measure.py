"""The whole answer about one synthetic set: distances and shares, of all its images and by group."""

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
"""Images of each set without which nothing is told: half of them still have five neighbours each."""


@dataclass(frozen=True)
class Scores:
    """Measures of synthetic images against real ones; every value NaN where a set has fewer than `MIN_IMAGES` images.

    Fields:
        count: real and synthetic images.
        frechet: `frechet_estimate`, in squared units of the features.
        kernel: `kernel_distance`; `kernel.full` carries the interval.
        precision, recall: of `precision_recall` with k = 3.
        density, coverage: of `density_coverage` with k = 5.
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
    """The answer of `measure_quality`.

    Fields:
        whole: of all images. It also sees how many of each group there are.
        groups: of each group's synthetic images against the same group's real ones, in order; empty without labels.
        extractor: what the features are, as the caller told: name, checksum, resizing.
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
    """Measures features of synthetic images against those of real ones, all in float64; the same for the same arguments.

    No measure is at its ideal for finitely many perfect images. What is reached by them tells `measure(real, held_out)`
    with other real images as the synthetic set, as many as the synthetic sets have: see `balanced_subsets`.

    Arguments:
        real, synthetic: at least `MIN_IMAGES` finite feature vectors of one extractor each.
        extractor: provenance of the features, kept as it is.
        labels: the group of each real and of each synthetic image, in 0..values-1, for scores by group.
        values: the number of groups, at least 2 with labels.
        subsets, size: of `kernel_distance`.
        replicates: half samples of `precision_recall` and `density_coverage`.
        seed: of the subsets and the half samples.

    Raises:
        InputError: too few vectors, of another length, not finite; labels out of range or of another count; `subsets`,
            `size` or `replicates` too small.
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
    groups = () if labels is None else range(values)
    by_group = tuple(scores(*(x[of == group] for x, of in zip((real, synthetic), labels, strict=True))) for group in groups)
    return Quality(whole, by_group, dict(extractor))


def balanced_subsets(
    labels: Sequence[Integer[np.ndarray, " _"]], *, values: int, seed: int = 0
) -> list[Integer[np.ndarray, " drawn"]]:
    """Indices into each of several sets that take equally many images of each group: as many as the poorest set has.
    A group that one set lacks is then in none.

    Sets so drawn, real images held out among them, have scores that may be compared: none is better for more images or for
    the share of its groups.

    Arguments:
        labels: of each set, in 0..values-1.
        values: the number of groups, at least 2.
        seed: of the draws.

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
