"""Attacks on guarded sampling, as a measure of defences: the worst noise and condition within a region.

The white-box attacker knows the whole chain, guards included, and searches for the initial noise, or the embedding of a
prompt, whose sample has the highest score by a classifier. What a defence withstands here it withstands for every noise, and
every prompt whose embedding lies in the region, up to what the search misses; no prompt is made. A second classifier, which the
search does not see, gives the verdict on the samples, since a search also finds errors of the classifier that it ascends.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxdiff.choices import ATTACKS
from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.probability_flow import indices_of
from jaxdiff.process import Process
from jaxdiff.safety.regions import Region
from jaxdiff.solvers import Solver
from jaxdiff.solvers.driver import Grid, Keys, begin, integrate, nodes, sample_keys, starts

GRADIENT_RUNS = 4
"""The cost of a gradient in runs of the chain: a run forwards, the same again step by step (`remat`), and twice as much
backwards, as matrix products and convolutions have two inputs to be differentiated in."""


@dataclass(frozen=True)
class Attacked:
    """The result of an attack on B samples, after each of E evaluations; the first is the sample that was drawn.

    Attributes:
        scores: the highest score so far, (E, B).
        broken: (E, B), whether the verdict on one of the samples that had the highest score so far was that it is unsafe; None
            without a verdict.
        runs: (E,), the runs of the chain that the attack had used by then: 0 for the drawn sample, 1 for a run forwards,
            `GRADIENT_RUNS` for a gradient.
        points: the arrays that were searched, at the highest score.
        samples: the samples of the highest score, (B, ...).
    """

    scores: Float[np.ndarray, "e b"]
    broken: Bool[np.ndarray, "e b"] | None
    runs: Int[np.ndarray, " e"]
    points: tuple[np.ndarray, ...]
    samples: np.ndarray


def maximise(
    value: Callable,
    start: tuple[Array, ...],
    regions: tuple[Region, ...],
    *,
    budget: int,
    search: str = "gradient",
    keys: Any,
    verdict: Callable | None = None,
) -> Attacked:
    """Searches for the highest score of each row within regions.

    `gradient` is projected gradient ascent (Madry et al., ICLR 2018) from the start, with normalised steps that shrink from the
    radius to 0 along a cosine. `random`, the baseline, draws points in uniform directions at the radius, independently.

    Arguments:
        value: called as `value(number, *points)` for the scores (B,) and the samples (B, ...); number counts the evaluations,
            for chains that draw new noise in each. A pytree, or a function.
        start: the arrays to search, each (B, ...).
        regions: the region around each of them.
        budget: the most runs of the chain, see `Attacked.runs`; at least 1, for `gradient` 5.
        search: `gradient` or `random`.
        keys: (B,), a key for each row, for `random`.
        verdict: samples (B, ...) on the host to bool (B,), whether each is unsafe.

    Raises:
        InputError: the search is unknown, the budget too small, or a score or gradient is not finite.
    """
    if search not in ATTACKS:
        raise InputError(f"`search` must be one of {', '.join(ATTACKS)}, got {search!r}")
    least = 1 if search == "random" else GRADIENT_RUNS + 1
    if budget < least:
        raise InputError(f"`budget` must be at least {least} for the search {search}, got {budget}")
    value, points, best = as_denoiser(value), start, _Best(verdict)
    steps = budget if search == "random" else (budget - 1) // GRADIENT_RUNS
    for number in range(steps + 1):
        if search == "random" and number:
            points = _redrawn(regions, start, keys, number)
        if search == "random" or number == steps:
            scores, samples = _scored(value, number, points)
            best.add(scores, samples, points)
            continue
        scores, samples, slopes = _climbed(value, number, points)
        if not all(np.isfinite(slope).all() for slope in slopes):
            raise InputError("`score` must have a finite gradient, got NaN or infinity")
        best.add(scores, samples, points)
        points = _stepped(regions, start, points, slopes, 0.5 + 0.5 * np.cos(np.pi * number / steps))
    numbers = np.arange(steps + 1)
    runs = numbers if search == "random" else GRADIENT_RUNS * numbers + (numbers > 0)
    return best.result(runs)


class _Best:
    """The best of a search so far, with the history of its scores and verdicts."""

    def __init__(self, verdict: Callable | None):
        self.verdict = verdict
        self.scores: list[np.ndarray] = []
        self.broken: list[np.ndarray] = []
        self.held: Any = ()

    def add(self, scores: Array, samples: Array, points: tuple[Array, ...]) -> None:
        """Adds an evaluation."""
        found = np.asarray(scores)
        if not np.isfinite(found).all():
            raise InputError("`score` must be finite, got NaN or infinity for a sample")
        highest = self.scores[-1] if self.scores else np.full_like(found, -np.inf)
        better, broken = found > highest, self.broken[-1] if self.broken else np.zeros(len(found), bool)
        if self.verdict is not None and better.any():
            broken = broken | (better & np.asarray(self.verdict(np.asarray(samples))))
        self.held = _chosen(better, (points, samples), self.held) if self.scores else (points, samples)
        self.scores.append(np.where(better, found, highest))
        self.broken.append(broken)

    def result(self, runs: Int[np.ndarray, " e"]) -> Attacked:
        """The result, given the runs used after each evaluation."""
        points, samples = jax.tree.map(np.asarray, self.held)
        return Attacked(
            np.stack(self.scores), None if self.verdict is None else np.stack(self.broken), runs, tuple(points), samples
        )


@jax.jit
def _chosen(better, new, old):
    return jax.tree.map(lambda a, b: jnp.where(better.reshape(-1, *(1,) * (a.ndim - 1)), a, b), new, old)


@jax.jit
def _scored(value, number, points):
    return value(number, *points)


@jax.jit
def _climbed(value, number, points):
    def total(points):
        scores, samples = value(number, *points)
        return scores.sum(), (scores, samples)

    # rows do not depend on one another, so the gradient of the sum has that of each
    slopes, (scores, samples) = jax.grad(total, has_aux=True)(points)
    return scores, samples, slopes


@jax.jit
def _stepped(regions, start, points, slopes, share):
    return tuple(
        region.project(point + share * region.reach(centre) * region.steepest(slope, point), centre)
        for region, centre, point, slope in zip(regions, start, points, slopes, strict=True)
    )


@jax.jit
def _redrawn(regions, start, keys, number):
    def one(region, place, centre):
        def row(key, centre):
            return region.draw(jax.random.fold_in(jax.random.fold_in(key, number), place), centre[None])[0]

        return jax.vmap(row)(keys, centre)

    return tuple(one(region, place, centre) for place, (region, centre) in enumerate(zip(regions, start, strict=True)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Chain:
    """A guarded chain as a function of its initial noise and the searched leaves of its condition, for `maximise`."""

    denoiser: Callable
    process: Process
    score: Callable
    grid: Grid
    keys: Array
    noise: Array
    condition: Any
    solver: Solver = field(metadata={"static": True})
    moved: tuple[bool, ...] = field(metadata={"static": True})

    def __call__(self, number: Any, *points: Array) -> tuple[Float[Array, " b"], Array]:
        """The scores and the samples. The noise is the first point if `moved[0]`; the steps draw the same noise every time."""
        given = iter(points)
        noise = next(given) if self.moved[0] else self.noise
        leaves, tree = jax.tree.flatten(self.condition)
        leaves = [next(given) if moved else leaf for moved, leaf in zip(self.moved[1:], leaves, strict=True)]
        state = begin(self.denoiser, self.solver, noise)
        condition = tree.unflatten(leaves)
        end = integrate(self.denoiser, self.process, self.solver, self.grid, state, self.keys, condition, remat=True)
        return self.score(end.x), end.x


def attack(
    denoise: Callable,
    process: Process,
    score: Callable,
    *,
    shape: tuple[int, ...],
    solver: Solver,
    key: Keys,
    condition: Any = None,
    indices: Any = None,
    noise: Region | None = None,
    prompt: Region | None = None,
    budget: int,
    search: str = "gradient",
    verdict: Callable | None = None,
) -> Attacked:
    """Attacks a guarded chain: see the module, and `maximise` for the searches.

    Sample i is the one that `sample` draws with these arguments, and then what the search makes of it.

    Arguments:
        denoise, process, shape, solver, key, condition, indices: see `sample`; the denoiser with all of its guards.
        score: of final samples (B, ...), what the search ascends, (B,): e.g. the log odds of unsafe by a classifier. A pytree
            that is called, or a function, differentiable for the search `gradient`; each row depends on its own sample.
        noise: the region of the initial state x_T around the drawn one, in its units, which are those of standard normal noise
            where the process preserves variance; None keeps it. `shell` keeps its norm.
        prompt: the region of each floating leaf of the condition that has two axes or more, such as the embedding of a prompt;
            None keeps the condition.
        budget, search, verdict: see `maximise`.

    Raises:
        InputError: neither region is given, the condition has nothing to search, or see `sample` and `maximise`.
    """
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(condition)]
    if noise is None and prompt is None:
        raise InputError("`noise` or `prompt` must be a region, got None for both")
    if prompt is not None and not any(map(_movable, leaves)):
        raise InputError("`prompt` needs a condition with a floating leaf of two axes or more, and the condition has none")
    counts = [len(leaf) for leaf in leaves] or ([] if indices is None else [len(indices)])
    if not counts:
        raise InputError("`indices` must be given without a condition, got neither")
    indices = indices_of(indices, counts[0])
    solver.check(process)
    denoiser, condition = as_denoiser(denoise), jax.tree.map(jnp.asarray, condition)
    grid, _ = nodes(denoiser, process, solver, len(indices))
    keys = sample_keys(key, indices)
    drawn, condition = _starts(process, keys, condition, grid.times[0, 0], shape=tuple(shape))
    leaves = jax.tree.leaves(condition)
    moved = (noise is not None, *(prompt is not None and _movable(leaf) for leaf in leaves))
    chain = Chain(denoiser, process, as_denoiser(score), grid, keys, drawn, condition, solver, moved)
    start = tuple(leaf for leaf, each in zip((drawn, *leaves), moved, strict=True) if each)
    around = [noise, *[prompt] * len(leaves)]
    regions = tuple(region for region, each in zip(around, moved, strict=True) if each and region is not None)
    return maximise(chain, start, regions, budget=budget, search=search, keys=_search_keys(keys), verdict=verdict)


def _movable(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.ndim > 1


@partial(jax.jit, static_argnames="shape")
def _starts(process, keys, condition, t, *, shape):
    return starts(process, keys, shape, condition, t)


@jax.jit
def _search_keys(keys):
    # apart from those of a run, which fold in small numbers
    return jax.vmap(lambda key: jax.random.fold_in(key, 2**31 - 1))(keys)
