"""Errors of imputed values, and the two baselines that every imputation must beat."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from jaxdiff.errors import InputError
from jaxdiff.interpolation import linear, neighbours


@dataclass(frozen=True)
class ImputationError:
    """The result of `imputation_error`.

    Fields:
        mae, mse: the mean absolute and the mean squared error over the missing entries.
        by_feature: the mean absolute error of each feature (F,); NaN where none of its entries is missing.
        count: missing entries.
    """

    mae: float
    mse: float
    by_feature: Float64[np.ndarray, " f"]
    count: int


def imputation_error(
    true: Float[np.ndarray, "n l f"], draws: Float[np.ndarray, "s m k g"], missing: Bool[np.ndarray, "h i j"]
) -> ImputationError:
    """The errors of the median of several draws, on the missing entries alone.

    Arguments:
        true: windows (N, L, F), finite where `missing`.
        draws: S imputations of them (S, N, L, F), S at least 1; baselines have one.
        missing: the entries that were imputed and are measured (N, L, F).

    Raises:
        InputError: see `checked_draws`.
    """
    true, draws = checked_draws(true, draws, missing)
    error = np.where(missing, np.median(draws, axis=0) - np.where(missing, true, 0), 0)
    of_feature = missing.sum(axis=(0, 1))
    absolute = np.abs(error).sum(axis=(0, 1))
    by_feature = np.divide(absolute, of_feature, out=np.full(len(of_feature), np.nan), where=of_feature > 0)
    count = int(of_feature.sum())
    return ImputationError(float(absolute.sum() / count), float(np.square(error).sum() / count), by_feature, count)


def linear_interpolation(
    windows: Float[np.ndarray, "n l f"], missing: Bool[np.ndarray, "m k g"]
) -> Float64[np.ndarray, "n l f"]:
    """Missing values on the line between the nearest observed ones before and after; at the ends the nearest observed one.

    Arguments:
        windows: (N, L, F), of any value where missing.
        missing: (N, L, F). A feature that a window does not show at all has the mean of its observed values in all windows.

    Raises:
        InputError: other shapes; a feature that no window shows; NaN or infinity among observed values.
    """
    return linear(*_shown(windows, missing), axis=1)


def last_value(windows: Float[np.ndarray, "n l f"], missing: Bool[np.ndarray, "m k g"]) -> Float64[np.ndarray, "n l f"]:
    """Missing values that equal the last observed one; before the first observed one, that one.

    Arguments:
        windows, missing: as in `linear_interpolation`, whose errors it has.
    """
    values, known = _shown(windows, missing)
    before, after = neighbours(known, axis=1)
    return np.take_along_axis(values, np.where(before < 0, after, before), axis=1)


def checked_draws(
    true: Float[np.ndarray, "n l f"], draws: Float[np.ndarray, "s m k g"], missing: Bool[np.ndarray, "h i j"], least: int = 1
) -> tuple[Float64[np.ndarray, "n l f"], Float64[np.ndarray, "s n l f"]]:
    """The true windows and the draws in float64.

    Raises:
        InputError: fewer than `least` draws, other shapes, nothing missing, or NaN or infinity among missing entries.
    """
    if draws.shape[1:] != true.shape or missing.shape != true.shape or len(draws) < least:
        raise InputError(
            f"`draws` and `missing` must be of the windows of `true`, with at least {least} draws, "
            f"got shapes {draws.shape}, {missing.shape} and {true.shape}"
        )
    if not missing.any():
        raise InputError("`missing` must have at least one entry, got none")
    if not (np.isfinite(true[missing]).all() and np.isfinite(draws[:, missing]).all()):
        raise InputError("`true` and `draws` must be finite where missing, got NaN or infinity")
    return np.asarray(true, np.float64), np.asarray(draws, np.float64)


def _shown(windows, missing):
    """The values in float64 with windows that show nothing of a feature filled by its mean, and which are known then."""
    if missing.shape != windows.shape:
        raise InputError(f"`missing` must be of the shape of `windows`, {windows.shape}, got {missing.shape}")
    observed = ~missing
    if not np.isfinite(windows[observed]).all():
        raise InputError("`windows` must be finite where observed, got NaN or infinity")
    counts = observed.sum(axis=(0, 1))
    if not counts.all():
        raise InputError(f"each feature must be observed somewhere, got none of {np.flatnonzero(counts == 0).tolist()}")
    values = np.where(observed, windows, 0).astype(np.float64)
    shown = observed.any(axis=1, keepdims=True)
    return np.where(shown, values, values.sum(axis=(0, 1)) / counts), observed | ~shown
