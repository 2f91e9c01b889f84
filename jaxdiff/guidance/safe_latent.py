"""Safe Latent Diffusion: classifier-free guidance that turns away from an unsafe concept where the condition is near it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.defaults import SLD
from jaxdiff.denoiser import Stateful, as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance.displacing import at_least_zero
from jaxdiff.guidance.scale import scale_of
from jaxdiff.parallel import stacked, unstacked
from jaxdiff.process import Process, expand

MEDIUM = SLD["medium"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SafeLatent(Stateful):
    """See `safe_latent`."""

    process: Process
    null: Any
    unsafe: Any
    scale: Float[Array, ""]
    strength: Float[Array, ""]
    threshold: Float[Array, ""]
    start: Float[Array, ""]
    momentum: Float[Array, ""]
    momentum_decay: Float[Array, ""]

    def own_breakpoints(self) -> tuple[Array, ...]:
        """The time at which it starts to act; at strength 0 the end of the time axis, which moves no node."""
        return (jnp.where(self.strength > 0, self.start, 1.0),)

    def inner_states(self, x: Array) -> Array:
        """x for the condition, the null condition and the unsafe concept."""
        return stacked(x, x, x)

    def begin(self, x: Array) -> Array:
        """No momentum."""
        return jnp.zeros_like(x)

    def guide(
        self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any, memory: Any
    ) -> tuple[Array, Any]:
        """The guided posterior mean, and the momentum after it, in units of eps."""
        filled = (
            jax.tree.map(lambda n, c: jnp.broadcast_to(n, c.shape).astype(c.dtype), other, condition)
            for other in (self.null, self.unsafe)
        )
        times = jnp.broadcast_to(jnp.asarray(t), x.shape[:1])
        conditions = stacked(condition, *filled)
        own, null, unsafe = unstacked(denoise(self.inner_states(x), stacked(times, times, times), conditions), 3)
        return self.combined(own, null, unsafe, times, scale_of(self.scale, condition, x), memory)

    def combined(
        self, own: Array, null: Array, unsafe: Array, times: Array, scale: Array, memory: Array
    ) -> tuple[Array, Array]:
        """The guided posterior mean and the momentum after it, from the means under the three conditions at times (B,)."""
        # a difference of eps is minus `unit` times that of x_0; above 0, for processes without signal at t = 1
        unit = expand(self.process.alpha(times) / self.process.sigma(times), own)
        unit = jnp.maximum(unit, jnp.finfo(own.dtype).tiny).astype(own.dtype)
        difference = -unit * (own - unsafe)
        weight = jnp.minimum(self.strength * jnp.abs(difference), 1.0)
        weight = jnp.where(difference < self.threshold, weight, 0.0)
        term = -unit * weight * (unsafe - null) + self.momentum * memory
        memory = self.momentum_decay * memory + (1 - self.momentum_decay) * term
        # in this form scale 1 and no term are exactly the conditional mean
        guided = own + (scale - 1) * (own - null)
        acts = expand((times <= self.start) & (self.strength > 0), own)
        return jnp.where(acts, guided + scale * term / unit, guided), memory


def safe_latent(
    denoise: Callable,
    process: Process,
    null: Any,
    unsafe: Any,
    *,
    scale: ArrayLike,
    strength: ArrayLike = MEDIUM.strength,
    threshold: ArrayLike = MEDIUM.threshold,
    start: ArrayLike = MEDIUM.start,
    momentum: ArrayLike = MEDIUM.momentum,
    momentum_decay: ArrayLike = MEDIUM.momentum_decay,
) -> SafeLatent:
    """Safe Latent Diffusion, SLD (Schramowski et al. 2023, eq. 3 to 8), with any conditions.

    With eps_n, eps_c and eps_u under the null condition, the sample's condition and the unsafe concept, the guided eps is

        eps_n + scale (eps_c - eps_n - G),    G = w (eps_u - eps_n) + momentum nu,
        w = min(1, strength |eps_c - eps_u|) where eps_c - eps_u < threshold, else 0,

    entry by entry, and nu <- momentum_decay nu + (1 - momentum_decay) G after each step, from nu = 0. G acts where t <= start;
    nu accumulates before that too. The difference keeps its sign: entries with eps_c far below eps_u are guided too, as in the
    authors' code and in diffusers' StableDiffusionPipelineSafe. The threshold and the strength are stated for eps, whatever the
    model predicts; that pipeline applies them to the prediction itself, so that of models of v it is another method.

    Where the condition is the concept itself the difference is 0, and so is w: SLD then does nothing. At strength 0, and with
    the null condition as concept, it is `classifier_free`, bit for bit.

    One evaluation at three times the batch, which is 1.5 times the cost of `classifier_free`.

    Arguments:
        denoise: the denoiser inside.
        process: the forward process.
        null: the null condition, see `classifier_free`.
        unsafe: the condition of the unsafe concept, in the form of `null`.
        scale: of classifier-free guidance; 1 is the condition alone. Conditions may have their own, see `classifier_free`.
        strength: s_S, at least 0; the defaults of this and of all below are the authors' preset medium, see
            `jaxdiff.defaults.SLD`.
        threshold: lambda, in units of eps.
        start: the time at or below which it acts, in [0, 1]. The authors' warm-up is a number of steps: for the first
            k steps of a solver it is `solver.times(process)[k]`.
        momentum: s_m, the share of nu in G, at least 0.
        momentum_decay: beta_m, in [0, 1).

    Raises:
        InputError: a number is out of its range.
    """
    if not isinstance(momentum_decay, jax.core.Tracer) and not 0 <= float(np.asarray(momentum_decay)) < 1:
        raise InputError(f"`momentum_decay` must lie in [0, 1), got {momentum_decay}")
    if not isinstance(start, jax.core.Tracer) and not 0 <= float(np.asarray(start)) <= 1:
        raise InputError(f"`start` must be a time in [0, 1], got {start}")
    for name, value in {"threshold": threshold, "scale": scale}.items():
        if not isinstance(value, jax.core.Tracer) and not np.isfinite(np.asarray(value)).all():
            raise InputError(f"`{name}` must be a finite number, got {value}")
    return SafeLatent(
        as_denoiser(denoise),
        process,
        jax.tree.map(jnp.asarray, null),
        jax.tree.map(jnp.asarray, unsafe),
        scale=jnp.asarray(scale, jnp.float32),
        strength=at_least_zero("strength", strength),
        threshold=jnp.asarray(threshold, jnp.float32),
        start=jnp.asarray(start, jnp.float32),
        momentum=at_least_zero("momentum", momentum),
        momentum_decay=jnp.asarray(momentum_decay, jnp.float32),
    )
