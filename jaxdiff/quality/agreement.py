"""Agreement of images with their prompts: the mean CLIP score (Hessel et al. 2021) in all and by prompt, with intervals."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from jaxdiff.errors import InputError
from jaxdiff.statistics import check_replicates, percentile_interval, resampled_sums


@dataclass(frozen=True)
class Agreement:
    """The result of `measure_agreement`; scores as given, in [0, 100].

    Fields:
        mean: over all images.
        interval: of it (2,).
        by_context: the mean over the images of each context (C,).
        intervals: of these (C, 2).
        count: images of each context (C,).
    """

    mean: float
    interval: Float[np.ndarray, " 2"]
    by_context: Float[np.ndarray, " c"]
    intervals: Float[np.ndarray, "c 2"]
    count: Integer[np.ndarray, " c"]


def measure_agreement(
    scores: Float[np.ndarray, " n"],
    contexts: Integer[np.ndarray, " m"],
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """The means of scores, with percentile bootstrap intervals over the images of each context.

    Arguments:
        scores: the score of each image with its prompt, see `jaxdiff.interop.clip.Clip.scores` (N,).
        contexts: the context (e.g. prompt) of each image (N,), 0..C-1, all of which occur.
        replicates: bootstrap samples, at least 1.
        level: of the intervals, in (0, 1).
        seed: of the bootstrap.

    Raises:
        InputError: the lengths differ, there are no images, or a context has none.
    """
    check_replicates(replicates, level)
    if len(scores) != len(contexts) or not len(scores):
        raise InputError(f"`scores` and `contexts` must be as many, at least 1, got {len(scores)} and {len(contexts)}")
    count = np.bincount(contexts)
    if not count.all():
        raise InputError(f"`contexts` must include every index up to the largest, got {np.unique(contexts).tolist()}")
    generator = np.random.default_rng(seed)
    given = scores.astype(np.float64)
    of_context = [given[contexts == context] for context in range(len(count))]
    sums = [resampled_sums(part[:, None], replicates=replicates, generator=generator)[:, 0] for part in of_context]
    totals = np.stack(sums, axis=1)
    return Agreement(
        float(given.mean()),
        percentile_interval(totals.sum(axis=1) / len(given), level),
        np.array([part.mean() for part in of_context]),
        percentile_interval(totals / count, level),
        count,
    )
