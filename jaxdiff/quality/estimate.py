"""Estimates with standard errors and confidence intervals."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from jaxdiff.errors import InputError

NORMAL = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: intervals hold 95 %."""


@dataclass(frozen=True)
class Estimate:
    """A value with its sampling error over images.

    The interval is for the expected value at these numbers of images, not for its limit for infinitely many: a Fréchet distance
    is biased upwards for few images, and recall and coverage depend on their number too. Compare values only at equal numbers.
    The error includes the sampling of both sets; the difference of two estimates that share their real images has a smaller
    one.

    Fields:
        value: the estimate; NaN for too few images.
        error: its standard error.
        low, high: ends of the 95 % interval.
    """

    value: float
    error: float
    low: float
    high: float

    @staticmethod
    def normal(value: float, error: float, least: float = -math.inf, most: float = math.inf) -> "Estimate":
        """The normal interval, value ± 1.96 error, clipped to the range [least, most] of possible values."""
        return Estimate(value, error, max(value - NORMAL * error, least), min(value + NORMAL * error, most))

    @staticmethod
    def log_normal(value: float, error: float) -> "Estimate":
        """The normal interval of the logarithm, value · exp(± 1.96 error / value), for right-skewed values above 0.

        Where the error is at least the value, the `normal` interval clipped at 0.
        """
        if error >= value:
            return Estimate.normal(value, error, least=0.0)
        factor = math.exp(NORMAL * error / value)
        return Estimate(value, error, value / factor, value * factor)


UNKNOWN = Estimate(math.nan, math.nan, math.nan, math.nan)
"""The estimate for too few images."""


def checked_pair(
    real: Float[np.ndarray, "n d"], synthetic: Float[np.ndarray, "m e"], *, least: int
) -> tuple[Float64[np.ndarray, "n d"], Float64[np.ndarray, "m d"]]:
    """Both feature arrays in float64. Raises `InputError` for fewer than `least` rows, unequal lengths, NaN or infinity."""
    if min(len(real), len(synthetic)) < least or real.shape[1] != synthetic.shape[1] or not real.shape[1]:
        raise InputError(
            f"`real` and `synthetic` must be at least {least} feature vectors of one length each, "
            f"got shapes {real.shape} and {synthetic.shape}"
        )
    if not (np.isfinite(real).all() and np.isfinite(synthetic).all()):
        raise InputError("`real` and `synthetic` must be finite, got NaN or infinity")
    return np.asarray(real, np.float64), np.asarray(synthetic, np.float64)
