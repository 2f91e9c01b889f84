"""Minimal guidance: no label, until a sample is about to lose its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxdiff.denoiser import InnerDenoiser, Stateful, as_denoiser, nest
from jaxdiff.errors import InputError
from jaxdiff.guidance.record import Record, Recording
from jaxdiff.guidance.reweighting import mixture_weights
from jaxdiff.guidance.window import ALWAYS, Window
from jaxdiff.guidance.window import window as window_of
from jaxdiff.parallel import replicate, stacked, unstacked
from jaxdiff.process import Process, expand


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Minimal(Recording):
    """See `minimal`. Its own memory is whether each sample has been conditioned."""

    target: Float[Array, ""]
    window: Window
    values: int = field(metadata={"static": True})

    @property
    def _watches(self) -> Array:
        """Whether posteriors are looked at: at targets 0 and 1 they decide nothing."""
        return (self.target > 0) & (self.target < 1)

    @property
    def _whole(self) -> bool:
        """Whether all conditions are evaluated at every time: a stateful guidance inside remembers all of them."""
        return any(isinstance(each, Stateful) for each in nest(self.denoiser))

    def own_breakpoints(self) -> tuple[Array, ...]:
        """The edges of the window."""
        return self.window.breakpoints(self._watches)

    def inner_states(self, x: Array) -> Array:
        """x without a label and for every value."""
        return stacked(*[x] * (1 + self.values))

    def multiple(self, t: float | Float[np.ndarray, " b"], child: int = 0) -> int:
        """1 + K within the window, 1 outside."""
        looked = np.asarray(self.window.holds(t) & self._watches) | self._whole
        return (1 + self.values) * int(looked.any()) + int((~looked).any())

    def begin(self, x: Array) -> tuple[Bool[Array, " b"], Record]:
        """No sample is conditioned yet; at target 1 all are."""
        return jnp.broadcast_to(self.target >= 1, x.shape[:1]), Record.empty(len(x))

    def guide(  # ty: ignore[incompatible-method-override]  # it skips evaluations by `where_any`
        self, denoise: InnerDenoiser, x: Float[Array, "b ..."], t: ArrayLike, condition: Any, memory: Any
    ) -> tuple[Array, Any]:
        """The posterior mean without a label, or under the sample's own from when its posterior was below the target."""
        null, values = condition
        if len(values) != self.values:
            raise InputError(
                f"the condition of `minimal` is (null, values) with {self.values} values, the own first; got {len(values)}"
            )
        led, record = memory
        times = replicate(jnp.broadcast_to(jnp.asarray(t), x.shape[:1]))
        looked = self.window.holds(times) & self._watches
        count = 1 + self.values
        evaluated = looked | self._whole
        means = unstacked(
            denoise.where_any(
                stacked(*[evaluated] * count), self.inner_states(x), stacked(*[times] * count), stacked(null, *values)
            ),
            count,
        )
        shares = jnp.full(self.values, 1 / self.values, x.dtype)
        posterior = mixture_weights(means[0], means[1:], shares)[:, 0]
        led = led | (looked & (posterior < self.target))
        pick = lambda own, none: jnp.where(expand(led, none), own, none)  # noqa: E731
        x0 = pick(means[1], means[0])
        if not self._whole:
            # outside the window each sample needs one condition alone
            alone = denoise.where_any(~looked, x, t, jax.tree.map(pick, values[0], null))
            x0 = jnp.where(expand(looked, x), x0, alone)
        return x0, (led, record.after(times, looked, led.astype(jnp.float32)))


def minimal(
    denoise: Callable,
    process: Process,
    *,
    target: ArrayLike,
    values: int,
    window: Sequence[float | int] = ALWAYS,
) -> Minimal:
    """Samples without a label, and conditions a sample on its own from when it is about to lose it.

    At each node the posterior p(c | x_t) of the sample's own value c is computed from the posterior means, as in
    `score_mixing`; it is exact for exact means. As long as it is at least `target`, the sample is drawn without a label. From
    the first node where it is below, the sample is conditioned on c. So each sample has a transition point of its own, and one
    that shows its label by itself is that of the plain sampler without labels, bit for bit.

    p(c | x_t) is a martingale of the reverse SDE, which ends at 0 or 1 where images show their values. For exact means and
    short steps, with p_c = p(c) > target,

    - every sample ends with its label: its posterior stays above `target`, or it is drawn from p(x_0 | c, x_t) from there on;
    - a share of (p_c - target) / (1 - target) is never conditioned (optional stopping), the largest there is as target -> 0.

    An attribute that is decided at a larger noise than c is then distributed as without labels, instead of as given c.

    The second statement, and the law of the samples that are conditioned, need a solver of the reverse SDE (`DDPM`,
    `DPMSolverSDE`, `DDIM` with eta 1). Under a deterministic solver these start from a state that is unlikely under c, and
    keep a part of it.

    The guided denoiser takes a pair (null, values): the condition without the attribute, and a tuple of K conditions, the
    sample's own value first. Within the window a step evaluates 1 + K conditions, outside it one; all 1 + K everywhere around
    a guidance with a memory. The record's `first` is the sample's transition point.

    Arguments:
        denoise: the denoiser inside. Classifier-free guidance in it strengthens the label and leaves the posterior as it is.
        process: the forward process.
        target: the least posterior of the own value, in [0, 1]. 0 is sampling without labels and 1 under the own value
            throughout, both bit for bit.
        values: K, the number of values, 2 or more.
        window: the SNR alpha² / sigma² between which posteriors are looked at, (low, high). An edge within the schedule is a
            node of the solver's grid.

    Raises:
        InputError: `target` is outside [0, 1], there are fewer than two values, or the window is outside the schedule.
    """
    if not isinstance(target, jax.core.Tracer) and not 0 <= float(np.asarray(target)) <= 1:
        raise InputError(f"`target` must lie in [0, 1], got {target}")
    if values < 2:
        raise InputError(f"`values` must be at least 2, got {values}")
    return Minimal(as_denoiser(denoise), jnp.asarray(target, jnp.float32), window_of(process, window), values)
