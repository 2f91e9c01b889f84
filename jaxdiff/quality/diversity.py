"""How much images of one prompt differ: the mean distance of their vectors, in all and by prompt, with intervals."""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float, Integer

from jaxdiff.errors import InputError
from jaxdiff.statistics import check_level


@dataclass(frozen=True)
class Diversity:
    """The result of `measure_diversity`; distances in [0, 2], 0 for equal images.

    Fields:
        mean: over the contexts of at least three images; NaN without one.
        interval: of it (2,).
        by_context: of each context (C,), NaN for one of fewer than two images.
    """

    mean: float
    interval: Float[np.ndarray, " 2"]
    by_context: Float[np.ndarray, " c"]


def measure_diversity(
    vectors: Float[np.ndarray, "n p"], contexts: Integer[np.ndarray, " m"], *, level: float = 0.95
) -> Diversity:
    """The mean of 1 - cosine over all pairs of different images of a context, averaged over the contexts.

    Of each context it is a U-statistic of its n images, whose variance is estimated as 4 s² / n, with s² the variance of the
    images' mean distances from the others (Hoeffding 1948, the first term). The interval is that of a normal distribution.

    Arguments:
        vectors: of the images, of length 1, see `jaxdiff.interop.clip.Clip.of_images` (N, P).
        contexts: the context (e.g. prompt) of each image (N,), 0..C-1.
        level: of the interval, in (0, 1).

    Raises:
        InputError: the lengths differ, or a level outside (0, 1).
    """
    check_level(level)
    if len(vectors) != len(contexts):
        raise InputError(f"`vectors` and `contexts` must be as many, got {len(vectors)} and {len(contexts)}")
    count = int(contexts.max(initial=-1)) + 1
    means, variances = np.full(count, np.nan), np.full(count, np.nan)
    for context in range(count):
        own = vectors[contexts == context].astype(np.float64)
        if len(own) < 2:
            continue
        # of each image with all others at once
        distances = 1 - (own @ own.sum(axis=0) - (own * own).sum(axis=1)) / (len(own) - 1)
        means[context] = distances.mean()
        if len(own) > 2:
            variances[context] = 4 * distances.var(ddof=1) / len(own)
    known = np.isfinite(variances)
    if not known.any():
        return Diversity(float("nan"), np.full(2, np.nan), means)
    mean, half = means[known].mean(), scipy.special.ndtri((1 + level) / 2) * np.sqrt(variances[known].sum()) / known.sum()
    return Diversity(float(mean), np.array([max(mean - half, 0.0), mean + half]), means)
