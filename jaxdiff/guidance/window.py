"""Windows of noise levels in which a guidance acts."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxdiff.errors import InputError
from jaxdiff.process import EARLIEST, Process

ALWAYS = (0.0, float("inf"))
"""The window that contains every time."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Window:
    """The times stop < t <= start; empty if stop >= start. Create one with `window`.

    Attributes:
        start: the noisier end, in [0, 1].
        stop: the other.
    """

    start: Float[Array, ""]
    stop: Float[Array, ""]

    def holds(self, t: ArrayLike) -> Bool[Array, "..."]:
        """Whether the guidance acts at times, () or (B,): a node on an edge belongs to the step that starts there."""
        t = jnp.asarray(t)
        return (t <= self.start) & (t > self.stop)

    def breakpoints(self, acts: ArrayLike = True) -> tuple[Array, ...]:
        """The edges; for an empty window or without `acts`, the ends of the time axis, which move no node."""
        acts = jnp.asarray(acts) & (self.stop < self.start)
        return (jnp.where(acts, self.start, 1.0), jnp.where(acts, self.stop, 0.0))


def window(process: Process, snr: Sequence[float | int]) -> Window:
    """The window of times with an SNR within [low, high], which is the same amount of noise for every schedule.

    Arguments:
        process: the forward process.
        snr: low and high alpha² / sigma²; 0 and infinity are the ends of the time axis, and low = high is the empty window.

    Raises:
        InputError: `snr` is not two numbers with 0 <= low <= high, or the window is outside the schedule.
    """
    if len(snr) != 2 or not 0 <= snr[0] <= snr[1] or not np.isfinite(snr[0]):
        raise InputError(f"`snr` must be two numbers with 0 <= low <= high, got {tuple(snr)}")
    low, high = snr
    if low == high:
        return Window(jnp.float32(0.0), jnp.float32(0.0))
    least, most = float(process.snr(1.0)), float(process.snr(EARLIEST))
    if high <= least or low >= most:
        raise InputError(
            f"the window of SNR [{low:g}, {high:g}] lies outside the schedule of process {process.name}, whose SNR ranges from "
            f"{least:.3g} to {most:.3g}"
        )
    start = 1.0 if low <= least else process.time(np.log(low))
    stop = 0.0 if high >= most else process.time(np.log(high))
    return Window(*(jnp.clip(jnp.asarray(edge, jnp.float32), 0.0, 1.0) for edge in (start, stop)))
