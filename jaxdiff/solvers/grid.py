"""Time grids: the nodes that a solver steps through, from noise (t = 1, or near it) to data (t = 0, or near it)."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxdiff.choices import ENDS, SPACINGS
from jaxdiff.errors import InputError
from jaxdiff.process import EARLIEST, Process

SHIFTED = ("leading", "leading_inner")
DISCRETE = (*SHIFTED, "trailing", "linspace", "linspace_inner", "linspace_exact")
# Noise levels sigma / alpha between which `log_snr` and `karras` place their nodes (Karras et al. 2022, table 1).
NOISE_MIN, NOISE_MAX, RHO = 0.002, 80.0, 7.0


def check(spacing: str, steps: int, offset: int = 0, end: str = "data") -> None:
    """Raises `InputError` for fewer than one step, an unknown spacing or end, or an offset of a spacing that has none."""
    if steps < 1:
        raise InputError(f"`steps` must be at least 1, got {steps}")
    if spacing not in SPACINGS:
        raise InputError(f"`spacing` must be one of {', '.join(SPACINGS)}, got {spacing!r}")
    if end not in ENDS:
        raise InputError(f"`end` must be one of {', '.join(ENDS)}, got {end!r}")
    if offset < 0 or (offset and spacing not in SHIFTED):
        raise InputError(f"`offset` must be at least 0, and 0 unless `spacing` is {' or '.join(SHIFTED)}; got {offset}")


def nodes(spacing: str, steps: int, process: Process, offset: int = 0, end: str = "data") -> Float[Array, " s"]:
    """`steps` + 1 decreasing times, the last 0 unless `end` says otherwise.

    The first is 1 for `uniform` and `trailing`; for the others it is their maximum noise level.

    Arguments:
        spacing: one of `SPACINGS`.
        steps: S, at least 1.
        process: the forward process.
        offset: added to every timestep of `leading` and `leading_inner`.
        end: one of `ENDS`.

    Raises:
        InputError: an argument is out of range, or for DDPM tables and the process has none or too few timesteps.
    """
    check(spacing, steps, offset, end)
    if end == "timestep" and not process.discrete:
        raise InputError(f"`end` timestep is for DDPM tables; process {process.name} has no timesteps")
    return jnp.append(_before_end(spacing, steps, process, offset), 1 / process.timesteps if end == "timestep" else 0.0)


def _before_end(spacing: str, steps: int, process: Process, offset: int) -> Float[Array, " s"]:
    """The nodes before the last."""
    if spacing == "uniform":
        # by NumPy: jitted, jnp.linspace may end at -3e-8, where sigma is NaN
        return jnp.asarray(np.linspace(1.0, 0.0, steps + 1)[:-1], jnp.float32)
    if spacing in DISCRETE:
        return jnp.asarray(_timesteps(spacing, steps, process, offset), jnp.float32)
    # limited to the noise levels of the process
    low = jnp.maximum(process.log_snr(1.0), -2 * np.log(NOISE_MAX))
    high = jnp.minimum(process.log_snr(EARLIEST), -2 * np.log(NOISE_MIN))
    share = jnp.asarray(np.linspace(0.0, 1.0, steps))
    if spacing == "log_snr":
        log_snr = low + share * (high - low)
    else:
        noisy, clean = jnp.exp(-0.5 * low / RHO), jnp.exp(-0.5 * high / RHO)
        log_snr = -2 * RHO * jnp.log(noisy + share * (clean - noisy))
    return process.time(log_snr).astype(jnp.float32)


def _timesteps(spacing: str, steps: int, process: Process, offset: int) -> np.ndarray:
    """The nodes of a table: its timestep i = 0 .. T - 1 is the time (i + 1) / T."""
    if not process.discrete:
        raise InputError(f"`spacing` {spacing!r} counts the timesteps of a DDPM table; process {process.name} has none")
    total = process.timesteps
    if steps > total:
        raise InputError(f"`steps` (={steps}) must be at most the {total} timesteps of process {process.name}")
    match spacing:
        case "leading":
            index = np.arange(steps)[::-1] * (total // steps) + offset
        case "leading_inner":
            index = np.arange(1, steps + 1)[::-1] * (total // (steps + 1)) + offset
        case "trailing":
            index = np.round(np.arange(total, 0, -total / steps))[:steps] - 1
        case "linspace":
            index = np.linspace(0, total - 1, steps).round()[::-1]
        case "linspace_inner":
            index = np.linspace(0, total - 1, steps + 1).round()[:0:-1]
        case "linspace_exact":
            index = np.linspace(0, total - 1, steps)[::-1]
    if index[0] >= total:
        raise InputError(
            f"`offset` (={offset}) must leave the first of {steps} steps below the {total} timesteps of process {process.name}"
        )
    return (index + 1) / total


class Start(NamedTuple):
    """The start of a run in the middle of a grid.

    Attributes:
        times: (S + 1,), the nodes, with the nearest one moved onto the start time.
        first: the index of that node.
    """

    times: Float[Array, " s"] | Float[np.ndarray, " s"]
    first: Int[Array, ""] | Int[np.ndarray, ""]


def start_at(times: Float[Array, " s"], t: float) -> Start | None:
    """The start at the time t in (0, 1] on these nodes; None if no node lies above t, for the whole grid.

    At least one step remains.
    """
    moved, level = np.array(times), np.float32(t)
    if level >= moved[0]:
        return None
    first = np.argmin(np.abs(moved[:-1] - level))
    moved[first] = level
    return Start(moved, np.array(first, np.int32))


def on_breakpoints(
    times: Float[Array, "s b"], breakpoints: tuple[Array, ...], first: int | Int[Array, ""] = 0
) -> tuple[Float[Array, "s b"], Bool[Array, "s b"]]:
    """The grid of each sample with the nearest interior node moved onto each of its breakpoints, and the mask of moved nodes.

    No nodes are added, so the number of evaluations does not change. Breakpoints at or beyond the ends of the grid move
    nothing, nor does one that already has a node, e.g. if two guidances share it. Each sample has its own column, so its
    breakpoints do not affect the grids of others.

    Arguments:
        times: (S + 1, B), decreasing along the first axis.
        breakpoints: times of shape () or (B,).
        first: the start node: neither it nor any before it is moved. If it is traced, call `require_room` to check.

    Raises:
        InputError: there are fewer interior nodes than breakpoints.
    """
    if isinstance(first, int):
        require_room(times.shape[0] - 1 - first, breakpoints)
    index = jnp.arange(times.shape[0])[:, None]
    taken = jnp.broadcast_to((index <= first) | (index == times.shape[0] - 1), times.shape)
    held = jnp.zeros(times.shape, bool)
    for point in breakpoints:
        point = jnp.broadcast_to(point, times.shape[1:]).astype(times.dtype)
        inside = (point < times[first]) & (point > times[-1]) & ~(held & (times == point)).any(0)
        nearest = jnp.argmin(jnp.where(taken, jnp.inf, jnp.abs(times - point)), axis=0)
        moved = (index == nearest) & inside
        times = jnp.where(moved, point, times)
        taken, held = taken | moved, held | moved
    if len(breakpoints) > 1:
        order = jnp.argsort(-times, axis=0)
        times, held = jnp.take_along_axis(times, order, 0), jnp.take_along_axis(held, order, 0)
    return times, held


def require_room(steps: int, breakpoints: tuple[Array, ...]) -> None:
    """Raises `InputError` if a grid of `steps` steps has fewer interior nodes than there are breakpoints."""
    if len(breakpoints) > steps - 1:
        raise InputError(
            f"`steps` must be at least {len(breakpoints) + 1} for {len(breakpoints)} breakpoints, where guidance changes "
            f"(tau, the edges of a window), got {steps}"
        )
