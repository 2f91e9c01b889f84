"""Autoguidance: a model guided away from a weaker version of itself (Karras et al. 2024)."""

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
class Autoguidance(Guidance):
    """See `autoguidance`."""

    weak: Callable
    scale: Float[Array, ""]

    @property
    def children(self) -> tuple[Callable, Callable]:
        """The main model and the weak one."""
        return self.denoiser, self.weak

    def guide(  # ty: ignore[incompatible-method-override]  # a denoiser for each child
        self, denoise: Callable, weak: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any
    ) -> Float[Array, "b ..."]:
        """weak + scale (main - weak)."""
        main = denoise(x, t, condition)
        # in this form scale 1 is exactly the main model
        return main + (self.scale - 1) * (main - weak(x, t, condition))


def autoguidance(denoise: Callable, weak: Callable, scale: ArrayLike) -> Autoguidance:
    """Extrapolates from a weaker model to the main one (Karras et al. 2024, eq. 4): weak + scale (main - weak), in x0.

    The weak model makes larger errors of the same kind: a smaller network or an earlier checkpoint, trained on the same data.
    Unlike classifier-free guidance, this does not strengthen the condition, which both models use.

    It costs one evaluation of each. The extrapolated mean may leave the range of the data: apply a clipping policy outside.

    Arguments:
        denoise: the main denoiser, which may be a guidance.
        weak: the weak denoiser, for the same process, space and conditions, which may be a guidance.
        scale: w; 1 is the main denoiser, bit for bit, above 1 leads away from the weak one, 0 is the weak one.
    """
    return Autoguidance(as_denoiser(denoise), as_denoiser(weak), jnp.asarray(scale, jnp.float32))
