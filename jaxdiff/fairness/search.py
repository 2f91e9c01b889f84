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

from jaxdiff.denoiser import Memory, as_denoiser, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.fairness.transition import Transition, point
from jaxdiff.guidance.switching import Switching
from jaxdiff.parallel import gathered, of_first, over_devices, stacked, unstacked
from jaxdiff.process import Process, expand
from jaxdiff.solvers.driver import Grid, begin, initial_noise, integrate, sample_grid, sample_keys
from jaxdiff.solvers.grid import on_breakpoints

SNAPSHOTS = 100  # candidates of the prefix search at most: its memory is (SNAPSHOTS + 1) batches, whatever the number of steps


def pairs_in_turn(conditions, batch: int):
    """Both conditions of each noise sample: sample i is of the pair i mod P of the P = K (K - 1) / 2 pairs of conditions."""
    pairs = np.resize(list(combinations(range(len(conditions)), 2)), (batch, 2))
    rows = jax.tree.map(lambda *each: jnp.stack([jnp.asarray(one) for one in each]), *conditions)
    return tuple(jax.tree.map(lambda leaf, side=side: leaf[pairs[:, side]], rows) for side in (0, 1))


def both_ways(denoiser, process, key, shape, solver, batch, condition):
    """Keys, nodes and first state of a batch of noises twice, once for each condition; `condition` is that of both."""
    keys = sample_keys(key, over_devices(stacked(jnp.arange(batch), jnp.arange(batch))))
    grid = sample_grid(denoiser, process, solver, 2 * batch)
    return keys, grid, begin(denoiser, solver, initial_noise(process, keys, shape, condition, grid.times[0, 0]))


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
        guided: the switched denoiser, a guidance around that of the trunk which remembers nothing itself.
        latest: the time () of its first breakpoint on the way, one for all samples.
        unswitched: the grid of the trunk.
        trunk: the states at its nodes under the start of `condition`.
        keys, condition: of the samples.
    """
    grid = Grid(*on_breakpoints(unswitched.times, breakpoints(guided)))
    # the last node above it: no breakpoint moved one up to there, where the switched trajectory is the trunk
    before = jnp.maximum(jnp.sum(grid.times[:, 0] > latest) - 1, 0)
    reached = jax.tree.map(lambda states: states[before], trunk)
    # the trunk is of the denoiser inside
    reached = reached._replace(memory=Memory((), (reached.memory,)))
    return integrate(guided, process, solver, grid, reached, keys, condition, first_step=before).x, grid, before


def mean_square(x):
    """The mean over noises of the squared distance between the two batches of one (2 B, ...) that `stacked` made: ()."""
    first, second = unstacked(x.reshape(len(x), -1).astype(jnp.float32), 2)
    return jnp.square(first - second).sum(-1).mean()


def _vertex(values):
    """Where the parabola through the least of the values at 0, 1, ... and its two neighbours has its vertex.

    Of equals the first is the least, so that what is before it is larger: there is always a vertex, within 1/2 of the least.
    Where that is the first of all there is nothing before it, and it stands for the vertex.
    """
    least = jnp.argmin(values)
    left, right = values[least - 1] - values[least], values[least + 1] - values[least]
    return least + jnp.where(least > 0, 0.5 * (left - right) / (left + right), 0)


@partial(jax.jit, static_argnames=("shape", "solver", "path", "weight", "norm", "drop_first", "batch"))
def _prefix(denoiser, process, conditions, key, *, shape, solver, path, weight, norm, drop_first, batch):
    first, second = pairs_in_turn(conditions, batch)
    condition, other = stacked(first, second), stacked(second, first)
    keys, grid, state = both_ways(denoiser, process, key, shape, solver, batch, condition)
    steps = solver.steps
    nodes = np.unique(np.linspace(0, steps, min(steps, SNAPSHOTS) + 1).round().astype(int))
    slots = jnp.asarray(np.searchsorted(nodes, np.arange(1, steps + 1)))  # where the sum after step i goes: its next snapshot

    def observe(observed, index, x, x0, t, t_next):
        total, snapshots = observed
        eps = process.from_x0("eps", x0, x, t)
        if path == "own":
            one, two = unstacked(eps, 2)
            difference, t, t_next = one - two, *(unstacked(time, 2)[0] for time in (t, t_next))
        else:
            # rows of the second batch follow the path of the second condition; the difference is first minus second everywhere
            sign = expand(stacked(jnp.ones(batch), -jnp.ones(batch)), x)
            difference = sign * (eps - process.from_x0("eps", denoiser(x, t, other), x, t))
        increment = process.g2_increment(t, t_next)
        if weight == "g2_score":
            increment = increment / process.sigma(t)
        if drop_first:
            increment = jnp.where(index == 0, 0.0, increment)
        total = total + expand(increment, difference) * difference
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
    times, curve = (np.asarray(values, np.float64)[::-1] for values in of_first(gathered((times, curve))))
    evaluations = solver.evaluations * (2 if path == "own" else 4)
    return _result(process, f"prefix/{path}/{weight}/{norm}", times, curve, curve.argmin(), evaluations, batch)


@partial(jax.jit, static_argnames=("shape", "solver", "batch", "coarse"))
def _direct(denoiser, process, conditions, key, features, *, shape, solver, batch, coarse):
    start, end = pairs_in_turn(conditions, batch)
    condition = stacked(start, end), stacked(end, start)
    keys, unswitched, state = both_ways(denoiser, process, key, shape, solver, batch, condition[0])
    trunk = integrate(denoiser, process, solver, unswitched, state, keys, condition[0], path=True)

    def square(x):
        return mean_square(features(x) if features is not None else x)

    def probe(squares, index):
        # the grid first; the vertex is the last, so that it may leave its value where that of the end was
        tau = jnp.where(index <= coarse, index, _vertex(squares)) / (coarse + 1)
        x, _, before = from_trunk(Switching(denoiser, tau), tau, process, solver, unswitched, trunk, keys, condition)
        value = square(x)
        return squares.at[index].set(value), (tau, value, 2 * solver.evaluations_after(before))

    # at 0 and at 1 nothing is switched: either end has the value of the trunk
    reference = square(trunk.x[-1])
    # one loop over all candidates, so that the network is compiled into it once
    _, (taus, squares, cost) = jax.lax.scan(probe, jnp.full(coarse + 2, reference), jnp.arange(1, coarse + 2))
    taus, squares = jnp.append(0.0, taus), jnp.append(reference, squares)
    return taus, jnp.sqrt(squares), 2 * solver.evaluations + cost.sum()


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
    coarse: int = 11,
) -> Transition:
    """Finds the tau at which the two switched outputs of the same noise are closest.

    The criterion is J(tau) = sqrt(mean ||F(x^{0->1}) - F(x^{1->0})||²), over noises. It is asked at a coarse grid; tau is the
    vertex of the parabola through J² at the grid's best point and its neighbours, at most half a spacing from it. Where the
    difference is linear in tau for each noise, a_i + b_i tau, J² is a parabola and tau the least of all. J is so flat at its
    bottom that noise decides which of two points there is the lower; the parabola is drawn through points on its sides. The
    ends 0 and 1 are points of the grid that cost nothing: neither switches. Where no other is closer, tau is 0. All is one
    compiled pass, in which the way to the switch is run once for all candidates.

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
        coarse: points of the coarse grid, uniform inside (0, 1), at least 3. tau is exact but for what the square of their
            spacing leaves where J² is no parabola.

    Raises:
        InputError: a denoiser with breakpoints, or arguments out of range.
    """
    check(denoise, process, solver, conditions, batch)
    if coarse < 3 or solver.steps < 2:
        raise InputError(f"the search takes coarse >= 3 and a solver of >= 2 steps; got {coarse}, {solver.steps}")
    found = _direct(
        as_denoiser(denoise), process, tuple(conditions), key, None if features is None else as_denoiser(features),
        shape=tuple(shape), solver=solver, batch=batch, coarse=coarse,
    )  # fmt: skip
    taus, curve, evaluations = of_first(gathered(found))
    # the vertex is the last; on a point of the grid it is that point
    taus, first, place = np.unique(np.asarray(taus, np.float64), return_index=True, return_inverse=True)
    curve = np.asarray(curve, np.float64)[first]
    return _result(process, f"direct/{metric}", taus, curve, place[-1], int(evaluations), batch)


def _result(process, mode, taus, curve, chosen, evaluations, batch) -> Transition:
    """What a search found, whose curve begins at tau = 0, and which decided for the entry `chosen` of `taus`."""
    if not np.all(np.isfinite(curve)):
        raise InputError("the criterion is not finite: the denoiser returns NaN or infinity at some time")
    return Transition(
        **point(process, float(taus[chosen])),
        mode=mode,
        taus=tuple(taus.tolist()),
        curve=tuple(curve.tolist()),
        residual=float(curve[chosen] / curve[0]) if curve[0] > 0 else 0.0,
        evaluations=evaluations,
        batch=batch,
    )
