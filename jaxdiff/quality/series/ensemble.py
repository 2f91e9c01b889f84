"""How good a distribution of imputations is: the continuous ranked probability score, and the coverage of its intervals."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jaxdiff.quality.series.imputation import checked_draws
from jaxdiff.statistics import check_level


@dataclass(frozen=True)
class Coverage:
    """The result of `interval_coverage`.

    Fields:
        share: of the missing entries whose true value lies within its interval, the ends included; `level` if calibrated.
        width: the mean width of the intervals.
        level: of the intervals.
        count: missing entries.
    """

    share: float
    width: float
    level: float
    count: int


def crps(
    true: Float[np.ndarray, "n l f"],
    draws: Float[np.ndarray, "s m k g"],
    missing: Bool[np.ndarray, "h i j"],
    *,
    fair: bool = True,
) -> float:
    """The continuous ranked probability score, averaged over the missing entries (Gneiting and Raftery 2007, equation 21).

        mean_i |x_i - y| - (1 / 2) mean_{i, j} |x_i - x_j|

    It has the unit of the data, and for one draw is the absolute error. The plain score is exact for the empirical distribution
    of the draws: it takes the mean over all S² pairs, and is lower for more draws of the same distribution. The fair one takes
    the mean over the S (S - 1) pairs of different draws, so that its expected value does not depend on S (Ferro 2014): it is
    that of the distribution which was drawn from.

    Arguments:
        true: windows (N, L, F).
        draws: S imputations (S, N, L, F), at least 2 for the fair score.
        missing: the entries that are measured (N, L, F).
        fair: the fair score, for comparing methods whose numbers of draws differ.

    Raises:
        InputError: see `checked_draws`.
    """
    true, draws = checked_draws(true, draws, missing, least=2 if fair else 1)
    values, count = np.sort(draws[:, missing], axis=0), len(draws)
    error = np.abs(values - true[missing]).mean()
    # of the sorted draws, the i-th is the larger one in i pairs and the smaller one in S - 1 - i
    weights = 2 * np.arange(count) - (count - 1)
    pairs = count * (count - 1) if fair else count**2
    return float(error - (weights @ values).mean() / pairs)


def interval_coverage(
    true: Float[np.ndarray, "n l f"],
    draws: Float[np.ndarray, "s m k g"],
    missing: Bool[np.ndarray, "h i j"],
    *,
    level: float = 0.9,
) -> Coverage:
    """The share of missing entries within the central interval of the draws, and the mean width of it.

    The ends are the quantiles (1 ± level) / 2 at the positions p (S + 1) of the sorted draws (Hyndman and Fan 1996, type 6), so
    that a true value which is one more draw of the same distribution is covered with probability `level`. With the quantiles
    that NumPy takes by default it would be (S - 1) / (S + 1) times that: 81 % in place of 90 % for 20 draws.

    Arguments:
        true: windows (N, L, F).
        draws: S imputations (S, N, L, F), at least 2 / (1 - level) - 1: 19 for 90 %, 39 for 95 %.
        missing: the entries that are measured (N, L, F).
        level: in (0, 1).

    Raises:
        InputError: too few draws for the level, a level outside (0, 1); else as `checked_draws`.
    """
    check_level(level)
    least = math.ceil(2 / (1 - level) - 1 - 1e-9)
    true, draws = checked_draws(true, draws, missing, least=least)
    low, high = np.quantile(draws[:, missing], [(1 - level) / 2, (1 + level) / 2], axis=0, method="weibull")
    within = (low <= true[missing]) & (true[missing] <= high)
    return Coverage(float(within.mean()), float((high - low).mean()), level, int(missing.sum()))
