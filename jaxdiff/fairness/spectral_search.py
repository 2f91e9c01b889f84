"""The search for the transition points of spectral switching, one for each band."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdiff.bands import Bands
from jaxdiff.bounds import Measured, Share
from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.fairness._switched_pairs import (
    begin_pairs,
    check_search,
    condition_pairs,
    mean_squared_distance,
    switch_from_trajectory,
)
from jaxdiff.fairness.transition import SearchResult
from jaxdiff.guidance.spectral import SpectralSwitching
from jaxdiff.parallel import broadcast_from_first, gather, stacked, unstacked
from jaxdiff.process import Process
from jaxdiff.solvers.base import Solver
from jaxdiff.solvers.driver import integrate

GOLDEN = (math.sqrt(5) - 1) / 2
SWEEP, START, LINE = 0, 1, 2  # kinds of candidates: one point for all bands, the starting point, one band moved


@dataclass(frozen=True, kw_only=True)
class SpectralTransition(SearchResult):
    """The transition points of bands of frequencies, or of other components; `mode` is `spectral/METRIC`.

    Attributes:
        taus: the point of each band (K,) on the process's time axis, in [0, 1].
        tried: the candidates, in the order of evaluation: N rows of K points. The first row, at 0, is without a switch.
        curves: the criterion of each band at each candidate, N rows of K; equal within a row if all bands share one distance.
        residual: the criterion at `taus` relative to its value without a switch, by band: 0 if it vanishes.
    """

    taus: tuple[Share, ...]
    tried: tuple[tuple[Share, ...], ...]
    curves: tuple[tuple[Measured, ...], ...]
    residual: tuple[Measured, ...]

    def __post_init__(self):
        if not self.taus or len(self.tried) != len(self.curves):
            raise InputError(f"`curves` must have a row for each of `tried`, got {len(self.curves)} for {len(self.tried)}")
        for row in (*self.tried, *self.curves, self.residual):
            if len(row) != len(self.taus):
                raise InputError(f"`tried`, `curves` and `residual` must have a number for each of {len(self.taus)} bands")

    @property
    def summary(self) -> str:
        """The points as text."""
        return f"tau={', '.join(f'{tau:.3f}' for tau in self.taus)} of {len(self.taus)} bands"


def _golden_point(low: Array, best: Array, high: Array) -> Array:
    """The next point of a golden-section search: in the longer side of the bracket."""
    return best + (1 - GOLDEN) * jnp.where(high - best >= best - low, high - best, low - best)


def _golden_bracket(low: Array, best: Array, high: Array, tried: Array, closer: Array) -> tuple[Array, Array, Array]:
    """The best point after `tried` was found `closer` or not, and the bracket, which the other point bounds on its side."""
    kept, other = jnp.where(closer, tried, best), jnp.where(closer, best, tried)
    return kept, jnp.where(other < kept, other, low), jnp.where(other > kept, other, high)


def _golden_steps(reach: float, tolerance: float) -> int:
    """The number of points that narrow a bracket of half-width `reach` to `tolerance`.

    The second point at the latest halves it; each later one narrows it by the golden ratio.
    """
    return max(0, 2 + math.ceil(math.log(tolerance / reach) / math.log(GOLDEN)))


@partial(jax.jit, static_argnames=("shape", "solver", "batch"))
def _spectral(denoiser, process, bands, conditions, key, features, plan, start, reach, *, shape, solver, batch):
    first, second = condition_pairs(conditions, batch)
    condition = stacked(first, second), stacked(second, first)
    keys, unswitched, state, condition = begin_pairs(denoiser, process, key, shape, solver, batch, condition)
    trajectory = integrate(denoiser, process, solver, unswitched, state, keys, condition[0], path=True)

    def distances(x):
        if features is None:
            first, second = unstacked(x, 2)
            return jnp.sqrt(jnp.square(bands.norms(first - second)).mean(1))
        return jnp.broadcast_to(jnp.sqrt(mean_squared_distance(features(x))), bands.count)

    def probe(carry, candidate):
        taus, values, low, high = carry
        kind, band, opens, level = candidate
        best = taus[band]
        low = jnp.where(opens, jnp.maximum(best - reach, 0), low)
        high = jnp.where(opens, jnp.minimum(best + reach, 1), high)
        point = _golden_point(low, best, high)
        moved = jnp.where(jnp.arange(bands.count) == band, point, taus)
        tried = jnp.where(kind == SWEEP, level, jnp.where(kind == START, taus, moved))
        guided = SpectralSwitching(denoiser, bands, tried)
        x, grid, before = switch_from_trajectory(guided, tried.max(), process, solver, unswitched, trajectory, keys, condition)
        found, cost = distances(x), 2 * guided.evaluations(solver, grid.times[:, :1], before)
        # the sweep moves all bands; later one band moves, and its own distance decides
        closer = jnp.where(kind == SWEEP, found < values, (kind == START) | (found[band] < values[band]))
        _, low, high = _golden_bracket(low, best, high, point, closer[band])
        return (jnp.where(closer, tried, taus), jnp.where(closer, found, values), low, high), (tried, found, cost)

    reference = distances(trajectory.x[-1])
    carry = start, jnp.full(bands.count, jnp.inf), jnp.float32(0), jnp.float32(1)
    (taus, values, _, _), (tried, curves, cost) = jax.lax.scan(probe, carry, plan)
    tried, curves = jnp.concatenate([jnp.zeros_like(tried[:1]), tried]), jnp.concatenate([reference[None], curves])
    return taus, values / reference, tried, curves, 2 * solver.evaluations + cost.sum()


def _plan(bands: int, coarse: int, cycles: int, tries: int) -> tuple[Array, ...]:
    """The sequence of candidates: their kind, the band that moves, whether its bracket is reset, and the time of a sweep."""
    lines = cycles * bands * tries
    kind = np.repeat([SWEEP, START, LINE], [coarse, 1, lines])
    line = np.maximum(np.arange(len(kind)) - coarse - 1, 0)
    level = np.concatenate([np.arange(1, coarse + 1) / (coarse + 1), np.zeros(1 + lines)])
    opens = (kind == LINE) & (line % max(tries, 1) == 0)
    return tuple(map(jnp.asarray, (kind, line // max(tries, 1) % bands, opens, level.astype(np.float32))))


def search_spectral(
    denoise: Callable,
    process: Process,
    *,
    bands: Bands,
    conditions: Sequence[Any],
    shape: tuple[int, ...],
    solver: Solver,
    key: Array,
    batch: int = 64,
    features: Callable | None = None,
    metric: str = "bands",
    start: Sequence[float] | None = None,
    coarse: int = 9,
    reach: float = 0.15,
    cycles: int = 2,
    tolerance: float = 0.02,
) -> SpectralTransition:
    """Finds the transition point of each band at which the two switched outputs of the same noise are closest.

    First one point for all bands is swept over a coarse grid, which costs about as much as the scalar search; then the bands
    are optimised one after another (coordinate descent), from coarse to fine, each by a golden-section search around its point,
    `cycles` times. Without `features` each band has its own criterion, the distance within the band, sqrt(mean ||P_k (x^{0->1}
    - x^{1->0})||²): to first order the bands are independent. With `features` one distance decides for all bands. One compiled
    program, as in `search_direct`.

    Arguments:
        denoise: a denoiser without breakpoints within (0, 1).
        process: the forward process.
        bands: K bands of a sample.
        conditions: two or more, each one row without a batch axis; noise sample i is assigned the pair i mod P of the P pairs.
        shape: the shape of one sample.
        solver: the solver that samples will be drawn with, with more steps than bands.
        key: a key; noise sample i is a function of (key, i).
        batch: noise samples, at least one for each pair.
        features: F, a pytree or function (B, ...) -> (B, ...), see `Whitening` and `ClassifierFeatures`; None compares within
            the bands.
        metric: the name of F, for the result.
        start: the initial points (K,), instead of the sweep, e.g. those of a search with another F.
        coarse: points of the sweep, uniform inside (0, 1), at least 3.
        reach: half-width of the bracket around a band's point in each cycle, in (0, 1).
        cycles: the number of searches in each band, at least 0.
        tolerance: final width of the bracket, below 2 `reach`.

    Raises:
        InputError: a denoiser with breakpoints, or arguments out of range.
    """
    check_search(denoise, process, solver, conditions, batch)
    if coarse < 3 or cycles < 0 or not 0 < tolerance < 2 * reach < 2 or solver.steps <= bands.count:
        raise InputError(
            f"the search takes coarse >= 3, cycles >= 0, 0 < tolerance < 2 reach < 2 and a solver of more than {bands.count} "
            f"steps; got {coarse}, {cycles}, {tolerance}, {reach}, {solver.steps}"
        )
    given = np.zeros(bands.count) if start is None else np.asarray(start, np.float64)
    if given.shape != (bands.count,) or not np.all((given >= 0) & (given <= 1)):
        raise InputError(f"`start` must be a time in [0, 1] for each of the {bands.count} bands, got {given.tolist()}")
    plan = _plan(bands.count, coarse if start is None else 0, cycles, _golden_steps(reach, tolerance))
    found = _spectral(
        as_denoiser(denoise), process, bands, tuple(conditions), key, None if features is None else as_denoiser(features), plan,
        jnp.asarray(given, jnp.float32), jnp.float32(reach), shape=tuple(shape), solver=solver, batch=batch,
    )  # fmt: skip
    taus, residual, tried, curves, evaluations = broadcast_from_first(gather(found))
    if not np.all(np.isfinite(curves)):
        raise InputError("the criterion is not finite: the denoiser returns NaN or infinity at some time")
    rows = lambda values: tuple(tuple(map(float, row)) for row in values)  # noqa: E731
    return SpectralTransition(
        taus=tuple(map(float, taus)),
        mode=f"spectral/{metric}",
        tried=rows(tried),
        curves=rows(curves),
        residual=tuple(float(value) for value in np.nan_to_num(residual, posinf=0.0)),
        evaluations=int(evaluations),
        batch=batch,
    )
