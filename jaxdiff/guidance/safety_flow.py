"""Safety-guided flow: the posterior mean ascends its discrepancy from a set of unsafe images (Kim et al. 2026)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.guidance.displacing import Displacing, fields, require_shape
from jaxdiff.process import Process
from jaxdiff.references import References, references

EARLY = (0.0, 0.0386)
"""The window of the authors' runs, t >= 800 of Stable Diffusion's 1000, as SNR."""
NEAREST = 3
"""Number of nearest references whose mean squared distance sets the kernel width."""
HEIGHT = 0.05
"""The value of the kernel at that distance."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SafetyFlow(Displacing):
    """See `safety_flow`."""

    references: References

    def prepare(self, x: Array) -> Any:
        """Checks that the states have the shape of the references."""
        require_shape(self.references, x)
        return ()

    def push(self, x: Float[Array, "b ..."], t: Float[Array, " b"], x0: Float[Array, "b ..."], own: Any) -> Array:
        """The gradient of the squared discrepancy, (4 gamma / N) sum_n k_n (x0 - y_n)."""
        nearest = self.references.without_repeats().nearest_squares(x0, NEAREST).mean(1, keepdims=True)
        # a mean equal to all of its nearest references up to its own rounding has gradient 0, whatever the width
        flat = x0.reshape(len(x0), -1)
        rounding = jnp.square(4 * jnp.finfo(flat.dtype).eps * flat).sum(1, keepdims=True)
        apart = nearest > rounding
        gamma = jnp.where(apart, -math.log(HEIGHT) / jnp.where(apart, nearest, 1.0), 0.0)
        weight = lambda squares: 4 * gamma / self.references.count * jnp.exp(-gamma * squares)  # noqa: E731
        return self.references.repulsion(x0, weight)


def safety_flow(
    denoise: Callable, process: Process, unsafe: Any, *, strength: ArrayLike, window: tuple[float, float] = EARLY
) -> SafetyFlow:
    """Moves each posterior mean along the gradient of its squared maximum mean discrepancy from unsafe images (SGF, Kim et
    al., ICLR 2026), with the kernel k(a, b) = exp(-gamma ||a - b||²):

        MMD²(z) = k(z, z) - (2/N) sum_n k(z, y_n) + constant,    x0 <- x0 + strength (4 gamma / N) sum_n k_n (x0 - y_n).

    This moves it away from the references. (The authors' released code adds the kernel's derivative with the other sign, which
    attracts.) The width adapts to the sample: gamma = -ln(0.05) / the mean of its squared distances to the 3 nearest
    different references, so that the kernel is 0.05 at that distance, however often an image is repeated; it is constant in
    the gradient and computed per sample, so that a sample does not depend on its batch. Every sample is pushed, however far it
    is: only the strength and the window limit this.

    A mean that equals its nearest references up to rounding stays, as there the direction is undefined. Apply `clipped` outside
    it, since the moved mean may leave the range of the data.

    Arguments:
        denoise: the denoiser inside, which may be a guidance.
        process: the forward process.
        unsafe: (N, ...) images in the data's scale, or `References`.
        strength: at least 0, in squared units of the data. A single reference at distance d moves the mean by 0.6 strength / d;
            N different references, 3 of them at d and the rest far away, by at most 1.8 strength / (N d).
        window: SNR between which it acts; an edge within the schedule is a node of the solver's grid. The authors recommend
            early times.

    Raises:
        InputError: the images are invalid, the strength is below 0, or the window is outside the schedule.
    """
    refs = unsafe if isinstance(unsafe, References) else references(unsafe)
    return SafetyFlow(*fields(denoise, process, window, strength), refs)
