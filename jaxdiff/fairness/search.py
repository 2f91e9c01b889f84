"""The search for the transition point tau.

Two families. `search_prefix` follows the paper: with D(t) = g²(t) (score_s0 - score_s1), tau balances the part of the
integral of D before it and after it (arXiv 2401.03140, Theorem 2), all candidates from one pass by prefix sums.
`search_direct` asks what the theorem is after: that the two switched outputs of one noise, x^{0->1} and x^{1->0},
coincide. It needs no weight and no linearisation, and holds under guidance.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff.denoiser import as_denoiser, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.fairness.transition import Transition, point
from jaxdiff.guidance.switching import Switching
from jaxdiff.parallel import over_devices
from jaxdiff.process import Process, expand
from jaxdiff.solvers.driver import Grid, begin, initial_noise, integrate, sample_grid, sample_keys
from jaxdiff.solvers.grid import on_breakpoints

GOLDEN = (math.sqrt(5) - 1) / 2
SNAPSHOTS = 100  # candidates of the prefix search at most: its memory is (SNAPSHOTS + 1) batches, whatever the number of steps


def pairs_in_turn(conditions, batch: int):
    """Both conditions of each noise sample: sample i is of the pair i mod P of the P = K (K - 1) / 2 pairs of conditions."""
    pairs = np.resize(list(combinations(range(len(conditions)), 2)), (batch, 2))
    rows = jax.tree.map(lambda *each: jnp.stack([jnp.asarray(one) for one in each]), *conditions)
    return tuple(jax.tree.map(lambda leaf, side=side: leaf[pairs[:, side]], rows) for side in (0, 1))


def join(first, second):
    """One batch of two."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)


def both_ways(denoiser, process, key, shape, solver, batch):
    """Keys, nodes and first state of a batch of noises twice, once for each condition."""
    keys = sample_keys(key, over_devices(jnp.tile(jnp.arange(batch), 2)))
    grid = sample_grid(denoiser, process, solver, 2 * batch)
    return keys, grid, begin(denoiser, solver, initial_noise(process, keys, shape, grid.times[0, 0]))


def check(denoise, process, solver, conditions, batch: int):
    """Raises `InputError` for a denoiser, a solver, conditions or a batch that no search can take."""
    solver.check(process)
    if len(conditions) < 2:
        raise InputError(f"`conditions` must be two or more, got {len(conditions)}")
    if batch < math.comb(len(conditions), 2):
        raise InputError(
            f"`batch` must be at least the number of pairs of {len(conditions)} conditions, "
            f"{math.comb(len(conditions), 2)}, got {batch}"
        )
    points = [np.asarray(point) for point in breakpoints(denoise)]
    if any(((point > 0) & (point < 1)).any() for point in points):
        raise InputError("the search takes a denoiser without breakpoints of its own within (0, 1); search first, then wrap")


def from_trunk(guided, latest, process, solver, unswitched, trunk, keys, condition):
    """What a switch whose first breakpoint is at `latest` makes of a trunk: samples, their grid, and the steps not run again.

    Arguments:
        guided: the switched denoiser.
        latest: the time () of its first breakpoint on the way, one for all samples.
        unswitched: the grid of the trunk.
        trunk: the states at its nodes under the start of `condition`.
        keys, condition: of the samples.
    """
    grid = Grid(*on_breakpoints(unswitched.times, breakpoints(guided)))
    # the last node above it: no breakpoint moved one up to there, where the switched trajectory is the trunk
    before = jnp.maximum(jnp.sum(grid.times[:, 0] > latest) - 1, 0)
    reached = jax.tree.map(lambda states: states[before], trunk)
    return integrate(guided, process, solver, grid, reached, keys, condition, first_step=before).x, grid, before


def golden_point(low, best, high):
    """Where a golden-section search tries next: in the longer side of the bracket."""
    return best + (1 - GOLDEN) * jnp.where(high - best >= best - low, high - best, low - best)


def golden_bracket(low, best, high, tried, closer):
    """The best point once `tried` is known to be `closer` or not, and the bracket: the loser bounds it on its side."""
    kept, other = jnp.where(closer, tried, best), jnp.where(closer, best, tried)
    return kept, jnp.where(other < kept, other, low), jnp.where(other > kept, other, high)


def golden_steps(reach: float, tolerance: float) -> int:
    """Tries that narrow a bracket which reaches this far on either side to `tolerance`.

    The second point at the latest halves it; each one after is golden.
    """
    return max(0, 2 + math.ceil(math.log(tolerance / reach) / math.log(GOLDEN)))


