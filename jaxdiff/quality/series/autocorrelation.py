"""How each feature depends on its own past: the autocorrelation within windows, and its distance."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from jaxdiff.errors import InputError
from jaxdiff.quality.series.windows import checked_windows


@dataclass(frozen=True)
class AutocorrelationDistance:
    """The result of `autocorrelation_distance`.

    Fields:
        real, synthetic: the autocorrelation of each feature at the lags 0..K (K + 1, F).
        by_feature: the mean over the lags 1..K of the absolute difference (F,).
        mean: over the features.
    """

    real: Float64[np.ndarray, "lags f"]
    synthetic: Float64[np.ndarray, "lags f"]
    by_feature: Float64[np.ndarray, " f"]
    mean: float


def autocorrelations(windows: Float[np.ndarray, "n l f"], lag: int) -> Float64[np.ndarray, "lags f"]:
    """The autocorrelation of each feature at the lags 0..K, over all windows: (K + 1, F).

    r(k) = mean over windows and t < L - k of (x_t - m)(x_{t+k} - m) / s², with m and s² the mean and variance of the feature
    over all windows and time steps. The mean is that of the set and not of each window, whose removal would lower r by about
    the autocorrelation time / L. A constant feature has 0 at every lag.

    Arguments:
        windows: (N, L, F), finite.
        lag: K, the largest lag, in 0..L-1.

    Raises:
        InputError: a lag outside 0..L-1.
    """
    length = windows.shape[1]
    if not 0 <= lag < length:
        raise InputError(f"`lag` must be within 0 and {length - 1} for windows of {length} time steps, got {lag}")
    values = np.asarray(windows, np.float64)
    constant = values.max(axis=(0, 1)) == values.min(axis=(0, 1))
    centred = np.where(constant, 0, values - values.mean(axis=(0, 1)))
    variance = np.where(constant, 1, np.square(centred).mean(axis=(0, 1)))
    shifted = (np.einsum("nlf,nlf->f", centred[:, : length - k], centred[:, k:]) / (length - k) for k in range(lag + 1))
    return np.stack(list(shifted)) / len(values) / variance


def autocorrelation_distance(
    real: Float[np.ndarray, "n l f"], synthetic: Float[np.ndarray, "m k g"], *, lag: int | None = None
) -> AutocorrelationDistance:
    """The mean absolute difference of the autocorrelations of each feature at the lags 1..K.

    Arguments:
        real, synthetic: windows (N, L, F) and (M, L, F), L at least 2.
        lag: K, in 1..L-1; None takes L - 1, though few pairs of values are that far apart.

    Raises:
        InputError: a lag outside 1..L-1; else as `checked_windows`.
    """
    real, synthetic = checked_windows(real, synthetic, length=2)
    lag = real.shape[1] - 1 if lag is None else lag
    if lag < 1:
        raise InputError(f"`lag` must be within 1 and {real.shape[1] - 1}, got {lag}")
    first, second = (autocorrelations(each, lag) for each in (real, synthetic))
    by_feature = np.abs(first[1:] - second[1:]).mean(axis=0)
    return AutocorrelationDistance(first, second, by_feature, float(by_feature.mean()))
