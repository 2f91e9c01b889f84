"""Clipping of the posterior mean to the range of the data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import Guidance, as_denoiser


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Clipped(Guidance):
    """See `clipped`."""

    low: float | Array
    high: float | Array

    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The inner posterior mean, clipped."""
        return jnp.clip(denoise(x, t, condition), self.low, self.high)


def clipped(denoise: Callable, low: float | Array = -1.0, high: float | Array = 1.0) -> Clipped:
    """Keeps the posterior mean in [low, high], where the mean of data in that range must lie.

    Solvers derive eps from the posterior mean, so a step remains consistent after clipping (with the unclipped eps it would
    not follow the marginals).

    Arguments:
        denoise: the denoiser inside.
        low: lower end of the data's range; -1 for images.
        high: upper end; 1 for images.
    """
    return Clipped(as_denoiser(denoise), low, high)
