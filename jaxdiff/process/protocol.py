"""The interface of forward processes, as used by solvers, denoisers and guidances.

A process maps data to noise, or to a sample of another prior, as t goes from 0 to 1:

    x_t = alpha(t) x_0 + sigma(t) e.

The e are standard normal in a `GaussianProcess`. Solvers use alpha, sigma and derived quantities: the log signal-to-
noise ratio and its inverse, the drift f and the squared diffusion g² of the forward SDE dx = f(t) x dt + g(t) dW, and the
conversions between the five things that a network may predict: x0, eps, v, score, and EDM's preconditioned x0. All of them are
derived here.

A new kind of process is a file that defines log alpha, log sigma, the time of a log SNR and the prior. The prior may depend on
the condition of its sample, and may complete it: a bridge draws an x_T wherever the condition has none (see `bridge`).
This is all that deterministic solvers need; stochastic solvers draw noise from N(0, I).

At t = 0 there is no noise, for every process.
"""

from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from jaxdiff.choices import Prediction
from jaxdiff.errors import InputError

SIGMA_DATA = 0.5  # the standard deviation of data that EDM's preconditioning assumes (Karras et al. 2022, table 1)


def expand(values: Array, like: Array) -> Array:
    """`values` of shape () or (B,) with trailing axes of length 1, so that it broadcasts against `like` of shape (B, ...)."""
    values = jnp.asarray(values)
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim)) if values.ndim else values