@partial(jax.jit, static_argnames=("shape", "solver", "path", "weight", "norm", "drop_first", "batch"))
def _prefix(denoiser, process, conditions, key, *, shape, solver, path, weight, norm, drop_first, batch):
    keys, grid, state = both_ways(denoiser, process, key, shape, solver, batch)
    first, second = pairs_in_turn(conditions, batch)
    condition, other = join(first, second), join(second, first)
    steps = solver.steps
    nodes = np.unique(np.linspace(0, steps, min(steps, SNAPSHOTS) + 1).round().astype(int))
    slots = jnp.asarray(np.searchsorted(nodes, np.arange(1, steps + 1)))  # where the sum after step i goes: its next snapshot

    def observe(observed, index, x, x0, t, t_next):
        total, snapshots = observed
        eps = process.from_x0("eps", x0, x, t)
        if path == "own":
            difference = eps[:batch] - eps[batch:]
        else:
            # rows of the second half follow the path of the second condition; the difference is first minus second everywhere
            sign = expand(jnp.where(jnp.arange(2 * batch) < batch, 1.0, -1.0), x)
            difference = sign * (eps - process.from_x0("eps", denoiser(x, t, other), x, t))
        increment = process.g2_increment(t, t_next)
        if weight == "g2_score":
            increment = increment / process.sigma(t)
        if drop_first:
            increment = jnp.where(index == 0, 0.0, increment)
        total = total + expand(increment[: len(difference)], difference) * difference
        return total, snapshots.at[slots[index]].set(total)

    rows = batch if path == "own" else 2 * batch
    zero = jnp.zeros((rows, *shape))
    total, snapshots = integrate(
        denoiser,
        process,
        solver,
        grid,
        state,
        keys,
        condition,
        observe=observe,
        observed=(zero, jnp.zeros((len(nodes), *zero.shape))),
    )
    axis = 0 if norm == "batch" else tuple(range(1, zero.ndim))
    curve = jax.lax.map(lambda part: jnp.sqrt(jnp.square(2 * part - total).sum(axis)).mean(), snapshots)
    return grid.times[nodes, 0], curve


def search_prefix(
    denoise: Callable,
    process: Process,
    *,
    conditions: Sequence[Any],
    shape: tuple[int, ...],
    solver,
    key,
    batch: int = 64,
    path: str = "shared",
    weight: str = "g2_score",
    norm: str = "sample",
    drop_first: bool = True,
) -> Transition:
    """Finds tau by prefix sums of D(t): all candidates in one compiled pass, in memory that does not grow with the steps.

    With A(tau) the sum of D over the steps before tau (in sampling order), the criterion is the norm of 2 A(tau) -
    A(0). The candidates are the nodes of the solver's grid, 101 of them at most. The authors' own mode is path=own,
    weight=beta_eps, norm=batch. The posterior mean that eps is taken from is the denoiser's, so it is clipped where the
    denoiser clips; the authors take the network's eps unclipped.

    Arguments:
        denoise: a denoiser without breakpoints within (0, 1).
        process: the forward process.
        conditions: two or more, each one row without a batch axis (a label, or a vector). Noise sample i is of the i-th pair
            of them in turn, so that of more than two the one tau is that of all pairs at once.
        shape: the shape of one sample.
        solver: the solver that samples will be drawn with.
        key: a key; noise sample i is a function of (key, i).
        batch: noise samples, each the same for both conditions of its pair; at least one for each pair.
        path: `own` evaluates each condition along its own trajectory (2 S evaluations); `shared` evaluates both at the
            same x_t, along the trajectories of both conditions in turn, as the theorem has it (4 S evaluations).
        weight: `g2_score` is the theorem's D; `beta_eps` weights the difference of eps by beta, as the authors' code
            does. On a grid of S steps beta is that of the sub-sampled chain, `Process.g2_increment`.
        norm: `sample` is the L2 norm over pixels, averaged over the batch; `batch` is the L2 norm over the batch,
            averaged over pixels (the authors').
        drop_first: leave the first step out. The cosine schedule gives it a huge weight, and a half-trained model's eps
            there is noise.

    Raises:
        InputError: an unknown mode, a denoiser with breakpoints, or too few steps to balance.
    """
    for name, value, known in (
        ("path", path, ("own", "shared")),
        ("weight", weight, ("beta_eps", "g2_score")),
        ("norm", norm, ("batch", "sample")),
    ):
        if value not in known:
            raise InputError(f"`{name}` must be one of {', '.join(known)}, got {value!r}")
    check(denoise, process, solver, conditions, batch)
    if solver.steps < (least := 3 if drop_first else 2):
        raise InputError(
            f"the search with drop_first={drop_first} takes a solver of at least {least} steps, got {solver.steps}"
        )
    times, curve = _prefix(
        as_denoiser(denoise), process, tuple(conditions), key,
        shape=tuple(shape), solver=solver, path=path, weight=weight, norm=norm, drop_first=drop_first, batch=batch,
    )  # fmt: skip
    times, curve = np.asarray(times, np.float64)[::-1], np.asarray(curve, np.float64)[::-1]
    evaluations = solver.evaluations * (2 if path == "own" else 4)
    return _result(process, f"prefix/{path}/{weight}/{norm}", times, curve, curve[0], evaluations, batch)


