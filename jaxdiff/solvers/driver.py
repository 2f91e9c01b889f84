"""The one sampling loop: times and keys laid out before it, nothing decided inside."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxdiff.denoiser import as_denoiser, breakpoints, evaluate, initial_memory, nest
from jaxdiff.errors import InputError
from jaxdiff.parallel import gathered, over_devices, whole
from jaxdiff.process import Process
from jaxdiff.solvers.base import Node, Solver, State
from jaxdiff.solvers.grid import on_breakpoints


def sample_keys(key, indices: Int[Array, " b"]) -> Array:
    """A key per sample, a function of (key, index) alone."""
    return jax.vmap(partial(jax.random.fold_in, key))(indices)


def initial_noise(process: Process, keys: Array, shape: tuple[int, ...], t=1.0) -> Array:
    """The state of each sample at its first node `t`, (B, *shape), from its own key."""
    return jax.vmap(lambda key: process.prior(jax.random.fold_in(key, 0), shape, t))(keys)


class Grid(NamedTuple):
    """The nodes of each sample.

    Attributes:
        times: (S + 1, B), falling.
        restarts: (S + 1, B), whether a breakpoint of the denoiser lies on the node.
    """

    times: Float[Array, "s b"]
    restarts: Bool[Array, "s b"]


def sample_grid(denoiser: Callable, process: Process, solver: Solver, count: int) -> Grid:
    """The nodes of `count` samples, with one on each breakpoint of the denoiser."""
    times = jnp.broadcast_to(solver.times(process)[:, None], (solver.steps + 1, count))
    return Grid(*on_breakpoints(times, breakpoints(denoiser)))


def evaluations(denoise: Callable, process: Process, solver: Solver) -> int:
    """Evaluations of the innermost denoiser that one sample costs, under guidances that are the same for all samples."""
    denoiser = as_denoiser(denoise)
    times = np.asarray(_grid(denoiser, process, solver=solver, count=1).times)[:-1, 0]
    left = [solver.evaluations_after(step) for step in range(solver.steps)] + [0]
    each = [before - after for before, after in zip(left, left[1:], strict=False)]
    for guidance in nest(denoiser):
        each = [count * guidance.multiple(float(t)) for count, t in zip(each, times, strict=True)]
    return sum(each)


def begin(denoiser: Callable, solver: Solver, x: Array) -> State:
    """The state at the first node."""
    return State(x, solver.history(x), initial_memory(denoiser, x))


def integrate(
    denoiser: Callable,
    process: Process,
    solver: Solver,
    grid: Grid,
    state: State,
    keys: Array,
    condition: Any,
    *,
    first_step: Int[Array, ""] | None = None,
    path: bool = False,
    observe: Callable | None = None,
    observed: Any = None,
) -> Any:
    """Runs the solver over the grid. Pure; call it under jit.

    Arguments:
        denoiser: the (guided) denoiser.
        process: the forward process.
        solver: a solver.
        grid: the nodes.
        state: the state at the first node, or at node `first_step`.
        keys: (B,) keys of the samples; the noise of step i comes from fold_in(key, i + 1).
        condition: the condition, with leading axis B.
        first_step: skip the steps before this one (it may be traced): `state` is the one at that node.
        path: return all states.
        observe: called at each step as `observe(observed, index, x, x0, t, t_next)`, gives the next `observed`: what a
            search sums up on the way. x0 is the first posterior mean that the step evaluates, at (x, t): those of the node,
            or what churn made of them.
        observed: its first value, a pytree of arrays.

    Returns:
        The state at the last node, or with `path` the states at all nodes, each leaf with a leading axis S + 1; with
        `observe`, the last `observed` instead.
    """

    def advance(carry, index, t, t_next, restart):
        (x, history, memory), observed = carry
        step_keys = jax.vmap(lambda key: jax.random.fold_in(key, index + 1))(keys)

        def noise(draw: int) -> Array:
            one = lambda key: jax.random.normal(jax.random.fold_in(key, draw) if draw else key, x.shape[1:], x.dtype)  # noqa: E731
            return jax.vmap(one)(step_keys)

        seen = []

        def denoise(x, t):
            x0, remembered = evaluate(denoiser, x, t, condition, memory)
            seen.append((x, x0, t, remembered))
            return x0

        stepped = solver.step(process, denoise, x, Node(t, t_next, restart), noise, history)
        *first, remembered = seen[0]
        if observe is not None:
            observed = observe(observed, index, *first, t_next)
        state = stepped._replace(memory=remembered)
        return jax.tree.map(lambda new, old: new.astype(old.dtype), state, State(x, history, memory)), observed

    def body(carry, inputs):
        if first_step is None:
            carry = advance(carry, *inputs)
        else:
            carry = jax.lax.cond(inputs[0] >= first_step, advance, lambda carry, *_: carry, carry, *inputs)
        return carry, carry[0] if path else None

    steps = (jnp.arange(grid.times.shape[0] - 1), grid.times[:-1], grid.times[1:], grid.restarts[:-1])
    (last, observed), states = jax.lax.scan(body, (state, observed), steps)
    if observe is not None:
        return observed
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), state, states) if path else last


@partial(jax.jit, static_argnames=("solver", "count"))
def _grid(denoiser, process, *, solver, count):
    return whole(sample_grid(denoiser, process, solver, count))


@partial(jax.jit, static_argnames=("shape", "solver", "path", "remembered"))
def _sample(denoiser, process, grid, condition, key, indices, *, shape, solver, path, remembered):
    keys, grid = sample_keys(key, over_devices(indices)), whole(grid)
    # every sample starts at one time: no breakpoint moves the first node
    state = begin(denoiser, solver, initial_noise(process, keys, shape, grid.times[0, 0]))
    end = integrate(denoiser, process, solver, grid, state, keys, condition, path=path)
    x = end.x if path else over_devices(end.x)
    return (x, end.memory) if remembered else x


def _require_inside(grid: Grid, points: tuple[Array, ...]) -> None:
    """Raises `InputError` for a breakpoint where it could not act: between the grid's first node and 1, or outside [0, 1]."""
    for point in points:
        if isinstance(point, jax.core.Tracer) or isinstance(grid.times, jax.core.Tracer):
            continue
        first, values = float(grid.times[0, 0]), gathered(point)
        outside = (values < 0) | (values > 1) | ((values > first) & (values < 1))
        if outside.any():
            raise InputError(
                f"a breakpoint at t={float(values[outside].flat[0]):.3f} lies outside the grid, which goes from "
                f"t={first:.3f} to 0: take a spacing that begins at 1 (uniform, trailing), or t=1 itself"
            )


