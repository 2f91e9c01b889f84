"""Dynamic thresholding: the posterior mean is rescaled into the range of the data (Saharia et al. 2022)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import Guidance, as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.process import expand

PERCENTILE = 99.5
"""The default of the diffusers library."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Thresholded(Guidance):
    """See `dynamic_thresholding`."""

    percentile: Float[Array, ""]

    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The inner posterior mean, clipped to [-s, s] and divided by s."""
        x0 = denoise(x, t, condition)
        size = jnp.abs(x0).reshape(len(x0), -1).astype(jnp.promote_types(x0.dtype, jnp.float32))
        s = expand(jnp.maximum(jnp.percentile(size, self.percentile, axis=1), 1.0).astype(x0.dtype), x0)
        return jnp.clip(x0, -s, s) / s


def dynamic_thresholding(denoise: Callable, percentile: ArrayLike = PERCENTILE) -> Thresholded:
    """Keeps the posterior mean in [-1, 1] without saturating it under strong guidance (Saharia et al. 2022, section 2.3):

        x0 <- clip(x0, -s, s) / s,    s = max(1, percentile of |x0| over the sample).

    A mean within [-1, 1] is unchanged, bit for bit. It replaces `clipped`, and must be applied to the unclipped mean of the
    network, not to `model.denoise` of a model that clips. It is for data in [-1, 1], not for latents or series.

    Arguments:
        denoise: the denoiser inside.
        percentile: in [0, 100]; 100 divides by the largest entry; with lower values more entries saturate at -1 and 1.

    Raises:
        InputError: `percentile` is outside [0, 100].
    """
    if not isinstance(percentile, jax.core.Tracer) and not 0 <= float(np.asarray(percentile)) <= 100:
        raise InputError(f"`percentile` must lie in [0, 100], got {percentile}")
    return Thresholded(as_denoiser(denoise), jnp.asarray(percentile, jnp.float32))