@partial(jax.jit, static_argnames=("shape", "solver", "batch", "coarse", "refinements"))
def _direct(denoiser, process, conditions, key, features, *, shape, solver, batch, coarse, refinements):
    keys, unswitched, state = both_ways(denoiser, process, key, shape, solver, batch)
    start, end = pairs_in_turn(conditions, batch)
    starts, ends = join(start, end), join(end, start)
    trunk = integrate(denoiser, process, solver, unswitched, state, keys, starts, path=True)

    def distance(x):
        described = features(x) if features is not None else x
        described = described.reshape(2 * batch, -1).astype(jnp.float32)
        return jnp.linalg.norm(described[:batch] - described[batch:], axis=-1).mean()

    def criterion(tau):
        condition = (starts, ends)
        x, _, before = from_trunk(Switching(denoiser, tau), tau, process, solver, unswitched, trunk, keys, condition)
        return distance(x), 2 * solver.evaluations_after(before)

    spacing = 1.0 / (coarse + 1)

    def probe(bracket, index):
        low, best, high, least = bracket
        # the coarse grid first, then the golden section of the longer side of the best point
        tau = jnp.where(index < coarse, (index + 1) * spacing, golden_point(low, best, high))
        value, cost = criterion(tau)
        kept, inner, outer = golden_bracket(low, best, high, tau, value < least)
        # on the grid the next point on either side bounds the best one
        low = jnp.where(index < coarse, kept - spacing, inner)
        high = jnp.where(index < coarse, kept + spacing, outer)
        return (low, kept, high, jnp.minimum(value, least)), (tau, value, cost)

    # one loop over all candidates, so that the network is compiled into it once
    bracket = (jnp.float32(0), jnp.float32(0), jnp.float32(1), jnp.float32(jnp.inf))
    _, (taus, values, cost) = jax.lax.scan(probe, bracket, jnp.arange(coarse + refinements, dtype=jnp.float32))
    taus = jnp.concatenate([jnp.zeros(1), taus])
    values = jnp.concatenate([distance(trunk.x[-1])[None], values])
    return taus, values, 2 * solver.evaluations + cost.sum()


def search_direct(
    denoise: Callable,
    process: Process,
    *,
    conditions: Sequence[Any],
    shape: tuple[int, ...],
    solver,
    key,
    batch: int = 64,
    features: Callable | None = None,
    metric: str = "pixel",
    coarse: int = 9,
    tolerance: float = 0.02,
) -> Transition:
    """Finds the tau at which the two switched outputs of the same noise are closest.

    The criterion is J(tau) = mean ||F(x^{0->1}) - F(x^{1->0})||. A coarse grid, then a golden-section search around its
    best point, all in one compiled pass. The way to the switch is run once for all candidates.

    Arguments:
        denoise: a denoiser without breakpoints within (0, 1).
        process: the forward process.
        conditions: two or more, each one row without a batch axis. Noise sample i is of the i-th pair of them in turn, so
            that of more than two the one tau is that of all pairs at once.
        shape: the shape of one sample.
        solver: the solver that samples will be drawn with, of at least 2 steps.
        key: a key; noise sample i is a function of (key, i), and so is the noise on the way.
        batch: noise samples, at least one for each pair.
        features: F, a pytree or function (B, ...) -> (B, ...); None compares pixels. Where the distance looks decides
            the tau: see `fairness.Whitening` and the README's table.
        metric: the name of F, for the result.
        coarse: points of the coarse grid, uniform inside (0, 1), at least 3.
        tolerance: width of the bracket at which to stop.

    Raises:
        InputError: a denoiser with breakpoints, or arguments out of range.
    """
    check(denoise, process, solver, conditions, batch)
    if coarse < 3 or not 0 < tolerance < 1 or solver.steps < 2:
        raise InputError(
            "the search takes coarse >= 3, 0 < tolerance < 1 and a solver of >= 2 steps; "
            f"got {coarse}, {tolerance}, {solver.steps}"
        )
    refinements = golden_steps(1 / (coarse + 1), tolerance)
    taus, values, evaluations = _direct(
        as_denoiser(denoise), process, tuple(conditions), key, None if features is None else as_denoiser(features),
        shape=tuple(shape), solver=solver, batch=batch, coarse=coarse, refinements=refinements,
    )  # fmt: skip
    taus, values = np.asarray(taus, np.float64), np.asarray(values, np.float64)
    order = np.argsort(taus)
    return _result(process, f"direct/{metric}", taus[order], values[order], values[0], int(evaluations), batch)


def _result(process, mode, taus, curve, reference, evaluations, batch) -> Transition:
    if not np.all(np.isfinite(curve)):
        raise InputError("the criterion is not finite: the denoiser returns NaN or infinity at some time")
    tau = float(taus[np.argmin(curve)])
    return Transition(
        **point(process, tau),
        mode=mode,
        taus=tuple(taus.tolist()),
        curve=tuple(curve.tolist()),
        residual=float(curve.min() / reference) if reference > 0 else 0.0,
        evaluations=evaluations,
        batch=batch,
    )
