"""Distances between the values of each feature, whatever their order in time."""

from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float, Float64

from jaxdiff.quality.series.windows import checked_windows


@dataclass(frozen=True)
class MarginalDistances:
    """The result of `marginal_distances`.

    Fields:
        wasserstein: the Wasserstein-1 distance of each feature (F,), in its unit: the mean shift that turns one distribution
            into the other.
        kolmogorov: the Kolmogorov-Smirnov distance of each feature (F,), in [0, 1]: the largest difference of the two
            cumulative distribution functions.
    """

    wasserstein: Float64[np.ndarray, " f"]
    kolmogorov: Float64[np.ndarray, " f"]


def marginal_distances(real: Float[np.ndarray, "n l f"], synthetic: Float[np.ndarray, "m k g"]) -> MarginalDistances:
    """The distances between the values of each feature over all windows and time steps.

    No p-value is given: values of one window, and of windows that overlap, are not independent.

    Arguments:
        real, synthetic: windows (N, L, F) and (M, L, F).

    Raises:
        InputError: see `checked_windows`.
    """
    real, synthetic = checked_windows(real, synthetic)
    pairs = [(real[..., feature].ravel(), synthetic[..., feature].ravel()) for feature in range(real.shape[2])]
    return MarginalDistances(
        np.array([scipy.stats.wasserstein_distance(*pair) for pair in pairs]),
        np.array([scipy.stats.ks_2samp(*pair, method="asymp").statistic for pair in pairs]),
    )
