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

BOUNDED = (0.0047, float("inf"))
"""The window that leaves out what is noisier than Stable Diffusion's last timestep: there sigma² / alpha has no bound."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Particle(Displacing):
    """See `particle`."""

    def prepare(self, x: Array) -> Array:
        """Which rows are different samples."""
        return copies(x)

    def push(self, x: Float[Array, "b ..."], t: Float[Array, " b"], x0: Float[Array, "b ..."], own: Any) -> Array:
        """sigma² / alpha times the added score."""
        batch = pairs(x, own)
        width = bandwidth(batch)
        # -grad_i of the potential, h held fixed
        score = 2 / width * batch.away(jnp.exp(-batch.squares / width))
        unit = jnp.exp(2 * self.process.log_sigma(t) - self.process.log_alpha(t))
        return expand(unit, x) * score.reshape(x.shape)


def bandwidth(batch: Pairs) -> Float[Array, "b 1"]:
    """h = median² / log n of each row, the median being over all pairs of different samples and n the number of those.

    Infinite for a sample alone: nothing repels it.
    """
    number = 1 + batch.others.sum(1, keepdims=True)
    # of distances, not of their squares: the two differ where a median is the mean of two
    median = jnp.nanmedian(jnp.where(batch.others, jnp.sqrt(batch.squares), jnp.nan))
    return jnp.where(number > 1, jnp.square(median) / jnp.log(jnp.maximum(number, 2)), jnp.inf)


def particle(denoise: Callable, process: Process, *, strength: ArrayLike, window: tuple[float, float] = BOUNDED) -> Particle:
    """Adds to each sample's score the slope of a potential that is high where samples crowd (Corso et al., ICLR 2024):

        score_i += -strength grad_i Phi,    Phi = sum_j exp(-||x_i - x_j||² / h),    h = median² / log n,

    over the n samples of the batch, the median being that of the distances between their states x_t, and h held fixed in the
    slope. Since x0 = (x_t + sigma² score) / alpha, it is x0 += sigma² / alpha (2 strength / h) sum_j exp(.) (x_i - x_j).

    Against the rule, a sample depends on the batch that it is drawn in; alone it is the plain sample. Samples are told apart by
    their first states, those of one state being one sample under several conditions, as guidances outside ask for: around
    classifier-free guidance or within it is the same.

    Put `clipped` outside it: a moved mean may leave the range of the data.

    Arguments:
        denoise: the denoiser inside, which may be a guidance.
        process: the forward process.
        strength: at least 0. In the noise, where distances are about sqrt(2 D), the added score is about strength log(n) /
            sqrt(D) long, beside the score's own sqrt(D) / sigma: a strength of D / log n would act as strongly as the model.
        window: SNR between which it acts; an edge within the schedule is a node of the solver's grid. By default from Stable
            Diffusion's noisiest timestep on: towards alpha = 0 the displacement of the mean grows without bound.

    Raises:
        InputError: a strength below 0, or a window outside the schedule.
    """
    return Particle(*fields(denoise, process, window, strength))
