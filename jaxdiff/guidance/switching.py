"""Attribute switching: the condition is a function of t."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import Guidance, as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.parallel import gather
from jaxdiff.process import expand


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Switching(Guidance):
    """See `switching`."""

    at: Float[Array, ""] | Float[Array, " b"]

    def own_breakpoints(self) -> tuple[Array, ...]:
        """The transition point."""
        return (self.at,)

    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The inner posterior mean under the condition in force at `t`: `start` where t > at, `end` where t <= at."""
        start, end = condition
        switched = jnp.broadcast_to(jnp.asarray(t) <= self.at, x.shape[:1])
        chosen = jax.tree.map(lambda s, e: jnp.where(expand(switched, s), e, s), start, end)
        return denoise(x, t, chosen)


def switching(denoise: Callable, at: ArrayLike | Sequence[Any]) -> Switching:
    """Starts each sample under one condition and continues under another from the transition point on (arXiv 2401.03140).

    The guided denoiser takes a pair of conditions (start, end), each in the form of the inner denoiser. It costs no extra
    evaluation of the network. A sample belongs to the group of its end condition. Only a set switched in both directions can
    be independent of the attribute.

    Arguments:
        denoise: the denoiser inside.
        at: the transition point tau in [0, 1] on the process's time axis, one for all () or one per sample (B,). At 0
            the sample is that of `start`, at 1 that of `end`, bit for bit.

    Raises:
        InputError: `at` is outside [0, 1] or not of shape () or (B,).
    """
    if not isinstance(at, jax.core.Tracer):
        values = np.asarray(gather(at), np.float32)
        if values.ndim > 1 or not np.all((values >= 0) & (values <= 1)):
            raise InputError(f"`at` must be one time or one per sample, in [0, 1]; got {values.tolist()}")
    return Switching(as_denoiser(denoise), jnp.asarray(at, jnp.float32))
