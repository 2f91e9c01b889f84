"""Pairs of samples that share their noise and switch between two conditions in opposite directions; used by the searches."""

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxdiff.denoiser import Memory, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.parallel import shard_batch, stacked, unstacked
from jaxdiff.process import Process
from jaxdiff.solvers.base import Solver
from jaxdiff.solvers.driver import Grid, State, begin, integrate, sample_grid, sample_keys, starts
from jaxdiff.solvers.grid import on_breakpoints


def check_search(denoise: Callable, process: Process, solver: Solver, conditions: Sequence[Any], batch: int) -> None:
    """Raises `InputError` for a denoiser with breakpoints, an unsuitable solver, too few conditions or too small a batch."""
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


def condition_pairs(conditions: Sequence[Any], batch: int) -> tuple[Any, Any]:
    """The two conditions of each noise sample: sample i has pair i mod P of the P = K (K - 1) / 2 pairs of conditions."""
    pairs = np.resize(list(combinations(range(len(conditions)), 2)), (batch, 2))
    rows = jax.tree.map(lambda *each: jnp.stack([jnp.asarray(one) for one in each]), *conditions)
    first, second = (jax.tree.map(lambda leaf, side=side: leaf[pairs[:, side]], rows) for side in (0, 1))
    return first, second


def begin_pairs(
    denoiser: Callable, process: Process, key: Array, shape: tuple[int, ...], solver: Solver, batch: int, condition: Any
) -> tuple[Array, Grid, State, Any]:
    """Keys, nodes, initial state and completed condition of a batch of noise samples, stacked twice: once for each condition.

    `condition` is that of the stacked batch, or a pair of them; the prior may depend on it, and complete it.
    """
    keys = sample_keys(key, shard_batch(stacked(jnp.arange(batch), jnp.arange(batch))))
    grid = sample_grid(denoiser, process, solver, 2 * batch)
    x, condition = starts(process, keys, shape, condition, grid.times[0, 0])
    return keys, grid, begin(denoiser, solver, x), condition


def switch_from_trajectory(
    switched: Callable,
    latest: Float[Array, ""],
    process: Process,
    solver: Solver,
    grid: Grid,
    trajectory: State,
    keys: Array,
    condition: Any,
) -> tuple[Float[Array, "b ..."], Grid, Int[Array, ""]]:
    """Samples of a switched denoiser, integrated from the last node at which they still equal an unswitched trajectory.

    Arguments:
        switched: the switched denoiser, a guidance without memory of its own around the denoiser of the trajectory.
        latest: the time () of its first breakpoint in sampling order, one for all samples.
        process: the forward process.
        solver: the solver.
        grid: the nodes of the unswitched trajectory.
        trajectory: the states at these nodes under the start of `condition`.
        keys, condition: of the samples.

    Returns:
        The samples, the nodes of the switched trajectories, and the number of steps that were not run again.
    """
    nodes = Grid(*on_breakpoints(grid.times, breakpoints(switched)))
    # the last node before the switch: no breakpoint has moved a node up to there
    before = jnp.maximum(jnp.sum(nodes.times[:, 0] > latest) - 1, 0)
    reached = jax.tree.map(lambda states: states[before], trajectory)
    # the memory of the trajectory is that of the denoiser inside `switched`
    reached = reached._replace(memory=Memory((), (reached.memory,)))
    return integrate(switched, process, solver, nodes, reached, keys, condition, first_step=before).x, nodes, before


def mean_squared_distance(x: Float[Array, "b ..."]) -> Float[Array, ""]:
    """The mean over noise samples of the squared distance between the two halves (B, ...) of a stacked batch (2 B, ...)."""
    first, second = unstacked(x.reshape(len(x), -1).astype(jnp.float32), 2)
    return jnp.square(first - second).sum(-1).mean()
