"""The search for the transition points of spectral switching, one for each band."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff.bands import Bands
from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.fairness.search import (
    both_ways,
    check,
    from_trunk,
    mean_square,
    pairs_in_turn,
)
from jaxdiff.fairness.transition import Found
from jaxdiff.guidance.spectral import SpectralSwitching
from jaxdiff.parallel import gathered, of_first, stacked, unstacked
from jaxdiff.process import Process
from jaxdiff.solvers.driver import integrate

GOLDEN = (math.sqrt(5) - 1) / 2
SWEEP, START, LINE = 0, 1, 2  # what a candidate is: one point for all bands, the point to start from, one band moved


@dataclass(frozen=True, kw_only=True)
class SpectralTransition(Found):
    """The transition points of bands of frequencies, or of other components; `mode` is `spectral/` with where it looked.

    Attributes:
        taus: the point of each band (K,) on the process's time axis, in [0, 1].
        tried: the candidates, in the order in which they were tried: N rows of K points. The first row, at 0, is no switch.
        curves: the criterion of each band at each candidate, N rows of K; where the distance is one for all bands, a row
            repeats it.
        residual: the criterion at `taus` over its value without a switch, by band: 0 is a condition exactly solved.
    """

    taus: tuple[float, ...]
    tried: tuple[tuple[float, ...], ...]
    curves: tuple[tuple[float, ...], ...]
    residual: tuple[float, ...]

    @property
    def told(self) -> str:
        """The points in words."""
        return f"tau={', '.join(f'{tau:.3f}' for tau in self.taus)} of {len(self.taus)} bands"


def _golden_point(low, best, high):
    """Where a golden-section search tries next: in the longer side of the bracket."""
    return best + (1 - GOLDEN) * jnp.where(high - best >= best - low, high - best, low - best)


def _golden_bracket(low, best, high, tried, closer):
    """The best point once `tried` is known to be `closer` or not, and the bracket: the loser bounds it on its side."""
    kept, other = jnp.where(closer, tried, best), jnp.where(closer, best, tried)
    return kept, jnp.where(other < kept, other, low), jnp.where(other > kept, other, high)


def _golden_steps(reach: float, tolerance: float) -> int:
    """Tries that narrow a bracket which reaches this far on either side to `tolerance`.

    The second point at the latest halves it; each one after is golden.
    """
    return max(0, 2 + math.ceil(math.log(tolerance / reach) / math.log(GOLDEN)))


@partial(jax.jit, static_argnames=("shape", "solver", "batch"))
def _spectral(denoiser, process, bands, conditions, key, features, plan, start, reach, *, shape, solver, batch):
    first, second = pairs_in_turn(conditions, batch)
    condition = stacked(first, second), stacked(second, first)
    keys, unswitched, state = both_ways(denoiser, process, key, shape, solver, batch, condition[0])
    trunk = integrate(denoiser, process, solver, unswitched, state, keys, condition[0], path=True)

    def distances(x):
        if features is None:
            first, second = unstacked(x, 2)
            return jnp.sqrt(jnp.square(bands.norms(first - second)).mean(1))
        return jnp.broadcast_to(jnp.sqrt(mean_square(features(x))), bands.count)

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
        x, grid, before = from_trunk(guided, tried.max(), process, solver, unswitched, trunk, keys, condition)
        found, cost = distances(x), 2 * guided.evaluations(solver, grid.times[:, :1], before)
        # the sweep is of every band; then one band moves, and its own distance decides
        closer = jnp.where(kind == SWEEP, found < values, (kind == START) | (found[band] < values[band]))
        _, low, high = _golden_bracket(low, best, high, point, closer[band])
        return (jnp.where(closer, tried, taus), jnp.where(closer, found, values), low, high), (tried, found, cost)

    reference = distances(trunk.x[-1])
    carry = start, jnp.full(bands.count, jnp.inf), jnp.float32(0), jnp.float32(1)
    (taus, values, _, _), (tried, curves, cost) = jax.lax.scan(probe, carry, plan)
    tried, curves = jnp.concatenate([jnp.zeros_like(tried[:1]), tried]), jnp.concatenate([reference[None], curves])
    return taus, values / reference, tried, curves, 2 * solver.evaluations + cost.sum()


def _plan(bands: int, coarse: int, cycles: int, tries: int):
    """The candidates to come: their kind, the band that moves, whether its bracket opens, and the time of a sweep."""
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
    solver,
    key,
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

    First one point for all bands is swept over a coarse grid, which costs about what the scalar search costs; then the bands
    move in turn, coarse to fine, each by a golden-section search around its point, `cycles` times. Without `features` each band
    has a criterion of its own, the distance within it, sqrt(mean ||P_k (x^{0->1} - x^{1->0})||²): to first order the bands do
    not know of one another. With `features` one distance, of everything, decides every move: it looks where a judge looks. All
    in one compiled program, as `search_direct`.

    Arguments:
        denoise: a denoiser without breakpoints within (0, 1).
        process: the forward process.
        bands: K bands of a sample.
        conditions: two or more, each one row without a batch axis; noise sample i is of the i-th pair of them in turn.
        shape: the shape of one sample.
        solver: the solver that samples will be drawn with, of more steps than bands.
        key: a key; noise sample i is a function of (key, i).
        batch: noise samples, at least one for each pair.
        features: F, a pytree or function (B, ...) -> (B, ...), see `fairness.Whitening` and `fairness.ClassifierFeatures`; None
            compares within the bands.
        metric: the name of F, for the result.
        start: the points (K,) to start from, in place of the sweep, e.g. those of a search with another F.
        coarse: points of the sweep, uniform inside (0, 1), at least 3.
        reach: how far a band looks on either side of its point in each cycle, in (0, 1).
        cycles: how often each band moves, at least 0.
        tolerance: width of the bracket at which a band stops, below 2 `reach`.

    Raises:
        InputError: a denoiser with breakpoints, or arguments out of range.
    """
    check(denoise, process, solver, conditions, batch)
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
    taus, residual, tried, curves, evaluations = of_first(gathered(found))
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
