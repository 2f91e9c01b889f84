"""Errors and intervals of imputed values of test windows, beside those of simple imputations."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from jaxdiff.quality.series import (
    crps,
    geometric_mask,
    imputation_error,
    interval_coverage,
    last_value,
    linear_interpolation,
    random_mask,
)
from jaxdiff.statistics import percentile_interval, resampled_sums

if TYPE_CHECKING:
    from .series_conditions import Given

LEVEL = 0.9
LEAST = 19
"""The least number of draws for intervals of this level."""
GAP = 3.0
"""The mean length of gaps, where the share of missing values allows it."""
REPLICATES = 1000
EXAMPLES = 3
"""Windows in the picture."""
METHODS: dict[str, Callable] = {"linear interpolation": linear_interpolation, "last value": last_value}
Mask = Bool[np.ndarray, "n l f"]


def imputation(given: "Given") -> dict[str, Any]:
    """The errors at each share of missing values and each kind of mask, JSON-ready; `examples` are for the picture."""
    options, windows = given.options, given.unit(given.encoded)
    masks = {
        (kind, share): mask(kind, share, windows.shape, options.seed) for kind in options.masks for share in options.shares
    }
    prior = given.model.process.prior_of_end
    interpolated = jax.jit(jax.vmap(prior.given))
    ends = {}
    for (kind, share), missing in masks.items():
        found = interpolated(np.where(missing, 0, given.encoded).astype(np.float32), ~missing)
        ends[f"{kind}, {100 * share:g} %"] = (np.asarray(found.end), np.asarray(found.known))
    drawn = given.drawn(ends)
    rows, examples = [], {}
    for (kind, share), missing in masks.items():
        name = f"{kind}, {100 * share:g} %"
        draws = given.unit(drawn[name])
        rows.append({"mask": kind, "share": share, **measured(windows, draws, missing, seed=options.seed)})
        examples.setdefault("name", name)
        if len(examples) == 1:
            chosen = slice(0, EXAMPLES)
            examples |= {"true": windows[chosen], "draws": draws[:, chosen], "missing": missing[chosen]}
    return {"imputation": rows, "examples": examples}


def mask(kind: str, share: float, shape: Sequence[int], seed: int) -> Mask:
    """Missing values of windows of this shape: `points`, or `gaps` of mean length 3, longer where the share needs it."""
    key = jax.random.key(seed)
    count, length, features = shape
    if kind == "points":
        return random_mask((count, length, features), share, key=key)
    return geometric_mask((count, length, features), share, key=key, mean_length=gap_length(share))


def gap_length(share: float) -> float:
    """The mean length of gaps at a share of missing values: of length m they can hide at most m / (m + 1)."""
    return max(GAP, share / (1 - share))


def measured(
    true: Float[np.ndarray, "n l f"], draws: Float[np.ndarray, "s n l f"], missing: Mask, *, seed: int
) -> dict[str, Any]:
    """The errors of draws and of simple imputations, with 95 % bootstrap intervals over windows.

    Arguments:
        true, draws, missing: as of `jaxdiff.quality.series.imputation_error`.
        seed: of the bootstrap.
    """
    simple = {name: method(np.where(missing, np.nan, true), missing) for name, method in METHODS.items()}
    found: dict[str, Any] = {"count": int(missing.sum())}
    sums = {"count": missing.sum(axis=(1, 2)).astype(np.float64)}
    for name, imputed in {"model": draws, **{name: each[None] for name, each in simple.items()}}.items():
        error = imputation_error(true, imputed, missing)
        found[name] = {"mae": error.mae, "mse": error.mse, "by_feature": error.by_feature.tolist()}
        apart = np.where(missing, np.median(imputed, axis=0) - true, 0)
        sums[name, "mae"], sums[name, "mse"] = np.abs(apart).sum(axis=(1, 2)), np.square(apart).sum(axis=(1, 2))
    covered = interval_coverage(true, draws, missing, level=LEVEL)
    found["model"] |= {"crps": crps(true, draws, missing), "coverage": covered.share, "width": covered.width}
    shown = np.flatnonzero(missing.any(axis=(1, 2)))
    for name in ("crps", "coverage"):
        sums["model", name] = np.zeros(len(true))
    for i in shown:
        one = (true[i : i + 1], draws[:, i : i + 1], missing[i : i + 1])
        size = sums["count"][i]
        sums["model", "crps"][i] = size * crps(*one)
        sums["model", "coverage"][i] = size * interval_coverage(*one, level=LEVEL).share
    names = [name for name in sums if name != "count"]
    rows = np.stack([sums["count"], *(sums[name] for name in names)], axis=1)
    replicates = resampled_sums(rows, replicates=REPLICATES, generator=np.random.default_rng(seed))
    for place, (method, name) in enumerate(names, start=1):
        ends = percentile_interval(replicates[:, place] / replicates[:, 0], 0.95)
        found[method].setdefault("intervals", {})[name] = ends.tolist()
    places = [names.index((method, "mae")) + 1 for method in ("model", "linear interpolation")]
    ratio = replicates[:, places[0]] / replicates[:, places[1]]
    found["ratio"] = {
        "value": found["model"]["mae"] / found["linear interpolation"]["mae"],
        "interval": percentile_interval(ratio, 0.95).tolist(),
    }
    observed = ~missing
    found["largest_change_of_observed"] = float(np.abs(draws - true)[:, observed].max()) if observed.any() else 0.0
    return found
