"""The guidance interval: guidance between two noise levels only (Kynkäänniemi et al. 2024)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import Guidance, InnerDenoiser, as_denoiser
from jaxdiff.guidance.window import Window
from jaxdiff.guidance.window import window as window_of
from jaxdiff.parallel import replicate
from jaxdiff.process import Process, expand


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Interval(Guidance):
    """See `interval`."""

    plain: Callable
    window: Window

    @property
    def children(self) -> tuple[Callable, Callable]:
        """The guided denoiser and the plain one."""
        return self.denoiser, self.plain

    def own_breakpoints(self) -> tuple[Array, ...]:
        """The edges of the window."""
        return self.window.breakpoints()

    def multiple(self, t: float | Float[np.ndarray, " b"], child: int = 0) -> int:
        """One for the guided denoiser within the window, one for the plain one outside."""
        held = np.asarray(self.window.holds(t))
        return int((held if child == 0 else ~held).any())

    def guide(  # ty: ignore[incompatible-method-override]  # a denoiser for each child
        self, denoise: InnerDenoiser, plain: InnerDenoiser, x: Float[Array, "b ..."], t: ArrayLike, condition: Any
    ) -> Float[Array, "b ..."]:
        """The guided posterior mean where the window holds, else the plain one."""
        held = replicate(self.window.holds(jnp.broadcast_to(jnp.asarray(t), x.shape[:1])))
        guided = denoise.where_any(held, x, t, condition)
        return jnp.where(expand(held, x), guided, plain.where_any(~held, x, t, condition))


def interval(denoise: Callable, process: Process, plain: Callable, *, window: Sequence[float | int]) -> Interval:
    """Guides within an interval of noise levels and not elsewhere (Kynkäänniemi et al. 2024, eq. 6):

        interval(classifier_free(model, null, scale), process, model, window=(low, high)).

    At high noise guidance reduces diversity, at low noise it has no effect. Outside the interval only the plain denoiser is
    evaluated, so a step costs as much as without guidance. If the samples of a batch are at different times, e.g. with one
    transition point per sample, a step at an edge may cost both.

    With all noise levels it equals the guided denoiser bit for bit, with none (low = high) the plain one.

    Arguments:
        denoise: the guided denoiser, with any guidance.
        process: the forward process.
        plain: the denoiser without that guidance, for the same conditions.
        window: the SNR alpha² / sigma² between which to guide, (low, high): 1 / sigma_hi² and 1 / sigma_lo² of the paper's
            noise levels. An edge within the schedule is a node of the solver's grid.

    Raises:
        InputError: `window` is not two numbers with 0 <= low <= high, or is outside the schedule.
    """
    return Interval(as_denoiser(denoise), as_denoiser(plain), window_of(process, window))