def sample(
    denoise: Callable,
    process: Process,
    *,
    shape: tuple[int, ...],
    solver,
    key,
    condition: Any = None,
    indices: Any = None,
    path: bool = False,
    remembered: bool = False,
) -> Any:
    """Draws samples.

    Compiled once for a shape, a batch size, a solver and a nest of guidances; everything else is an argument. Sample i
    is a function of (key, indices[i], denoiser, condition[i]) alone, up to float rounding: not of the batch that it is
    drawn in, nor of the devices: under `jax.set_mesh` of a mesh of `jaxdiff.parallel` the samples are dealt over them.

    Arguments:
        denoise: a denoiser, guided or not.
        process: the forward process.
        shape: the shape of one sample, e.g. (32, 32, 3).
        solver: a solver, e.g. `DDIM(50)`.
        key: a key; `jax.random.key(seed)`.
        condition: the condition, a pytree of arrays with leading axis B.
        indices: (B,) integers, by default 0 .. B - 1; needed where there is no condition to tell B.
        path: also return the states on the way.
        remembered: also return what the guidances that remember hold in the end: an entry for each, the outermost first.

    Returns:
        (B, *shape), or with `path` (S + 1, B, *shape), the initial noise first; with `remembered`, that and the memory, whose
        leaves have a leading axis as the samples'.

    Raises:
        InputError: no sample is asked for, the leaves of `condition` differ in their leading axis, the grid cannot hold the
            breakpoints, or the solver is none for this process.
    """
    denoiser, condition, indices = _checked(denoise, process, solver, condition, indices)
    # an argument, not a constant: a grid known while compiling is folded in other roundings than one that holds a breakpoint
    grid = _grid(denoiser, process, solver=solver, count=len(indices))
    _require_inside(grid, breakpoints(denoiser))
    return _sample(
        denoiser, process, grid, condition, key, indices, shape=tuple(shape), solver=solver, path=path, remembered=remembered
    )


def lowered(
    denoise: Callable, process: Process, *, shape: tuple[int, ...], solver, key, condition: Any = None, indices: Any = None
) -> jax.stages.Lowered:
    """The program that `sample` runs with these arguments, to be compiled and looked at; weights may be shapes alone."""
    denoiser, condition, indices = _checked(denoise, process, solver, condition, indices)
    grid = jax.eval_shape(partial(_grid, solver=solver, count=len(indices)), denoiser, process)
    return _sample.lower(
        denoiser, process, grid, condition, key, indices, shape=tuple(shape), solver=solver, path=False, remembered=True
    )


def _checked(denoise, process, solver, condition, indices):
    """The arguments as arrays; errors as of `sample`."""
    condition = jax.tree.map(jnp.asarray, condition)
    counts = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(condition)}
    counts |= set() if indices is None else {len(indices)}
    if len(counts) != 1 or counts & {0, None}:
        raise InputError(
            f"`condition` and `indices` must share one leading axis of at least 1; got {sorted(map(str, counts)) or 'neither'}"
        )
    solver.check(process)
    indices = jnp.arange(counts.pop()) if indices is None else jnp.asarray(indices, jnp.int32)
    return as_denoiser(denoise), condition, indices
