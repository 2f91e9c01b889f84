"""A score that is measured several times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float64

from jaxdiff.errors import InputError
from jaxdiff.statistics import check_level

REPEATS = 5
"""Repeats of a score in the tables of papers on time series."""


@dataclass(frozen=True)
class Repeats:
    """A score of the same two sets under several seeds: of a network's initial weights and batches, or of the windows taken.

    The interval is that of Student's distribution for the mean over seeds, as papers on time series print it. It holds the
    variation by the seed and not that of the windows: with other windows of the same distribution a score moves by more.

    Fields:
        values: the score of each repeat (R,).
        mean: over the repeats.
        half_width: of the interval of the mean, t_{(1 + level) / 2, R - 1} s / √R; NaN for one repeat.
        level: of the interval.
    """

    values: Float64[np.ndarray, " r"]
    mean: float
    half_width: float
    level: float

    @staticmethod
    def of(values: Sequence[float], level: float = 0.95) -> "Repeats":
        """The summary of scores.

        Raises:
            InputError: no scores, or a level outside (0, 1).
        """
        check_level(level)
        scores = np.array(values, np.float64)
        if not len(scores):
            raise InputError("`values` must be at least one score, got none")
        half = math.nan
        if len(scores) > 1:
            half = scipy.special.stdtrit(len(scores) - 1, (1 + level) / 2) * scores.std(ddof=1) / math.sqrt(len(scores))
        return Repeats(scores, float(scores.mean()), float(half), level)


def check_repeats(repeats: int) -> None:
    """Raises `InputError` for fewer than one repeat."""
    if repeats < 1:
        raise InputError(f"`repeats` must be at least 1, got {repeats}")
