"""A measured number with its standard error, and the features that it is measured of."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from jaxdiff.errors import InputError

NORMAL = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: intervals hold 95 %."""


@dataclass(frozen=True)
class Estimate:
    """A value, and how far it would move were other images drawn.

    The interval is about the value that is expected of these counts of images, not about its limit for infinitely many: a
    Fréchet distance is biased upward by having few, recall and coverage change with their number too. So values may be
    compared only at equal counts. Both sets count as drawn; of two estimates that share their real images the difference
    is known better than either.

    Fields:
        value: as measured; NaN where too few images are there.
        error: its standard error.
        low, high: ends of the 95 % interval.
    """

    value: float
    error: float
    low: float
    high: float

    @staticmethod
    def within(value: float, error: float, least: float = -math.inf, most: float = math.inf) -> "Estimate":
        """value ± 1.96 errors, cut at the ends of the range of possible values."""
        return Estimate(value, error, max(value - NORMAL * error, least), min(value + NORMAL * error, most))

    @staticmethod
    def positive(value: float, error: float) -> "Estimate":
        """The interval for the logarithm, value · exp(± 1.96 error / value), for right-skewed values above 0.

        Where the error is no smaller than the value, whose logarithm then tells nothing, as `within` of 0 and infinity.
        """
        if error >= value:
            return Estimate.within(value, error, least=0.0)
        factor = math.exp(NORMAL * error / value)
        return Estimate(value, error, value / factor, value * factor)


UNKNOWN = Estimate(math.nan, math.nan, math.nan, math.nan)
"""What is told of too few images."""


def checked_pair(
    real: Float[np.ndarray, "n d"], synthetic: Float[np.ndarray, "m e"], *, least: int
) -> tuple[Float64[np.ndarray, "n d"], Float64[np.ndarray, "m d"]]:
    """Both feature arrays in float64. Raises `InputError` for fewer than `least` rows, other lengths, NaN or infinity."""
    if min(len(real), len(synthetic)) < least or real.shape[1] != synthetic.shape[1] or not real.shape[1]:
        raise InputError(
            f"`real` and `synthetic` must be at least {least} feature vectors of one length each, "
            f"got shapes {real.shape} and {synthetic.shape}"
        )
    if not (np.isfinite(real).all() and np.isfinite(synthetic).all()):
        raise InputError("`real` and `synthetic` must be finite, got NaN or infinity")
    return np.asarray(real, np.float64), np.asarray(synthetic, np.float64)
