"""The probability flow from data to noise: encoding for editing, and likelihood.

With y = x / alpha and the noise level S = sigma / alpha, the deterministic flow whose marginals are those of the forward
process is, for every process (Song et al. 2021, eq. 13; Karras et al. 2022, eq. 4),

    dy / dS = E[eps | x] = (y - m) / S,    m = denoise(x, t).

At t = 0 this is 0 / 0, so encoding starts at `grid.NOISE_MIN` (or at the minimum level of the process) with y = x_0. There
eps = -S grad log p(y), so the true y differs from x_0 by S² / 2 grad log p, 2e-6 of the score.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from jaxdiff.defaults import LIKELIHOOD_STEPS
from jaxdiff.denoiser import as_denoiser, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.process import Process, expand
from jaxdiff.solvers import Solver, grid
from jaxdiff.solvers.base import Node
from jaxdiff.solvers.driver import Init, nodes, require_time, sample, sample_keys

# The classical Runge-Kutta method: the node of each stage, and its weight.
REACH, SHARE = (0.0, 0.5, 0.5, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)


class Path(NamedTuple):
    """The trajectory of an encoding, from data to noise.

    Attributes:
        times: the nodes of each sample, increasing, (K, B).
        states: the states at the nodes, (K, B, ...).
    """

    times: Float[Array, "k b"]
    states: Float[Array, "k b ..."]


@overload
def encode(
    denoise: Callable,
    process: Process,
    x0: Float[Array, "b ..."],
    *,
    solver: Solver,
    condition: Any = ...,
    strength: float = ...,
    path: Literal[False] = ...,
) -> Float[Array, "b ..."]: ...


@overload
def encode(
    denoise: Callable,
    process: Process,
    x0: Float[Array, "b ..."],
    *,
    solver: Solver,
    condition: Any = ...,
    strength: float = ...,
    path: Literal[True],
) -> Path: ...


def encode(
    denoise: Callable,
    process: Process,
    x0: Float[Array, "b ..."],
    *,
    solver: Solver,
    condition: Any = None,
    strength: float = 1.0,
    path: bool = False,
) -> Float[Array, "b ..."] | Path:
    """The noise that the flow maps to x_0: DDIM inversion (Song, Meng & Ermon 2021, section 4.3), or the same with Heun.

    Runs the solver's step in reverse over its own nodes, with a node on each breakpoint of a guided denoiser, so that
    `decode` with the same solver returns x_0 up to an error of the solver's order. For editing, decode under another
    condition or guidance. For a solver that ends at a timestep, x_0 is the state there.

    Arguments:
        denoise: a denoiser, guided or not.
        process: the forward process.
        x0: the data (B, ...).
        solver: a deterministic `DDIM` without `clip`, or `Heun`; other solvers cannot be reversed.
        condition: the condition, a pytree of arrays with leading axis B.
        strength: the time in (0, 1] at which to stop, see `solvers.Init`.
        path: return all intermediate states.

    Returns:
        The state at the time `strength`, by default at the solver's first node, (B, ...); with `path` the whole `Path`.

    Raises:
        InputError: the solver is unsuitable, `strength` is outside (0, 1], the condition has another batch size, or the grid
            has too few nodes for the breakpoints.
    """
    if not solver.reversible:
        raise InputError(f"`solver` must be ddim with eta 0 and no clip, or heun with churn 0, to encode; got {solver}")
    require_time("strength", strength)
    condition, denoiser = of_batch(condition, len(x0)), as_denoiser(denoise)
    falling, start = nodes(denoiser, process, solver, len(x0), strength)
    times = falling.times[0 if start is None else int(start.first) :]
    if solver.end == "data":
        times = times.at[-1].set(jnp.minimum(process.time(-2 * np.log(grid.NOISE_MIN)), times[-2]))
    rising = times[::-1]
    reached = _encode(denoiser, process, rising, x0, condition, solver=solver, path=path)
    return Path(rising, reached) if path else reached


@partial(jax.jit, static_argnames=("solver", "path"))
def _encode(denoiser, process, times, x0, condition, *, solver, path):
    def advance(x, ends):
        node = Node(*ends, jnp.zeros(ends[0].shape, bool))
        inside = lambda x, t: denoiser(x, _inside(t, *ends), condition)  # noqa: E731
        x = solver.step(process, inside, x, node, lambda draw: jnp.zeros_like(x), solver.history(x)).x
        return x, x if path else None

    start = expand(process.alpha(times[0]), x0) * x0 if solver.end == "data" else x0
    last, states = jax.lax.scan(advance, start, (times[:-1], times[1:]))
    return jnp.concatenate([start[None], states]) if path else last


def decode(
    denoise: Callable,
    process: Process,
    latent: Float[Array, "b ..."],
    *,
    solver: Solver,
    condition: Any = None,
    strength: float = 1.0,
) -> Float[Array, "b ..."]:
    """The sample of a deterministic solver started from this state: the inverse of `encode`.

    Arguments:
        denoise: a denoiser, guided or not.
        process: the forward process.
        latent: the state (B, ...) at the time `strength`, by default at the solver's first node, from `encode` with a
            solver of the same spacing.
        solver: any deterministic solver.
        condition: the condition, a pytree of arrays with leading axis B.
        strength: the time in (0, 1] at which to start, see `solvers.Init`.

    Raises:
        InputError: the solver is stochastic, `strength` is outside (0, 1], the condition has another batch size, or the grid
            has too few nodes for the breakpoints.
    """
    if solver.stochastic:
        raise InputError(f"`solver` must be deterministic to decode, got {solver}")
    require_time("strength", strength)
    start, unused = Init(latent, strength), jax.random.key(0)
    condition = of_batch(condition, len(latent))
    return sample(denoise, process, shape=latent.shape[1:], solver=solver, key=unused, condition=condition, init=start)


def log_likelihood(
    denoise: Callable,
    process: Process,
    x0: Float[Array, "b ..."],
    *,
    key: PRNGKeyArray | None = None,
    steps: int = LIKELIHOOD_STEPS,
    probes: int | None = 1,
    condition: Any = None,
    indices: Any = None,
) -> Float[Array, " b"]:
    """log p(x_0) in nats, under the pushforward of the prior by the flow (Song et al. 2021, eq. 39 and appendix D.2).

    In u = x / sqrt(alpha² + sigma²), of unit variance at both ends, the flow over l = log S is du/dl = (r u - m) r with
    r² = 1 / (1 + S²), and along it (Chen et al. 2018, theorem 1)

        log p(x_0) = log N(u_1; 0, I) + D log r_0 + integral of (D r² - div_y m) dl from l_0 to l_1.

    The fourth-order Runge-Kutta method integrates both, uniformly in l: four evaluations and, for each probe, four
    Jacobian-vector products per step. p is the distribution of x / alpha at level l_0 (see the module docstring), from the
    prior at level l_1, at most `grid.NOISE_MAX`: that of `sample` with the spacing `log_snr` before its last step.

    The divergence is estimated without bias by Rademacher probes (Hutchinson), drawn independently in every step, which
    averages their noise. Sample i is a function of (key, indices[i], denoiser, condition[i]) alone.

    Arguments:
        denoise: a denoiser whose samples do not depend on one another, guided or not, differentiable in x.
        process: the forward process.
        x0: the data (B, ...), D entries each.
        key: a key for the probes; needed unless `probes` is None.
        steps: steps of the integrator, at least 1.
        probes: probes per step; None computes the exact divergence by D Jacobian-vector products, for small D.
        condition: the condition, a pytree of arrays with leading axis B.
        indices: (B,) integers, by default 0 .. B - 1.

    Raises:
        InputError: `steps` or `probes` is below 1, the key is missing, the condition or indices have another batch size, or the
            grid has too few nodes for the breakpoints.
    """
    if probes is not None and (probes < 1 or key is None):
        raise InputError(f"`probes` must be at least 1 with a `key`, or None; got {probes} with key {key}")
    grid.check("log_snr", steps)
    condition, denoiser = of_batch(condition, len(x0)), as_denoiser(denoise)
    keys = None if probes is None or key is None else sample_keys(key, indices_of(indices, len(x0)))
    times = _rising(grid.nodes("log_snr", steps + 1, process)[:-1], denoiser, len(x0))
    return _log_likelihood(denoiser, process, times, x0, condition, keys, probes=probes)


@partial(jax.jit, static_argnames="probes")
def _log_likelihood(denoiser, process, times, x0, condition, keys, *, probes):
    shape = x0.shape[1:]
    size = int(np.prod(shape))
    basis = jnp.eye(size, dtype=x0.dtype).reshape(size, 1, *shape)

    def directions(index):
        if probes is None:
            return jnp.broadcast_to(basis, (size, *x0.shape)), 1.0
        one = lambda key: jax.random.rademacher(jax.random.fold_in(key, index), (probes, *shape), x0.dtype)  # noqa: E731
        return jax.vmap(one, out_axes=1)(keys), 1 / probes

    def slope(u, t, along, weight):
        r = jnp.exp(0.5 * jax.nn.log_sigmoid(process.log_snr(t)))
        mean = lambda u: denoiser(expand(process.scale(t), u) * u, t, condition)  # noqa: E731
        m, changes = jax.vmap(lambda e: jax.jvp(mean, (u,), (e,)), out_axes=(None, 0))(along)
        trace = weight * jnp.sum(along * changes, axis=(0, *range(2, along.ndim)))
        return expand(r, u) * (expand(r, u) * u - m), size * r**2 - r * trace

    def advance(carry, inputs):
        (u, gained), (index, t, t_next) = carry, inputs
        first, last = process.log_snr(t), process.log_snr(t_next)
        step, middle = 0.5 * (first - last), process.time(0.5 * (first + last))
        along, weight = directions(index)

        def stage(carry, inputs):
            (before, u_next, gained), (time, reach, share) = carry, inputs
            change, growth = slope(u + expand(reach * step, u) * before, _inside(time, t, t_next), along, weight)
            return (change, u_next + expand(share * step, u) * change, gained + share * step * growth), None

        # a loop, so that the network is compiled once, not four times
        stages = (jnp.stack([t, middle, middle, t_next]), jnp.array(REACH), jnp.array(SHARE))
        return jax.lax.scan(stage, (jnp.zeros_like(u), u, gained), stages)[0][1:], None

    log_r = 0.5 * jax.nn.log_sigmoid(process.log_snr(times[0]))
    start = (expand(jnp.exp(log_r), x0) * x0, size * log_r)
    (u, gained), _ = jax.lax.scan(advance, start, (jnp.arange(len(times) - 1), times[:-1], times[1:]))
    return gained - 0.5 * (jnp.square(u).reshape(len(u), -1).sum(1) + size * np.log(2 * np.pi))


def bits_per_dimension(
    denoise: Callable,
    process: Process,
    images: UInt8[Array, "b h w c"] | UInt8[np.ndarray, "b h w c"],
    *,
    key: PRNGKeyArray,
    steps: int = LIKELIHOOD_STEPS,
    probes: int | None = 1,
    condition: Any = None,
    indices: Any = None,
) -> Float[Array, " b"]:
    """An upper bound on -log2 P(image) / D of each uint8 image; lower is better, and 8 is the uniform distribution.

    Bytes v become v + u with u uniform in [-1/2, 1/2), whose bins tile the line, so that E_u[log p(v + u)] <= log P(v) (Theis
    et al. 2016, section 3.1). Images are x = v / 127.5 - 1, so the density over v is that over x divided by 127.5^D. One u is
    drawn per image, so a single value scatters around the bound.

    Arguments:
        denoise: a denoiser of images in [-1, 1].
        process: the forward process.
        images: uint8 (B, H, W, C).
        key: a key, for u and the probes.
        steps, probes, condition, indices: see `log_likelihood`.

    Returns:
        (B,).
    """
    dequantise, divergence = jax.random.split(key)
    indices = indices_of(indices, len(images))
    uniform = lambda key: jax.random.uniform(key, images.shape[1:], minval=-0.5, maxval=0.5)  # noqa: E731
    noise = jax.vmap(uniform)(sample_keys(dequantise, indices))
    x0 = (jnp.asarray(images, jnp.float32) + noise) / 127.5 - 1
    nats = log_likelihood(
        denoise, process, x0, key=divergence, steps=steps, probes=probes, condition=condition, indices=indices
    )
    return np.log2(127.5) - nats / (np.log(2) * np.prod(images.shape[1:]))


def _rising(falling: Array, denoiser: Callable, count: int) -> Float[Array, "s b"]:
    """The nodes of each sample in increasing order, with one on each breakpoint of the denoiser."""
    times = jnp.broadcast_to(falling[:, None], (len(falling), count))
    return grid.on_breakpoints(times, breakpoints(denoiser))[0][::-1]


def _inside(time: Array, t: Array, t_next: Array) -> Array:
    """`time` within (t, t_next]: a step from a breakpoint uses the denoiser above it, a step to one the denoiser below."""
    return jnp.clip(time, jnp.nextafter(t, jnp.inf), t_next)


def of_batch(condition: Any, count: int, name: str = "condition") -> Any:
    """The condition as arrays; raises `InputError` naming the argument if its leading axis is not `count`."""
    condition = jax.tree.map(jnp.asarray, condition)
    for leaf in jax.tree.leaves(condition):
        if leaf.shape[:1] != (count,):
            raise InputError(f"`{name}` must have the {count} samples as leading axis, got an array of shape {leaf.shape}")
    return condition


def indices_of(indices: Any, count: int) -> Array:
    """The indices of the samples, by default 0 .. count - 1; raises `InputError` if there are not `count` of them."""
    indices = jnp.arange(count) if indices is None else jnp.asarray(indices, jnp.int32)
    if indices.shape != (count,):
        raise InputError(f"`indices` must be one integer for each of the {count} samples, got shape {indices.shape}")
    return indices
