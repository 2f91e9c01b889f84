"""How often synthetic windows keep the constraints under which they were drawn."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jaxdiff.errors import InputError

TOLERANCE = 1e-2
"""The tolerance of published rates, for data in [0, 1]."""


@dataclass(frozen=True)
class Satisfaction:
    """The result of the functions below.

    Fields:
        share: of the constraints that hold within the tolerance; all of them count, whatever the sign of their value.
        largest: the largest violation, 0 where all hold exactly.
        count: constraints.
    """

    share: float
    largest: float
    count: int


def fixed_points_kept(
    windows: Float[np.ndarray, "n l f"],
    values: Float[np.ndarray, "m k g"],
    fixed: Bool[np.ndarray, "h i j"],
    *,
    tolerance: float = TOLERANCE,
) -> Satisfaction:
    """The entries that should have a given value, and have it: |x - value| <= tolerance.

    Arguments:
        windows: synthetic (N, L, F).
        values: what entries should be (N, L, F), of any value where not `fixed`.
        fixed: the constrained entries (N, L, F).
        tolerance: at least 0.

    Raises:
        InputError: other shapes, no constraint, or NaN.
    """
    if values.shape != windows.shape or fixed.shape != windows.shape:
        raise InputError(f"`values` and `fixed` must be of shape {windows.shape}, got {values.shape} and {fixed.shape}")
    return _satisfied(np.abs(windows[fixed].astype(np.float64) - values[fixed]), tolerance)


def extremes_kept(
    windows: Float[np.ndarray, "n l f"],
    low: Float[np.ndarray, "m g"],
    high: Float[np.ndarray, "k h"],
    *,
    tolerance: float = TOLERANCE,
) -> Satisfaction:
    """The minima and maxima over time that equal the given ones: 2 N F constraints.

    Arguments:
        windows: synthetic (N, L, F).
        low, high: the minimum and the maximum of each feature of each window (N, F).
        tolerance: at least 0.

    Raises:
        InputError: other shapes, no windows, or NaN.
    """
    wanted = (len(windows), windows.shape[2])
    if low.shape != wanted or high.shape != wanted:
        raise InputError(f"`low` and `high` must be of shape {wanted}, got {low.shape} and {high.shape}")
    found = windows.min(axis=1, initial=np.inf), windows.max(axis=1, initial=-np.inf)
    return _satisfied(np.abs(np.stack(found).astype(np.float64) - np.stack([low, high])), tolerance)


def prices_kept(
    windows: Float[np.ndarray, "n l f"], *, columns: tuple[int, int, int, int] = (0, 1, 2, 3), tolerance: float = TOLERANCE
) -> Satisfaction:
    """Open, high, low and close prices in their order: low <= open, low <= close, open <= high and close <= high at each step.

    4 N L constraints, in the unit of the prices: scaled by one range for all of them, not each by its own.

    Arguments:
        windows: synthetic (N, L, F).
        columns: the features of open, high, low and close.
        tolerance: at least 0.

    Raises:
        InputError: columns that are not four different features, no windows, or NaN.
    """
    features = windows.shape[2]
    if len({*columns}) != 4 or not all(0 <= column < features for column in columns):
        raise InputError(f"`columns` must be four different features in 0..{features - 1}, got {columns}")
    opened, high, low, closed = (windows[..., column].astype(np.float64) for column in columns)
    excess = [low - opened, low - closed, opened - high, closed - high]
    return _satisfied(np.maximum(np.stack(excess), 0), tolerance)


def _satisfied(violation: Float[np.ndarray, "..."], tolerance: float) -> Satisfaction:
    if not tolerance >= 0:
        raise InputError(f"`tolerance` must be at least 0, got {tolerance}")
    if not violation.size:
        raise InputError("there must be at least one constraint, got none")
    if np.isnan(violation).any():
        raise InputError("windows and constraints must be numbers, got NaN")
    return Satisfaction(float((violation <= tolerance).mean()), float(violation.max()), violation.size)
