"""Heun's method on the probability flow, with EDM's churn (Karras et al. 2022), or after an SDE step (Zhou et al. 2024)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdiff.errors import InputError
from jaxdiff.process import Process, expand
from jaxdiff.solvers.base import Count, Node, Solver, State, half_log_snr, posterior_noise
from jaxdiff.solvers.ddim import ancestral


@dataclass(frozen=True)
class Heun(Solver):
    """The trapezoid rule for d(x/alpha) / d(sigma/alpha) = eps (Karras et al. 2022, algorithms 1 and 2).

    Two evaluations per step, and one in a step that ends at t = 0. Both slopes of a step use the condition on the same side of
    a breakpoint. With churn, noise is added before each step, but never beyond a breakpoint or t = 1.

    Arguments:
        churn: S_churn, at least 0; the noise level is multiplied by 1 + min(churn / steps, sqrt(2) - 1). 0 is deterministic.
        churn_min: minimum noise level sigma / alpha with churn, S_tmin.
        churn_max: maximum noise level with churn, S_tmax.
        churn_noise: standard deviation of the added noise, S_noise.
    """

    name = "heun"
    order = 2

    spacing: str = "karras"
    churn: float = 0.0
    churn_min: float = 0.05
    churn_max: float = 50.0
    churn_noise: float = 1.003

    def __post_init__(self):
        super().__post_init__()
        if self.churn < 0:
            raise InputError(f"`churn` must be at least 0, got {self.churn}")
        if not 0 <= self.churn_min < self.churn_max:
            raise InputError(f"`churn_min` must lie in [0, churn_max={self.churn_max}), got {self.churn_min}")
        if not self.churn_noise > 0:
            raise InputError(f"`churn_noise` must be above 0, got {self.churn_noise}")

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return self.churn > 0

    @property
    def reversible(self) -> bool:
        """See `Solver.reversible`."""
        return not self.stochastic

    def evaluations_after(self, done: Count) -> Count:
        """See `Solver.evaluations_after`."""
        return 2 * (self.steps - done) - (self.end == "data")

    def history(self, x: Array) -> Array:
        """The maximum time after churn, (B,): 1, or the last breakpoint."""
        return jnp.ones(x.shape[:1], jnp.float32)

    def step(self, process: Process, denoise: Callable, x: Array, node: Node, noise: Callable, history: Any) -> State:
        """See `Solver.step`."""
        t, t_next, restart = node
        latest = jnp.where(restart, t, history)
        if self.stochastic:
            x, t = self._churned(process, x, t, latest, noise(0))
        return State(_heun(process, denoise, x, t, t_next), latest)

    def _churned(self, process, x, t, latest, noise):
        log_snr = process.log_snr(t)
        level = jnp.exp(-0.5 * log_snr)
        within = (level >= self.churn_min) & (level <= self.churn_max)
        risen = process.time(log_snr - 2 * np.log1p(min(self.churn / self.steps, 2**0.5 - 1)))
        raised = jnp.where(within, jnp.clip(risen, t, latest), t)
        # in units of x/alpha the variance rises from S² to that of the raised time
        alpha, before = expand(process.alpha(raised), x), expand(process.alpha(t), x)
        # where nothing is added, rounding may make the difference negative
        rise = jnp.maximum(log_snr - process.log_snr(raised), 0.0)
        added = expand(level * jnp.sqrt(jnp.expm1(rise)), x)
        return alpha * (x / before + self.churn_noise * added * noise), raised


@dataclass(frozen=True)
class HybridHeun(Solver):
    """The sampler of diffusion bridges: each step begins with the reverse SDE and ends with Heun on the flow (Zhou et al. 2024,
    algorithm 1).

    The stochastic part is the first `churn` of the step, and is solved exactly for a posterior mean that stays constant, where
    the paper takes a step of Euler-Maruyama. Three evaluations per step, and two in one that ends at t = 0.

    Arguments:
        churn: the share of each step that is stochastic, in [0, 1); 0 is Heun's method.
    """

    name = "hybrid_heun"
    order = 1

    spacing: str = "karras"
    churn: float = 0.33

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.churn < 1:
            raise InputError(f"`churn` must lie in [0, 1), got {self.churn}")

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return self.churn > 0

    def evaluations_after(self, done: Count) -> Count:
        """See `Solver.evaluations_after`."""
        return (2 + self.stochastic) * (self.steps - done) - (self.end == "data")

    def step(self, process: Process, denoise: Callable, x: Array, node: Node, noise: Callable, history: Any) -> State:
        """See `Solver.step`."""
        t, t_next, _ = node
        if self.stochastic:
            between = t + self.churn * (t_next - t)
            x = ancestral(process, denoise(x, t), x, node._replace(t_next=between), noise(0), "small")
            t = between
        return State(_heun(process, denoise, x, t, t_next), history)


def _heun(process: Process, denoise: Callable, x: Array, t: Array, t_next: Array) -> Array:
    """One step of the trapezoid rule on the flow."""
    x0 = denoise(x, t)
    alpha, sigma = expand(process.alpha(t_next), x), expand(process.sigma(t_next), x)
    euler = alpha * x0 + sigma * posterior_noise(process, x0, x, t)
    # just before the node, so that the step does not cross a breakpoint there; at t = 0 there is no second slope
    ends = t_next <= 0
    beside = jnp.where(ends, t, jnp.nextafter(t_next, jnp.inf))
    growth = jnp.expm1(half_log_snr(process, beside, x) - half_log_snr(process, t, x))
    second = jax.lax.cond(jnp.all(ends), lambda: x0, lambda: denoise(euler, beside))
    # the mean of both slopes, as a correction of Euler's step that needs no division by alpha
    return euler + jnp.where(expand(ends, x), 0.0, 0.5 * alpha * growth * (second - x0))
