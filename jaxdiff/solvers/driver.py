"""The one sampling loop: times and keys laid out before it, nothing drawn or decided inside."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxdiff.denoiser import as_denoiser, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.process import Process
from jaxdiff.solvers.grid import on_breakpoints


def sample_keys(key, indices: Int[Array, " b"]) -> Array:
    """A key per sample, a function of (key, index) alone."""
    return jax.vmap(partial(jax.random.fold_in, key))(indices)


def initial_noise(process: Process, keys: Array, shape: tuple[int, ...]) -> Array:
    """x_1 of each sample, (B, *shape), from its own key."""
    return jax.vmap(lambda key: process.prior(jax.random.fold_in(key, 0), shape))(keys)


def sample_times(denoiser: Callable, solver, count: int) -> Float[Array, "s b"]:
    """The nodes of each sample, (S + 1, B), with one on each breakpoint of the denoiser."""
    times = jnp.broadcast_to(solver.times()[:, None], (solver.steps + 1, count))
    return on_breakpoints(times, breakpoints(denoiser))


def integrate(
    denoiser: Callable,
    process: Process,
    solver,
    times: Float[Array, "s b"],
    x: Array,
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
        times: (S + 1, B), falling.
        x: the state at the first node, or at node `first_step`, (B, ...).
        keys: (B,) keys of the samples; the noise of step i comes from fold_in(key, i + 1).
        condition: the condition, with leading axis B.
        first_step: skip the steps before this one (it may be traced): `x` is the state at that node.
        path: return all states.
        observe: called at each step as `observe(observed, index, x, x0, t, t_next)`, gives the next `observed`: what a
            search sums up on the way.
        observed: its first value, a pytree of arrays.

    Returns:
        The state at the last node (B, ...), or with `path` the states at all nodes (S + 1, B, ...); with `observe`, the
        last `observed` instead.
    """

    def advance(carry, index, t, t_next):
        x, observed = carry
        x0 = denoiser(x, t, condition)
        if observe is not None:
            observed = observe(observed, index, x, x0, t, t_next)
        noise = None
        if solver.stochastic:
            noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, index + 1), x.shape[1:], x.dtype))(keys)
        return solver.step(process, x0, x, t, t_next, noise).astype(x.dtype), observed

    def body(carry, inputs):
        if first_step is None:
            carry = advance(carry, *inputs)
        else:
            carry = jax.lax.cond(inputs[0] >= first_step, advance, lambda carry, *_: carry, carry, *inputs)
        return carry, carry[0] if path else None

    steps = (jnp.arange(times.shape[0] - 1), times[:-1], times[1:])
    (last, observed), states = jax.lax.scan(body, (x, observed), steps)
    if observe is not None:
        return observed
    return jnp.concatenate([x[None], states]) if path else last


@partial(jax.jit, static_argnames=("solver", "count"))
def _times(denoiser, *, solver, count):
    return sample_times(denoiser, solver, count)


@partial(jax.jit, static_argnames=("shape", "solver", "path"))
def _sample(denoiser, process, times, condition, key, indices, *, shape, solver, path):
    keys = sample_keys(key, indices)
    return integrate(denoiser, process, solver, times, initial_noise(process, keys, shape), keys, condition, path=path)


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
) -> Array:
    """Draws samples.

    Compiled once for a shape, a batch size, a solver and a nest of guidances; everything else is an argument. Sample i
    is a function of (key, indices[i], denoiser, condition[i]) alone, up to float rounding: not of the batch that it is
    drawn in.

    Arguments:
        denoise: a denoiser, guided or not.
        process: the forward process.
        shape: the shape of one sample, e.g. (32, 32, 3).
        solver: a solver, e.g. `DDIM(50)`.
        key: a key; `jax.random.key(seed)`.
        condition: the condition, a pytree of arrays with leading axis B.
        indices: (B,) integers, by default 0 .. B - 1; needed where there is no condition to tell B.
        path: also return the states on the way.

    Returns:
        (B, *shape), or with `path` (S + 1, B, *shape), the initial noise first.

    Raises:
        InputError: no sample is asked for, the leaves of `condition` differ in their leading axis, or the grid cannot
            hold the breakpoints.
    """
    condition = jax.tree.map(jnp.asarray, condition)
    counts = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(condition)}
    counts |= set() if indices is None else {len(np.asarray(indices))}
    if len(counts) != 1 or counts & {0, None}:
        raise InputError(
            f"`condition` and `indices` must share one leading axis of at least 1; got {sorted(map(str, counts)) or 'neither'}"
        )
    indices = jnp.arange(counts.pop()) if indices is None else jnp.asarray(indices, jnp.int32)
    denoiser = as_denoiser(denoise)
    # an argument, not a constant: a grid known while compiling is folded in other roundings than one that holds a breakpoint
    times = _times(denoiser, solver=solver, count=len(indices))
    return _sample(denoiser, process, times, condition, key, indices, shape=tuple(shape), solver=solver, path=path)
