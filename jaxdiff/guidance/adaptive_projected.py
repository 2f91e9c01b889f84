"""Adaptive projected guidance: classifier-free guidance with the saturating component removed (Sadat et al. 2024)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.defaults import PROJECTED_ETA, PROJECTED_MOMENTUM, PROJECTED_RADIUS
from jaxdiff.denoiser import Stateful, as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance.scale import scale_of
from jaxdiff.parallel import stacked, unstacked
from jaxdiff.square_root import square_root


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AdaptiveProjected(Stateful):
    """See `adaptive_projected`."""

    null: Any
    scale: Float[Array, ""]
    eta: Float[Array, ""]
    radius: Float[Array, ""]
    momentum: Float[Array, ""]

    def inner_states(self, x: Array) -> Array:
        """x twice."""
        return stacked(x, x)

    def begin(self, x: Array) -> Array:
        """A zero running difference."""
        return jnp.zeros_like(x)

    def guide(
        self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any, memory: Any
    ) -> tuple[Array, Any]:
        """The guided posterior mean, and the running difference after it."""
        null = jax.tree.map(lambda n, c: jnp.broadcast_to(n, c.shape).astype(c.dtype), self.null, condition)
        times = jnp.broadcast_to(jnp.asarray(t), x.shape[:1])
        both = denoise(self.inner_states(x), stacked(times, times), stacked(condition, null))
        conditional, unconditional = unstacked(both, 2)
        running = conditional - unconditional + self.momentum * memory
        size = square_root(_dot(running, running))
        longer = size > self.radius
        # both parts of the quotient are chosen first: an infinite radius has no finite derivative
        update = running * (jnp.where(longer, self.radius, 1.0) / jnp.where(longer, size, 1.0))
        square = _dot(conditional, conditional)
        parallel = _dot(update, conditional) / jnp.where(square > 0, square, 1.0) * conditional
        # orthogonal + eta parallel, written so that eta 1 is the whole difference exactly
        update = update + (self.eta - 1) * parallel
        return conditional + (scale_of(self.scale, condition, x) - 1) * update, running


def _dot(a: Float[Array, "b ..."], b: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
    """The inner product of each sample, with axes of length 1 to broadcast; float32 at least."""
    wide = jnp.promote_types(a.dtype, jnp.float32)
    return jnp.sum(a.astype(wide) * b.astype(wide), axis=tuple(range(1, a.ndim)), keepdims=True)


def adaptive_projected(
    denoise: Callable,
    null: Any,
    scale: ArrayLike,
    *,
    eta: ArrayLike = PROJECTED_ETA,
    radius: ArrayLike = PROJECTED_RADIUS,
    momentum: ArrayLike = PROJECTED_MOMENTUM,
) -> AdaptiveProjected:
    """Classifier-free guidance with a projected, rescaled update with momentum (Sadat et al. 2024, algorithm 1):

        d <- m_c - m_null + momentum d,    u = d min(1, radius / ||d||),    m_c + (scale - 1) (u_orthogonal + eta u_parallel),

    in x0, with m_c and m_null the posterior means under the condition and the null condition, d = 0 before the first step, and
    u split into its parts parallel and orthogonal to m_c; norms and products are over all entries of a sample. The parallel
    part saturates colours at large scales. With eta 1, radius inf and momentum 0 it is `classifier_free`, bit for bit.
    One evaluation at twice the batch. The guided mean may leave the range of the data: apply a clipping policy outside.

    Arguments:
        denoise: the denoiser inside.
        null: the null condition, see `classifier_free`.
        scale: w; 1 is the conditional denoiser, bit for bit. Conditions may have their own, see `classifier_free`.
        eta: weight of the parallel part; 0 removes it.
        radius: r, the maximum norm of the update before scaling, at least 0, in the data's units; norms grow with the square
            root of the dimension.
        momentum: beta, in (-1, 1); below 0, as in the paper, previous updates are subtracted.

    Raises:
        InputError: a radius below 0, or a momentum outside (-1, 1).
    """
    if not isinstance(radius, jax.core.Tracer) and not float(np.asarray(radius)) >= 0:
        raise InputError(f"`radius` must be at least 0, got {radius}")
    if not isinstance(momentum, jax.core.Tracer) and not -1 < float(np.asarray(momentum)) < 1:
        raise InputError(f"`momentum` must lie in (-1, 1), got {momentum}")
    numbers = [jnp.asarray(number, jnp.float32) for number in (scale, eta, radius, momentum)]
    return AdaptiveProjected(as_denoiser(denoise), jax.tree.map(jnp.asarray, null), *numbers)
