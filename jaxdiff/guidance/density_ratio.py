"""Guidance by the gradient of a density ratio, as classifier guidance is: samples of p(x) r(x) in place of p(x)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import Guidance, as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance.displacing import at_least_zero
from jaxdiff.parallel import replicate
from jaxdiff.process import Process, expand


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DensityRatio(Guidance):
    """See `density_ratio`."""

    log_ratios: tuple[Callable, ...]
    strength: Float[Array, ""]
    process: Process
    given: Callable | None = field(metadata={"static": True})

    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """x0 + strength sigma² / alpha grad log r."""
        x0 = denoise(x, t, condition)
        given = condition if self.given is None else self.given(condition)
        times = replicate(jnp.broadcast_to(jnp.asarray(t), x.shape[:1]))

        def moved(x0):
            _, pull_back = jax.vjp(lambda x: sum(each(x, times, given) for each in self.log_ratios), x)
            (slope,) = pull_back(jnp.ones(x.shape[:1], x.dtype))
            factor = self.strength * self.process.sigma(times) ** 2 / self.process.alpha(times)
            return x0 + (expand(factor, x) * slope).astype(x0.dtype)

        return jax.lax.cond(self.strength > 0, moved, lambda x0: x0, x0)


def density_ratio(
    denoise: Callable,
    process: Process,
    log_ratios: Sequence[Callable],
    *,
    strength: ArrayLike = 1.0,
    given: Callable | None = None,
) -> DensityRatio:
    """Samples from p(x | c) r(x, c), by the gradient of log r at noised samples:

        D(x_t, c) + strength sigma² / alpha grad log r_t(x_t, c),    r_t(x_t, c) = E[r(x_0, c) | x_t, c].

    This is the posterior mean of p r at strength 1 for an exact r_t, since grad log p_t = (alpha D - x_t) / sigma²: the
    classifier guidance of Dhariwal & Nichol (2021, arXiv 2105.05233, section 4) for any ratio. With the ratio of
    `NoisedClassifier.log_ratio` other attributes of the samples have new shares within each group: distribution guidance. That
    of Parihar et al. (2024, arXiv 2402.18206) leads a batch until the mean posterior of an attribute is the reference; here the
    known shares take the place of those of the batch, so that a sample does not depend on the others.

    Several ratios are multiplied: with those of several attributes, the result is exact if these are independent of each other
    given c and x_t.

    The guided denoiser takes the condition of the denoiser inside. A step evaluates it once, and each ratio with its gradient.

    Arguments:
        denoise: the denoiser inside.
        process: the forward process.
        log_ratios: pytrees, each called as `log_ratio(x, t, c)` for log r_t, (B,), with t of shape (B,).
        strength: at least 0; 0 is the denoiser inside, bit for bit.
        given: a function of the condition that gives c; hashable, since a program is compiled for it. None: c is the condition.

    Raises:
        InputError: there is no ratio, or the strength is below 0.
    """
    if not log_ratios:
        raise InputError("`log_ratios` must be one or more functions, got none")
    ratios = tuple(map(as_denoiser, log_ratios))
    return DensityRatio(as_denoiser(denoise), ratios, at_least_zero("strength", strength), process, given)
