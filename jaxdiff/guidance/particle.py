"""Particle guidance: the samples of a batch repel each other (Corso et al. 2024)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.guidance.displacing import Displacing, fields
from jaxdiff.guidance.pairs import Pairs, copies, pairs
from jaxdiff.process import Process, expand
from jaxdiff.square_root import square_root

BOUNDED = (0.0047, float("inf"))
"""The window without noise levels above that of Stable Diffusion's last timestep, where sigma² / alpha is unbounded."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Particle(Displacing):
    """See `particle`."""

    def prepare(self, x: Array) -> Array:
        """Which rows are different samples."""
        return copies(x)

    def push(self, x: Float[Array, "b ..."], t: Float[Array, " b"], x0: Float[Array, "b ..."], own: Any) -> Array:
        """The added score, times sigma² / alpha."""
        batch = pairs(x, own)
        width = bandwidth(batch)
        # -grad_i of the potential, with h constant
        score = 2 / width * batch.away(jnp.exp(-batch.squares / width))
        unit = jnp.exp(2 * self.process.log_sigma(t) - self.process.log_alpha(t))
        return expand(unit, x) * score.reshape(x.shape)


def bandwidth(batch: Pairs) -> Float[Array, "b 1"]:
    """h = median² / log n of each row, where the median is over all pairs of different samples and n is their number.

    Infinite for a single sample, which nothing repels.
    """
    number = 1 + batch.others.sum(1, keepdims=True)
    # of distances, not squares: these differ where the median is the mean of two values
    median = jnp.nanmedian(jnp.where(batch.others, square_root(batch.squares), jnp.nan))
    return jnp.where(number > 1, jnp.square(median) / jnp.log(jnp.maximum(number, 2)), jnp.inf)


def particle(denoise: Callable, process: Process, *, strength: ArrayLike, window: tuple[float, float] = BOUNDED) -> Particle:
    """Adds to each sample's score the gradient of a potential that is high where samples are close (Corso et al., ICLR 2024):

        score_i += -strength grad_i Phi,    Phi = sum_j exp(-||x_i - x_j||² / h),    h = median² / log n,

    over the n samples of the batch, with the median of the distances between their states x_t; h is constant in the gradient.
    Since x0 = (x_t + sigma² score) / alpha, it is x0 += sigma² / alpha (2 strength / h) sum_j exp(.) (x_i - x_j).

    Unlike elsewhere, a sample depends on its batch; a single sample is unchanged. Rows with the same initial state count as one
    sample under several conditions, as outer guidances evaluate them, so the result is the same inside and outside of
    classifier-free guidance.

    Apply `clipped` outside it, since the moved mean may leave the range of the data.

    Arguments:
        denoise: the denoiser inside, which may be a guidance.
        process: the forward process.
        strength: at least 0. For noise, with distances of about sqrt(2 D), the norm of the added score is about strength log(n)
            / sqrt(D), compared with sqrt(D) / sigma for the score: at strength D / log n both are of the same order.
        window: SNR between which it acts; an edge within the schedule is a node of the solver's grid. By default it starts
            at Stable Diffusion's last timestep, since the displacement is unbounded towards alpha = 0.

    Raises:
        InputError: the strength is below 0, or the window is outside the schedule.
    """
    return Particle(*fields(denoise, process, window, strength))
