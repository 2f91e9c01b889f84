"""The sampling loop: times and keys are computed before it, without control flow inside."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from jaxdiff.denoiser import Guidance, as_denoiser, breakpoints, evaluate, initial_memory
from jaxdiff.errors import InputError
from jaxdiff.parallel import gather, replicate, shard_batch
from jaxdiff.process import Process
from jaxdiff.solvers.base import Node, Solver, State
from jaxdiff.solvers.grid import Start, on_breakpoints, require_room, start_at

Keys = PRNGKeyArray | Key[Array, " b"]
"""A key for all samples, or one for each."""


def sample_keys(key: Keys, indices: Int[Array, " b"]) -> Array:
    """A key per sample, a function of (key, index) alone; `key` is one for all, or one for each (B,)."""
    each = jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim
    return jax.vmap(jax.random.fold_in, (0 if each else None, 0))(key, indices)


def starts(process: Process, keys: Array, shape: tuple[int, ...], condition: Any, t: ArrayLike = 1.0) -> tuple[Array, Any]:
    """The state of each sample at its first node `t`, (B, *shape), and its condition, completed by what the process draws.

    Both are functions of the sample's own key and condition.
    """

    def one(key, row):
        key = jax.random.fold_in(key, 0)
        row = process.conditioned(key, shape, row)
        return process.prior(key, shape, row, t), row

    return jax.vmap(one)(keys, condition)


class Grid(NamedTuple):
    """The nodes of each sample.

    Attributes:
        times: (S + 1, B), decreasing.
        restarts: (S + 1, B), whether a breakpoint of the denoiser lies on the node.
    """

    times: Float[Array, "s b"]
    restarts: Bool[Array, "s b"]


def sample_grid(denoiser: Callable, process: Process, solver: Solver, count: int, start: Start | None = None) -> Grid:
    """The nodes of `count` samples, with one on each breakpoint of the denoiser below the start."""
    return _laid(breakpoints(denoiser), process, start, solver, count)


def _laid(points: tuple[Array, ...], process: Process, start: Start | None, solver: Solver, count: int) -> Grid:
    times = solver.times(process) if start is None else jnp.asarray(start.times)
    times = jnp.broadcast_to(times[:, None], (solver.steps + 1, count))
    return Grid(*on_breakpoints(times, points, 0 if start is None else jnp.asarray(start.first)))


# compiles the nodes alone, so that the weights of the denoiser may be abstract
_nodes = jax.jit(_laid, static_argnums=(3, 4))


class Init(NamedTuple):
    """Initial states of a run, in place of draws from the prior.

    Attributes:
        x: the states (B, ...), noised to the time t; finite, floating point.
        t: the time in (0, 1], one number for all samples. The solver's nearest node is moved onto it, and the steps from there
            on are run with their usual noise. If all nodes lie below t, as with spacings that start at a maximum noise level,
            the whole grid is run from x.
    """

    x: Float[Array, "b ..."] | Float[np.ndarray, "b ..."]
    t: float = 1.0


def steps_from(process: Process, solver: Solver, t: float) -> int:
    """The number of the solver's steps from the time t to the data, see `Init`.

    Raises:
        InputError: t is outside (0, 1].
    """
    require_time("t", t)
    start = _start(process, solver, t)
    return solver.steps - (0 if start is None else int(start.first))


def _start(process: Process, solver: Solver, t: float) -> Start | None:
    # a full run does not need the values of the nodes, so it can be traced
    return None if t == 1 else start_at(solver.times(process), t)


def require_time(name: str, t: float) -> None:
    """Raises `InputError` for a start time outside (0, 1]."""
    if not 0 < t <= 1:
        raise InputError(f"`{name}` must be a time in (0, 1], got {t}")


def evaluations(denoise: Callable, process: Process, solver: Solver, t: float = 1.0) -> int:
    """Network evaluations per sample: the sum over the innermost denoisers of a nest.

    Each counts as one, whatever the size of the network; see `evaluations_of_each` for separate counts.

    Arguments:
        denoise, process, solver: see `sample`.
        t: the start time, see `Init`.
    """
    return sum(evaluations_of_each(denoise, process, solver, t))


def evaluations_of_each(denoise: Callable, process: Process, solver: Solver, t: float = 1.0) -> tuple[int, ...]:
    """Evaluations per sample of each innermost denoiser of a nest, in the order of `nest`; see `evaluations`.

    If breakpoints differ between samples, a step in which one sample needs an evaluation counts for the whole batch.
    """
    require_time("t", t)
    denoiser, start = as_denoiser(denoise), _start(process, solver, t)
    first = 0 if start is None else int(start.first)
    count = max([1, *(np.size(point) for point in breakpoints(denoiser))])
    times = np.asarray(_nodes(breakpoints(denoiser), process, start, solver, count).times)[first:-1]
    left = [solver.evaluations_after(step) for step in range(first, solver.steps)] + [0]
    return tuple(_counted(denoiser, times, -np.diff(left)))


def _counted(denoiser: Callable, times: np.ndarray, each: np.ndarray) -> Iterator[int]:
    """Evaluations of each innermost denoiser, given those of this one in each step."""
    if not isinstance(denoiser, Guidance):
        yield int(each.sum())
        return
    for child, inside in enumerate(denoiser.children):
        multiples = np.array([denoiser.multiple(row, child) for row in times])
        yield from _counted(inside, times, each * multiples)


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
    remat: bool = False,
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
        first_step: skip the steps before this one (may be traced); `state` is the state at that node.
        path: return all states; at the nodes before `first_step` they are `state`.
        observe: called at each step as `observe(observed, index, x, x0, t, t_next)`, returns the next `observed`, e.g.
            the running sums of a search. x0 is the first posterior mean of the step, at (x, t): the node, or the state after
            churn.
        observed: its initial value, a pytree of arrays.
        remat: see `sample`.

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
            x0, after = evaluate(denoiser, x, t, condition, memory)
            seen.append((x, x0, t, after))
            return x0

        stepped = solver.step(process, denoise, x, Node(t, t_next, restart), noise, history)
        *first, after = seen[0]
        if observe is not None:
            observed = observe(observed, index, *first, t_next)
        state = stepped._replace(memory=after)
        return jax.tree.map(lambda new, old: new.astype(old.dtype), state, State(x, history, memory)), observed

    def one(carry, inputs):
        if first_step is None:
            carry = advance(carry, *inputs)
        else:
            carry = jax.lax.cond(inputs[0] >= first_step, advance, lambda carry, *_: carry, carry, *inputs)
        return carry, carry[0] if path else None

    # a scan keeps its steps apart itself
    body = jax.checkpoint(one, prevent_cse=False) if remat else one
    steps = (jnp.arange(grid.times.shape[0] - 1), grid.times[:-1], grid.times[1:], grid.restarts[:-1])
    (last, observed), states = jax.lax.scan(body, (state, observed), steps)
    if observe is not None:
        return observed
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), state, states) if path else last


@partial(jax.jit, static_argnames=("solver", "count"))
def _grid(denoiser, process, start=None, *, solver, count):
    return replicate(sample_grid(denoiser, process, solver, count, start))


@partial(jax.jit, static_argnames=("shape", "solver", "path", "return_memory", "remat"))
def _sample(
    denoiser, process, grid, condition, key, indices, x=None, first=None, *, shape, solver, path, return_memory, remat=False
):
    keys, grid = sample_keys(key, shard_batch(indices)), replicate(grid)
    # all samples start at the same time: breakpoints do not move the first node
    drawn, condition = starts(process, keys, shape, condition, grid.times[0, 0])
    x = drawn if x is None else shard_batch(x)
    state = begin(denoiser, solver, x)
    end = integrate(denoiser, process, solver, grid, state, keys, condition, first_step=first, path=path, remat=remat)
    x = end.x if path else shard_batch(end.x)
    return (x, end.memory) if return_memory else x


def nodes(denoiser: Callable, process: Process, solver: Solver, count: int, t: float = 1.0) -> tuple[Grid, Start | None]:
    """The grid of `sample` for `count` samples from the time t, and the start on it; None for the first node.

    Raises:
        InputError: the grid has too few nodes for the breakpoints, or one lies outside it.
    """
    start, points = _start(process, solver, t), breakpoints(denoiser)
    if start is not None:
        require_room(solver.steps - int(start.first), tuple(point for point in points if _may_lie_below(t, point)))
    # an argument, not a constant: constant folding would round differently from a grid with breakpoints
    grid = _grid(denoiser, process, start, solver=solver, count=count)
    _require_inside(grid, points, start)
    return grid, start


def _may_lie_below(t: float, point: Array) -> bool:
    if isinstance(point, jax.core.Tracer):
        return True
    values = gather(point)
    return bool(((values > 0) & (values < t)).any())


def _require_inside(grid: Grid, points: tuple[Array, ...], start: Start | None) -> None:
    """Raises `InputError` for a breakpoint outside [0, 1], or without effect, between the first node of a full grid and 1."""
    for point in points:
        if isinstance(point, jax.core.Tracer) or isinstance(grid.times, jax.core.Tracer):
            continue
        first, values = float(grid.times[0, 0]), gather(point)
        unmet = (values > first) & (values < 1) if start is None else False
        outside = (values < 0) | (values > 1) | unmet
        if outside.any():
            raise InputError(
                f"a breakpoint at t={float(values[outside].flat[0]):.3f} lies outside the grid, which spans "
                f"t={first:.3f} to 0: use a spacing that starts at 1 (uniform, trailing), or t=1"
            )


def sample(
    denoise: Callable,
    process: Process,
    *,
    shape: tuple[int, ...],
    solver: Solver,
    key: Keys,
    condition: Any = None,
    indices: Any = None,
    init: Init | None = None,
    path: bool = False,
    return_memory: bool = False,
    remat: bool = False,
) -> Any:
    """Draws samples.

    Compiled once per shape, batch size, solver and nest of guidances; everything else is an argument. Sample i is a
    function of (its key, indices[i], denoiser, condition[i]) alone, up to float rounding: it does not depend on the batch or on
    the devices. Under `jax.set_mesh` with a mesh of `jaxdiff.parallel`, the samples are sharded over the devices.

    Arguments:
        denoise: a denoiser, guided or not.
        process: the forward process.
        shape: the shape of one sample, e.g. (32, 32, 3).
        solver: a solver, e.g. `DDIM(50)`.
        key: a key, `jax.random.key(seed)`, or one for each sample (B,).
        condition: the condition, a pytree of arrays with leading axis B.
        indices: (B,) integers, by default 0 .. B - 1; needed if neither a condition nor `init` gives the batch size.
        init: initial states and their time, in place of draws from the prior, see `Init`: an image noised to t for SDEdit, or
            the same x_T for several runs. From t the run takes the last `steps_from(process, solver, t)` steps of the solver
            and costs `evaluations(denoise, process, solver, t)`; changing t does not recompile. A breakpoint above t has no
            effect.
        path: also return the intermediate states.
        return_memory: also return the final memory of the guidances, a `denoiser.Memory`.
        remat: for gradients through the whole run: keep only the state of each step, and evaluate the step again on the way
            back. Memory is then that of one step and S states instead of S steps, for one more run; the samples are the same.

    Returns:
        (B, *shape), or with `path` (S + 1, B, *shape), the initial noise first, or `init` at all nodes down to its own; with
        `return_memory`, a pair of that and the memory, whose leaves have leading axis B.

    Raises:
        InputError: the batch is empty, the leaves of `condition` differ in their leading axis, the grid has too few nodes for
            the breakpoints, the solver cannot run on this process, or `init` has another shape or batch size, is not finite, or
            has a time outside (0, 1].
    """
    x = None if init is None else _checked_states(init, tuple(shape))
    denoiser, condition, indices = _checked(denoise, process, solver, condition, indices, x)
    grid, start = nodes(denoiser, process, solver, len(indices), 1.0 if init is None else init.t)
    first = None if start is None else start.first
    return _sample(
        denoiser, process, grid, condition, key, indices, x, first,
        shape=tuple(shape), solver=solver, path=path, return_memory=return_memory, remat=remat,
    )  # fmt: skip


def traced(
    denoise: Callable,
    process: Process,
    *,
    shape: tuple[int, ...],
    solver: Solver,
    key: Keys,
    condition: Any = None,
    indices: Any = None,
) -> jax.stages.Traced:
    """The program that `sample` runs with these arguments, to be counted, compiled and inspected; weights may be abstract."""
    denoiser, condition, indices = _checked(denoise, process, solver, condition, indices)
    grid = jax.eval_shape(partial(_grid, solver=solver, count=len(indices)), denoiser, process)
    return _sample.trace(
        denoiser, process, grid, condition, key, indices, shape=tuple(shape), solver=solver, path=False, return_memory=True
    )


def _checked_states(init: Init, shape: tuple[int, ...]) -> Array:
    """The initial states, as an array; for errors see `sample`."""
    require_time("init.t", init.t)
    x = jnp.asarray(init.x)
    if x.shape[1:] != shape or not x.ndim:
        raise InputError(f"`init` must hold states of shape (B, {', '.join(map(str, shape))}), got {x.shape}")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(f"`init` must hold floating states on the scale of the process, got {x.dtype}")
    if not isinstance(x, jax.core.Tracer) and not jnp.isfinite(x).all():
        raise InputError("`init` must be finite, got NaN or infinity among its states")
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _checked(denoise, process, solver, condition, indices, x=None):
    """The arguments as arrays; for errors see `sample`."""
    condition = jax.tree.map(jnp.asarray, condition)
    counts = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(condition)}
    counts |= set() if indices is None else {len(indices)}
    counts |= set() if x is None else {len(x)}
    if len(counts) != 1 or counts & {0, None}:
        raise InputError(
            "`condition`, `indices` and `init` must share one leading axis of at least 1; "
            f"got {sorted(map(str, counts)) or 'none of them'}"
        )
    solver.check(process)
    indices = jnp.arange(counts.pop()) if indices is None else jnp.asarray(indices, jnp.int32)
    return as_denoiser(denoise), condition, indices
