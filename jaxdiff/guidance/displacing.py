"""Guidances that add a displacement to the posterior mean."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance.record import Record, Recording
from jaxdiff.guidance.window import Window, window
from jaxdiff.parallel import replicate
from jaxdiff.process import Process, expand
from jaxdiff.references import References
from jaxdiff.square_root import square_root


@dataclass(frozen=True)
class Displacing(Recording):
    """x0 <- x0 + strength push, within a window. Subclasses are registered pytrees and define `push`.

    A sample with push 0 is unchanged, bit for bit. The size in the record is the root mean square of the displacement.

    Attributes:
        process: the forward process.
        window: when it acts.
        strength: at least 0.
    """

    process: Process
    window: Window
    strength: Float[Array, ""]

    @abstractmethod
    def push(self, x: Float[Array, "b ..."], t: Float[Array, " b"], x0: Float[Array, "b ..."], own: Any) -> Array:
        """The displacement of x0 at strength 1.

        Arguments:
            x, t: the states and their times.
            x0: their posterior means.
            own: what `prepare` returned.
        """

    def prepare(self, x: Array) -> Any:
        """Information from the initial states, a pytree of arrays with leading axis B."""
        return ()

    def own_breakpoints(self) -> tuple[Array, ...]:
        """The edges of the window."""
        return self.window.breakpoints(self.strength > 0)

    def begin(self, x: Array) -> tuple[Any, Record]:
        """The result of `prepare`, and an empty record."""
        return self.prepare(x), Record.empty(len(x))

    def guide(
        self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any, memory: Any
    ) -> tuple[Array, Any]:
        """The displaced posterior mean, and the record after it."""
        x0 = denoise(x, t, condition)
        times = replicate(jnp.broadcast_to(jnp.asarray(t), x.shape[:1]))
        held = self.window.holds(times) & (self.strength > 0)

        def act(memory):
            own, record = memory
            displacement = self.strength * self.push(x, times, x0, own)
            size = square_root(jnp.square(displacement).reshape(len(x), -1).mean(1))
            size = jnp.where(held, size, 0.0)
            moved = jnp.where(expand(size > 0, x), x0 + displacement.astype(x0.dtype), x0)
            return moved, (own, record.after(times, held, size))

        return jax.lax.cond(replicate(held).any(), act, lambda memory: (x0, memory), memory)


def fields(denoise: Callable, process: Process, snr: tuple[float, float], strength: Any) -> tuple[Any, ...]:
    """The first fields of a displacing guidance, from the arguments of its factory.

    Raises:
        InputError: the window is outside the schedule, or the strength is below 0.
    """
    return as_denoiser(denoise), process, window(process, snr), at_least_zero("strength", strength)


def require_shape(references: References, x: Array) -> None:
    """Raises `InputError` if the references and the samples differ in shape."""
    if references.shape != x.shape[1:]:
        raise InputError(f"`unsafe` must be images of the samples' shape {x.shape[1:]}, got {references.shape}")


def at_least_zero(name: str, value: Any) -> Float[Array, ""]:
    """The number as an array.

    Raises:
        InputError: it is below 0 or NaN.
    """
    if not isinstance(value, jax.core.Tracer) and not float(np.asarray(value)) >= 0:
        raise InputError(f"`{name}` must be at least 0, got {value}")
    return jnp.asarray(value, jnp.float32)
