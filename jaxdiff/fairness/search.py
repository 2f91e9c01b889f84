"""The search for the transition point tau.

Two methods. `search_prefix` follows the paper: with D(t) = g²(t) (score_s0 - score_s1), tau balances the integrals of D before
and after it (arXiv 2401.03140, Theorem 2), for all candidates in one pass by prefix sums. `search_direct` minimises the
distance between the two switched outputs of one noise sample, x^{0->1} and x^{1->0}, of which the theorem's condition is a
linearisation. It needs no weight, and is valid under guidance.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.fairness._switched_pairs import (
    begin_pairs,
    check_search,
    condition_pairs,
    mean_squared_distance,
    switch_from_trajectory,
)
from jaxdiff.fairness.transition import Transition, time_fields
from jaxdiff.guidance.switching import Switching
from jaxdiff.parallel import broadcast_from_first, gather, stacked, unstacked
from jaxdiff.process import Process, expand
from jaxdiff.solvers.base import Solver
from jaxdiff.solvers.driver import integrate

SNAPSHOTS = 100
"""Maximum number of candidates of the prefix search, whose memory is (SNAPSHOTS + 1) batches for any number of steps."""


def _vertex(values: Float[Array, " n"]) -> Float[Array, ""]:
    """The vertex of the parabola through the minimum of the values at 0, 1, ... and its two neighbours.

    Of equal values the first is taken as the minimum, so that the one before it is larger: the vertex exists and is within 1/2
    of the minimum. A minimum at 0 is returned as it is.
    """
    least = jnp.argmin(values)
    left, right = values[least - 1] - values[least], values[least + 1] - values[least]
    return least + jnp.where(least > 0, 0.5 * (left - right) / (left + right), 0)


@partial(jax.jit, static_argnames=("shape", "solver", "path", "weight", "norm", "drop_first", "batch"))
def _prefix(denoiser, process, conditions, key, *, shape, solver, path, weight, norm, drop_first, batch):
    first, second = condition_pairs(conditions, batch)
    both = stacked(first, second), stacked(second, first)
    keys, grid, state, (condition, other) = begin_pairs(denoiser, process, key, shape, solver, batch, both)
    steps = solver.steps
    nodes = np.unique(np.linspace(0, steps, min(steps, SNAPSHOTS) + 1).round().astype(int))
    slots = jnp.asarray(np.searchsorted(nodes, np.arange(1, steps + 1)))  # the snapshot that the sum after step i belongs to

    def observe(observed, index, x, x0, t, t_next):
        total, snapshots = observed
        eps = process.from_x0("eps", x0, x, t)
        if path == "own":
            one, two = unstacked(eps, 2)
            difference, t, t_next = one - two, *(unstacked(time, 2)[0] for time in (t, t_next))
        else:
            # rows of the second half follow the trajectory of the second condition; the difference is always first minus second
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
    solver: Solver,
    key: Array,
    batch: int = 64,
    path: str = "shared",
    weight: str = "g2_score",
    norm: str = "sample",
    drop_first: bool = True,
) -> Transition:
    """Finds tau by prefix sums of D(t): all candidates in one compiled pass, in memory independent of the number of steps.

    With A(tau) the sum of D over the steps before tau (in sampling order), the criterion is the norm of 2 A(tau) - A(0). The
    candidates are at most 101 nodes of the solver's grid. The authors' code corresponds to path=own, weight=beta_eps,
    norm=batch, except that eps is computed from the denoiser's posterior mean, which may be clipped; theirs is unclipped.

    Arguments:
        denoise: a denoiser without breakpoints within (0, 1).
        process: the forward process.
        conditions: two or more, each one row without a batch axis (a label, or a vector). Noise sample i is assigned the pair
            i mod P of the P pairs; for more than two conditions the one tau is that of all pairs together.
        shape: the shape of one sample.
        solver: the solver that samples will be drawn with, of S steps.
        key: a key; noise sample i is a function of (key, i).
        batch: noise samples, each the same for both conditions of its pair; at least one for each pair.
        path: `own` evaluates each condition along its own trajectory (2 S evaluations); `shared` evaluates both at the same
            x_t, along the trajectories of both conditions, as in the theorem (4 S evaluations).
        weight: `g2_score` is the theorem's D; `beta_eps` weights the difference of eps by beta, as in the authors' code. On a
            grid of S steps beta is that of the sub-sampled chain, `Process.g2_increment`.
        norm: `sample` is the L2 norm over pixels, averaged over the batch; `batch` is the L2 norm over the batch, averaged
            over pixels (the authors' choice).
        drop_first: leave out the first step, which the cosine schedule weights heavily and where the eps of a model that is not
            fully trained is mostly noise.

    Raises:
        InputError: an unknown mode, a denoiser with breakpoints, or too few steps.
    """
    for name, value, known in (
        ("path", path, ("own", "shared")),
        ("weight", weight, ("beta_eps", "g2_score")),
        ("norm", norm, ("batch", "sample")),
    ):
        if value not in known:
            raise InputError(f"`{name}` must be one of {', '.join(known)}, got {value!r}")
    check_search(denoise, process, solver, conditions, batch)
    if solver.steps < (least := 3 if drop_first else 2):
        raise InputError(
            f"the search with drop_first={drop_first} takes a solver of at least {least} steps, got {solver.steps}"
        )
    times, curve = _prefix(
        as_denoiser(denoise), process, tuple(conditions), key,
        shape=tuple(shape), solver=solver, path=path, weight=weight, norm=norm, drop_first=drop_first, batch=batch,
    )  # fmt: skip
    times, curve = (np.asarray(values, np.float64)[::-1] for values in broadcast_from_first(gather((times, curve))))
    evaluations = solver.evaluations * (2 if path == "own" else 4)
    return _result(process, f"prefix/{path}/{weight}/{norm}", times, curve, int(curve.argmin()), evaluations, batch)


@partial(jax.jit, static_argnames=("shape", "solver", "batch", "coarse"))
def _direct(denoiser, process, conditions, key, features, *, shape, solver, batch, coarse):
    start, end = condition_pairs(conditions, batch)
    condition = stacked(start, end), stacked(end, start)
    keys, unswitched, state, condition = begin_pairs(denoiser, process, key, shape, solver, batch, condition)
    trajectory = integrate(denoiser, process, solver, unswitched, state, keys, condition[0], path=True)

    def square(x):
        return mean_squared_distance(features(x) if features is not None else x)

    def probe(squares, index):
        # the grid first, the vertex last: its value replaces that of the end
        tau = jnp.where(index <= coarse, index, _vertex(squares)) / (coarse + 1)
        switched = Switching(denoiser, tau)
        x, _, before = switch_from_trajectory(switched, tau, process, solver, unswitched, trajectory, keys, condition)
        value = square(x)
        return squares.at[index].set(value), (tau, value, 2 * solver.evaluations_after(before))

    # at 0 and at 1 nothing is switched: both have the value of the unswitched trajectory
    reference = square(trajectory.x[-1])
    # one loop over all candidates, so that the network is compiled once
    _, (taus, squares, cost) = jax.lax.scan(probe, jnp.full(coarse + 2, reference), jnp.arange(1, coarse + 2))
    taus, squares = jnp.append(0.0, taus), jnp.append(reference, squares)
    return taus, jnp.sqrt(squares), 2 * solver.evaluations + cost.sum()


def search_direct(
    denoise: Callable,
    process: Process,
    *,
    conditions: Sequence[Any],
    shape: tuple[int, ...],
    solver: Solver,
    key: Array,
    batch: int = 64,
    features: Callable | None = None,
    metric: str = "pixel",
    coarse: int = 11,
) -> Transition:
    """Finds the tau at which the two switched outputs of the same noise are closest.

    The criterion is J(tau) = sqrt(mean ||F(x^{0->1}) - F(x^{1->0})||²), the mean over noise samples. It is evaluated on a
    coarse grid; tau is the vertex of the parabola through J² at the best grid point and its neighbours, at most half a spacing
    away. Where the difference is linear in tau for each noise sample, a_i + b_i tau, J² is a parabola and tau its exact
    minimum. J is flat near its minimum, so that noise decides between close candidates there; the parabola uses points on both
    sides. The ends 0 and 1 are grid points without cost, since neither switches. If no other point is better, tau is 0. All
    candidates are evaluated in one compiled pass, in which the trajectory before the switch is computed once.

    Arguments:
        denoise: a denoiser without breakpoints within (0, 1).
        process: the forward process.
        conditions: two or more, each one row without a batch axis. Noise sample i is assigned the pair i mod P of the P pairs;
            for more than two conditions the one tau is that of all pairs together.
        shape: the shape of one sample.
        solver: the solver that samples will be drawn with, of at least 2 steps.
        key: a key; noise sample i, with the noise of its steps, is a function of (key, i).
        batch: noise samples, at least one for each pair.
        features: F, a pytree or function (B, ...) -> (B, ...); None compares pixels. tau depends on F: see `Whitening` and
            `ClassifierFeatures`.
        metric: the name of F, for the result.
        coarse: points of the coarse grid, uniform inside (0, 1), at least 3. Where J² is not a parabola the error of tau is of
            second order in their spacing.

    Raises:
        InputError: a denoiser with breakpoints, or arguments out of range.
    """
    check_search(denoise, process, solver, conditions, batch)
    if coarse < 3 or solver.steps < 2:
        raise InputError(f"the search takes coarse >= 3 and a solver of >= 2 steps; got {coarse}, {solver.steps}")
    found = _direct(
        as_denoiser(denoise), process, tuple(conditions), key, None if features is None else as_denoiser(features),
        shape=tuple(shape), solver=solver, batch=batch, coarse=coarse,
    )  # fmt: skip
    taus, curve, evaluations = broadcast_from_first(gather(found))
    # the vertex is the last; it may coincide with a point of the grid
    taus, first, place = np.unique(np.asarray(taus, np.float64), return_index=True, return_inverse=True)
    curve = np.asarray(curve, np.float64)[first]
    return _result(process, f"direct/{metric}", taus, curve, int(place[-1]), int(evaluations), batch)


def _result(
    process: Process,
    mode: str,
    taus: Float[np.ndarray, " n"],
    curve: Float[np.ndarray, " n"],
    chosen: int,
    evaluations: int,
    batch: int,
) -> Transition:
    """The result of a search that chose the entry `chosen` of `taus`; the curve begins at tau = 0."""
    if not np.all(np.isfinite(curve)):
        raise InputError("the criterion is not finite: the denoiser returns NaN or infinity at some time")
    return Transition(
        **time_fields(process, float(taus[chosen])),
        mode=mode,
        taus=tuple(taus.tolist()),
        curve=tuple(curve.tolist()),
        residual=float(curve[chosen] / curve[0]) if curve[0] > 0 else 0.0,
        evaluations=evaluations,
        batch=batch,
    )
