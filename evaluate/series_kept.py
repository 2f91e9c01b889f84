"""Constraints that drawn windows keep, and trends that they follow."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdiff.priors import OpenHighLowClose
from jaxdiff.quality.series import Satisfaction, extremes_kept, fixed_points_kept, prices_kept, trend_error

if TYPE_CHECKING:
    from .series_conditions import Given

TOLERANCES = (1e-2, 1e-6)
"""That of published rates, and that of exact constraints."""


def constraints(given: "Given") -> dict[str, Any]:
    """The share of constraints that hold in all draws at each tolerance, JSON-ready; the real windows are beside them."""
    end, known = given.of_prior()
    assert known is not None
    draws = given.drawn({"windows": (end, known)})["windows"]
    together = draws.reshape(-1, *draws.shape[2:])
    prior, real = given.model.process.prior_of_end, given.encoded
    kinds = {
        "given values": lambda x, tolerance: fixed_points_kept(
            given.unit(x), given.unit(_as_many(end, x)), _as_many(known, x), tolerance=tolerance
        )
    }
    if prior.name == "extremes":
        low, high = (given.unit(each) for each in (real.min(axis=1), real.max(axis=1)))
        kinds["minimum and maximum"] = lambda x, tolerance: extremes_kept(
            given.unit(x), _as_many(low, x), _as_many(high, x), tolerance=tolerance
        )
    if isinstance(prior, OpenHighLowClose):
        prices = given.space.decode(real)[..., list(prior.columns)]
        low, high = prices.min(), prices.max()  # one range, so that prices of different columns are comparable
        kinds["order of prices"] = lambda x, tolerance: prices_kept(
            (given.space.decode(x) - low) / (high - low), columns=_four(prior.columns), tolerance=tolerance
        )
    rows = []
    for name, kept in kinds.items():
        for which, x in (("model", together), ("real", real)):
            found: list[Satisfaction] = [kept(x, tolerance) for tolerance in TOLERANCES]
            rows.append(
                {
                    "constraint": name, "windows": which, "tolerances": list(TOLERANCES),
                    "shares": [each.share for each in found], "largest": found[0].largest, "count": found[0].count,
                }
            )  # fmt: skip
    return {"constraints": rows}


def trends(given: "Given") -> dict[str, Any]:
    """The mean distance from the trends that were given, and for comparison from those of other windows; JSON-ready."""
    end, _ = given.of_prior()
    draws = given.unit(given.drawn({"windows": (end, None)})["windows"])
    wanted, real = given.unit(end), given.unit(given.encoded)
    each = [trend_error(wanted, draw) for draw in draws]
    others = np.roll(wanted, 1, axis=0)
    return {
        "trend": {
            "model": float(np.mean(each)),
            "by_draw": each,
            "real": trend_error(wanted, real),
            "other_windows": float(np.mean([trend_error(others, draw) for draw in draws])),
        }
    }


def _as_many(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The values of each window, for as many draws of all windows as `x` has."""
    return np.concatenate([values] * (len(x) // len(values)))


def _four(columns: tuple[int, ...]) -> tuple[int, int, int, int]:
    opened, high, low, closed = columns
    return opened, high, low, closed
