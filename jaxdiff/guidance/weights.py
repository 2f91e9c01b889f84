"""The weights beta(x_t) of the safe denoiser: how strongly a state is moved away from unsafe data."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdiff.errors import InputError
from jaxdiff.process import Process, expand
from jaxdiff.references import References


class Evidence(NamedTuple):
    """The inputs of a weight.

    Attributes:
        process: the forward process.
        x: the states, (B, ...).
        t: their times, (B,).
        data: E[x_0 | x_t], the posterior mean of all data.
        unsafe: E_unsafe[x_0 | x_t].
        log_sum: (B,), the log of the sum of the unsafe references' kernels, if there are references.
        log_kernel: (B,), the log of their mean.
    """

    process: Process
    x: Array
    t: Array
    data: Array
    unsafe: Array
    log_sum: Array
    log_kernel: Array


class Weight(ABC):
    """A weight beta >= 0 per sample. Subclasses are registered pytrees."""

    needs: ClassVar[str | None] = None
    """What it needs besides states and means: `references`, `exact` references, or None."""

    def begin(self, x: Array) -> Any:
        """The memory before the first step, a pytree of arrays with leading axis B."""
        return ()

    @abstractmethod
    def __call__(self, evidence: Evidence, memory: Any) -> tuple[Float[Array, " b"], Any]:
        """The weights, and the memory after them."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Constant(Weight):
    """1 for every state: the strength alone determines the displacement."""

    def __call__(self, evidence: Evidence, memory: Any) -> tuple[Float[Array, " b"], Any]:
        """Ones."""
        return jnp.ones(evidence.x.shape[0], evidence.data.dtype), memory


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Density(Weight):
    """The mean of the unsafe references' kernels, in [0, 1] (Kim et al. 2025, eq. 7, with kernels of height 1)."""

    needs: ClassVar[str | None] = "references"

    def __call__(self, evidence: Evidence, memory: Any) -> tuple[Float[Array, " b"], Any]:
        """(1/N) sum_n exp(logit_n)."""
        return jnp.exp(evidence.log_kernel), memory


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Odds(Weight):
    """The posterior odds of unsafe, with both sets known: the only weight with which samples follow the safe distribution
    exactly (Kim et al. 2025, theorem 3.2).

    Attributes:
        safe: the safe images, with the centre of the unsafe ones. All images have equal weight, so without `log_prior` the
            prior odds are the ratio of the numbers of images.
        log_prior: log of the ratio of the prior odds of unsafe to the ratio of the numbers of images; 0 for parts of one set.
    """

    safe: References
    log_prior: Float[Array, ""]

    needs: ClassVar[str | None] = "exact"

    def __call__(self, evidence: Evidence, memory: Any) -> tuple[Float[Array, " b"], Any]:
        """sum of unsafe kernels / sum of safe kernels."""
        log_safe = self.safe.noised(evidence.process, evidence.x, evidence.t).log_sum
        return bounded_exp(evidence.log_sum - log_safe + self.log_prior), memory


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassifierOdds(Weight):
    """The odds of unsafe by a classifier of noised images.

    Attributes:
        log_odds: a pytree called as `log_odds(x, t)` for log P(unsafe | x_t) / P(safe | x_t), (B,).
    """

    log_odds: Callable

    def __call__(self, evidence: Evidence, memory: Any) -> tuple[Float[Array, " b"], Any]:
        """exp(log_odds)."""
        return bounded_exp(self.log_odds(evidence.x, evidence.t).astype(evidence.data.dtype)), memory


class Track(NamedTuple):
    """The tracked quantities of a sample at the previous node.

    Attributes:
        x, t, data, unsafe: see `Evidence`.
        probability: the tracked P(unsafe | x_t, ...), (B,).
        begun: (B,), whether there was a previous node.
    """

    x: Array
    t: Array
    data: Array
    unsafe: Array
    probability: Array
    begun: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tracked(Weight):
    """The odds of unsafe, tracked along the path of a sample: dynamic negative guidance (Koulischer et al. 2025).

    A step of DDPM from t to s under a posterior mean m is normal with mean mu_m and variance b. By Bayes' rule, in each step

        p_s = p_t exp{(-temperature (||x_s - mu_unsafe||² - ||x_s - mu_data||²) + offset) / (2 b)},

    clipped to [least, most]. With temperature 1 and offset 0 it converges to the posterior for short steps and exact denoisers.
    It needs a DDPM solver, since the steps of others do not have this normal distribution.

    Attributes:
        prior: P(unsafe) at the start, in (0, 1).
        temperature: below 1 for networks, whose errors accumulate in high dimensions.
        offset: allows the probability to increase again.
        least, most: the range of the probability.
    """

    prior: Float[Array, ""]
    temperature: Float[Array, ""]
    offset: Float[Array, ""]
    least: Float[Array, ""]
    most: Float[Array, ""]

    def begin(self, x: Array) -> Track:
        """The prior."""
        probability = jnp.full(x.shape[0], self.prior, x.dtype)
        nothing = jnp.zeros_like(x)
        return Track(nothing, jnp.ones_like(probability), nothing, nothing, probability, jnp.zeros(x.shape[0], bool))

    def __call__(self, evidence: Evidence, memory: Track) -> tuple[Float[Array, " b"], Track]:
        """p / (1 - p)."""
        process, t, before = evidence.process, evidence.t, memory.t
        # mean and variance of the DDPM posterior; a repeated node does not change the probability
        moved = memory.begun & (t < before)
        earlier = jnp.where(moved, before, 1.0)
        later = jnp.where(moved, t, 0.5)
        ratio = jnp.exp(process.log_snr(earlier) - process.log_snr(later))
        variance = jnp.exp(2 * process.log_sigma(later)) * (1 - ratio)
        to_mean = process.alpha(later) * (1 - ratio)
        to_state = ratio * process.alpha(later) / process.alpha(earlier)
        rest = evidence.x - expand(to_state, evidence.x) * memory.x
        error = lambda mean: jnp.square(rest - expand(to_mean, mean) * mean).reshape(len(t), -1).sum(1)  # noqa: E731
        change = (self.offset - self.temperature * (error(memory.unsafe) - error(memory.data))) / (2 * variance)
        log_probability = jnp.log(memory.probability) + jnp.where(moved, change, 0.0)
        probability = jnp.exp(jnp.clip(log_probability, jnp.log(self.least), jnp.log(self.most)))
        begun = jnp.ones_like(memory.begun)
        track = Track(evidence.x, t.astype(before.dtype), evidence.data, evidence.unsafe, probability, begun)
        return probability / (1 - probability), track


def tracked(
    prior: float = 0.01, *, temperature: float | int = 0.2, offset: float | int = 2e-4, least: float = 1e-6, most: float = 0.8
) -> Tracked:
    """See `Tracked`; the defaults are those of the authors' example.

    Raises:
        InputError: 0 < least <= prior <= most < 1 does not hold, or the temperature is below 0.
    """
    if not 0 < least <= prior <= most < 1:
        raise InputError(f"`prior` must lie in [least, most] within (0, 1), got {prior} in [{least}, {most}]")
    if not temperature >= 0:
        raise InputError(f"`temperature` must be at least 0, got {temperature}")
    return Tracked(*(jnp.asarray(value, jnp.float32) for value in (prior, temperature, offset, least, most)))


def bounded_exp(log_weight: Array) -> Array:
    """exp, bounded to stay finite, so that a weight times a difference of 0 is 0."""
    return jnp.exp(jnp.minimum(log_weight, np.log(np.finfo(log_weight.dtype).max) / 2))