class Process(ABC):
    """A forward process. Subclasses are registered pytrees, so that jit takes one as an argument.

    Times are floats in [0, 1], of shape () or (B,); each method returns its result in the shape of `t`, or, where it takes
    `x` of shape (B, ...), in the shape of `x`.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name, for messages and records."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Name and parameters: JSON-ready, and equal for equal processes."""

    @abstractmethod
    def log_alpha(self, t: ArrayLike) -> Array:
        """log alpha(t)."""

    @abstractmethod
    def log_sigma(self, t: ArrayLike) -> Array:
        """log sigma(t): -inf at t = 0."""

    @abstractmethod
    def time(self, log_snr: ArrayLike) -> Array:
        """The t at which `log_snr(t)` has this value: the inverse of `log_snr`."""

    @abstractmethod
    def prior(self, key: PRNGKeyArray, shape: tuple[int, ...], condition: Any, t: ArrayLike = 1.0) -> Array:
        """One draw of the initial state x_t of a sample.

        Arguments:
            key: a key.
            shape: the shape of one sample.
            condition: the condition of the sample: one row of the condition of `sample`, without a batch axis.
            t: a time () near 1.
        """

    def conditioned(self, key: PRNGKeyArray, shape: tuple[int, ...], condition: Any) -> Any:
        """The condition of a sample, completed by what the process draws for it: as it is, except for bridges.

        Arguments:
            key, shape, condition: see `prior`.
        """
        return condition

    def network_input(self, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """What a network is shown of the state: x in units of `scale`, of unit variance for data of unit variance.

        Arguments:
            x: the state (B, ...).
            t: its time.
            condition: the condition, with leading axis B.
        """
        return x / expand(self.scale(t), x)

    @property
    def timesteps(self) -> int:
        """T, the number of discrete timesteps, where timestep = t T."""
        return 1000

    @property
    def discrete(self) -> bool:
        """Whether it is a table of `timesteps` discrete steps."""
        return False

    @property
    def preserves_variance(self) -> bool:
        """Whether alpha² + sigma² = 1 at every time."""
        return False

    def alpha(self, t: ArrayLike) -> Array:
        """alpha(t), the scale of the signal."""
        return jnp.exp(self.log_alpha(t))

    def sigma(self, t: ArrayLike) -> Array:
        """sigma(t), the standard deviation of the noise."""
        return jnp.exp(self.log_sigma(t))

    def log_snr(self, t: ArrayLike) -> Array:
        """log(alpha² / sigma²), natural logarithm, decreasing in t; +inf at t = 0."""
        return 2 * (self.log_alpha(t) - self.log_sigma(t))

    def snr(self, t: ArrayLike) -> Array:
        """alpha² / sigma²."""
        return jnp.exp(self.log_snr(t))

    def f(self, t: ArrayLike) -> Array:
        """The drift f(t) = d log alpha / dt of the forward SDE (Kingma et al. 2021, eq. 5 of the supplement)."""
        return self._derivative(self.log_alpha, t)

    def g2(self, t: ArrayLike) -> Array:
        """The squared diffusion g²(t) = d sigma² / dt - 2 f sigma². For a variance-preserving process it is beta(t)."""
        sigma2 = lambda t: jnp.exp(2 * self.log_sigma(t))  # noqa: E731
        return self._derivative(sigma2, t) - 2 * self.f(t) * sigma2(t)

    def reverse_drift(self, t: ArrayLike) -> tuple[Array, Array]:
        """m and k of the reverse SDE dx = (m x - k E[x_0 | x_t]) dt + g dW: m = f + g² / sigma², k = g² alpha / sigma²."""
        rate = self.g2(t) / self.sigma(t) ** 2
        return self.f(t) + rate, rate * self.alpha(t)

    def g2_increment(self, t: ArrayLike, t_next: ArrayLike) -> Array:
        """The variance that the forward process adds between `t_next` and `t` > `t_next`, at `t`: sigma² (1 -
        SNR(t)/SNR(t_next)).

        It is the integral of g² over the step, scaled by the decay up to `t`; for a DDPM table it is exactly
        beta' = 1 - abar_t / abar_t_next, the beta of the sub-sampled chain.
        """
        # in a step of no length, rounding may make the difference positive
        return -jnp.exp(2 * self.log_sigma(t)) * jnp.expm1(jnp.minimum(self.log_snr(t) - self.log_snr(t_next), 0.0))

    def scale(self, t: ArrayLike) -> Array:
        """sqrt(alpha² + sigma²), the standard deviation of noised data of unit variance: 1 where variance is preserved."""
        if self.preserves_variance:
            return jnp.ones_like(self._as_time(t))
        return jnp.hypot(self.alpha(t), self.sigma(t))

    def noised(self, x0: Float[Array, "b ..."], eps: Float[Array, "b ..."], t: ArrayLike) -> Float[Array, "b ..."]:
        """x_t = alpha x_0 + sigma eps."""
        return expand(self.alpha(t), x0) * x0 + expand(self.sigma(t), x0) * eps

    def estimate(
        self, kind: Prediction, output: Float[Array, "b ..."], x: Float[Array, "b ..."], t: ArrayLike, condition: Any
    ) -> Float[Array, "b ..."]:
        """The estimate of x_0 of a network that was shown `network_input`: `to_x0`, and for a bridge also `edm_marginal`."""
        return self.to_x0(kind, output, x, t)

    def to_x0(
        self, kind: Prediction, output: Float[Array, "b ..."], x: Float[Array, "b ..."], t: ArrayLike
    ) -> Float[Array, "b ..."]:
        """The estimate of x_0 that a prediction of this kind implies at x_t = `x`."""
        alpha, sigma = expand(self.alpha(t), x), expand(self.sigma(t), x)
        match kind:
            case "x0":
                return output
            case "eps":
                return (x - sigma * output) / alpha
            case "v":
                return (alpha * x - sigma * output) / (alpha**2 + sigma**2)
            case "score":
                return (x + sigma**2 * output) / alpha
            case "edm":
                spread = sigma**2 + alpha**2 * SIGMA_DATA**2
                return (SIGMA_DATA**2 * alpha * x + SIGMA_DATA * sigma * jnp.sqrt(spread) * output) / spread
            case _:
                raise InputError(f"`kind` {kind!r} is for bridges, got the process {self.name}")

    def from_x0(
        self, kind: Prediction, x0: Float[Array, "b ..."], x: Float[Array, "b ..."], t: ArrayLike
    ) -> Float[Array, "b ..."]:
        """The prediction of this kind that an estimate of x_0 implies at x_t = `x` (t > 0).

        It is `target` with eps = (x - alpha x_0) / sigma.
        """
        alpha, sigma = expand(self.alpha(t), x), expand(self.sigma(t), x)
        return self.target(kind, x0, (x - alpha * x0) / sigma, t)

    def target(
        self, kind: Prediction, x0: Float[Array, "b ..."], eps: Float[Array, "b ..."], t: ArrayLike
    ) -> Float[Array, "b ..."]:
        """The target of a network of this kind at x_t = alpha x_0 + sigma eps.

        v = alpha eps - sigma x_0 (Salimans & Ho 2022), score = -eps / sigma, and `edm` is (x_0 - c_skip x_t / alpha) / c_out
        with the noise level sigma / alpha (Karras et al. 2022, eq. 7 and table 1). The input is scaled for data of unit
        variance (see `scale`), not by c_in.
        """
        alpha, sigma = expand(self.alpha(t), x0), expand(self.sigma(t), x0)
        match kind:
            case "x0":
                return x0
            case "eps":
                return eps
            case "v":
                return alpha * eps - sigma * x0
            case "score":
                return -eps / sigma
            case "edm":
                spread = jnp.sqrt(sigma**2 + alpha**2 * SIGMA_DATA**2)
                return (sigma / SIGMA_DATA * x0 - SIGMA_DATA * alpha * eps) / spread
            case _:
                raise InputError(f"`kind` {kind!r} has no target in x_0 and eps alone: x_T is part of its noise")

    def _as_time(self, t: ArrayLike) -> Array:
        return jnp.asarray(t, jnp.result_type(float))

    def _derivative(self, function, t):
        t = self._as_time(t)
        return jax.jvp(function, (t,), (jnp.ones_like(t),))[1]
