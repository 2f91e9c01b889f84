"""Diffusion bridges: processes that end in a sample of a chosen prior (Zhou et al. 2024, "Denoising Diffusion Bridge Models").

A bridge conditions a forward SDE on its end x_T. With r = SNR(1) / SNR(t) of that SDE (table 1 of the paper),

    x_t = a(t) x_T + b(t) x_0 + c(t) e,    a = r alpha(t) / alpha(1),  b = alpha (1 - r),  c² = sigma² (1 - r).

Given x_T, the state y_t = x_t - a(t) x_T is that of a Gaussian process with the signal b and the noise c: its forward SDE is
the conditioned one, with Doob's h in the drift, and its score is that of the bridge. So the state of solvers and guidances is
y, `alpha` and `sigma` of this process are b and c, and every solver and guidance runs on a bridge as on any process. x_T is
part of the condition of a sample (`BridgeCondition.end`), and only the network, which estimates x_0 from x_t, is shown
y + a x_T.

A run starts at y = c(1) e, and not at x_T itself: from there the deterministic flow has no spread at all (its samples given x_T
are one point), whereas the law of y at every t is that of c e to first order in the noise level b / c.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from jaxdiff import priors
from jaxdiff.bounds import shortened
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.choices import Prediction
from jaxdiff.errors import InputError
from jaxdiff.priors import Normal, Prior
from jaxdiff.process.protocol import SIGMA_DATA, Process, expand

SHORT = 1e-15  # what keeps b and c above 0 at t = 1: c(1) lies below the resolution of float32, and log SNR(1) near -35
_DRAW = 1  # folded into the key of a start, for x_T


@dataclass(frozen=True)
class Bridge(Process):
    """A diffusion bridge. Create one with `bridge_vp` or `bridge_ve`.

    Attributes:
        coefficients: the coefficients of the SDE.
        prior: the distribution of x_T.
    """

    kind: ClassVar[str]

    coefficients: Array
    prior_of_end: Prior = field(default_factory=Normal)

    @property
    def name(self) -> str:
        """`bridge_vp` or `bridge_ve`."""
        return self.kind

    @abstractmethod
    def end_weight(self, t: ArrayLike) -> Array:
        """a(t), the weight of x_T in x_t: 0 at t = 0, and 1 at t = 1."""

    @abstractmethod
    def settings(self) -> dict[str, float]:
        """The parameters of the SDE."""

    def config(self) -> dict[str, Any]:
        """The parameters of the SDE and of the prior, and a checksum of the prior's arrays; see `Process.config`."""
        return {"name": self.name, **self.settings(), "prior": self.prior_of_end.config()}

    def scale(self, t: ArrayLike) -> Array:
        """sqrt(a² + b² + c²), the standard deviation of x_t for x_0 and x_T of unit variance."""
        return jnp.sqrt(self.end_weight(t) ** 2 + self.alpha(t) ** 2 + self.sigma(t) ** 2)

    def prior(self, key: PRNGKeyArray, shape: tuple[int, ...], condition: Any, t: ArrayLike = 1.0) -> Array:
        """One draw of y_t = x_t - a x_T near t = 1, from N(0, c² I); see `Process.prior`."""
        return jax.random.normal(key, shape) * self.sigma(t).astype(jnp.float32)

    def conditioned(self, key: PRNGKeyArray, shape: tuple[int, ...], condition: Any) -> Any:
        """The condition, with an x_T from the prior wherever it has none; the same x_T in all conditions of a sample."""

        def completed(each: Any) -> Any:
            if not isinstance(each, BridgeCondition) or each.end is not None:
                return each
            end, known = self.prior_of_end.draw(jax.random.fold_in(key, _DRAW), shape)
            return each._replace(end=end, known=known if each.known is None else each.known)

        return jax.tree.map(completed, condition, is_leaf=lambda each: isinstance(each, BridgeCondition))

    def network_input(self, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """x_t = y + a x_T in units of `scale`."""
        return self.to_bridge_state(x, t, condition) / expand(self.scale(t), x)

    def estimate(
        self, kind: Prediction, output: Float[Array, "b ..."], x: Float[Array, "b ..."], t: ArrayLike, condition: Any
    ) -> Float[Array, "b ..."]:
        """See `Process.estimate`. `edm_marginal` preconditions x_t itself, for a network that does not see x_T.

        To that network a x_T is noise: with s = SIGMA_DATA as the standard deviation of both x_0 and x_T, the noise has the
        variance a² s² + c², and with A = b² s² + a² s² + c²

            x_0 = (b s² x_t + s sqrt(a² s² + c²) sqrt(A) output) / A

        (Zhou et al. 2024, section 4.2, with x_T independent of x_0). The weight of the output vanishes with the noise.
        """
        if kind != "edm_marginal":
            return self.to_x0(kind, output, x, t)
        end, signal, noise = (expand(each(t), x) for each in (self.end_weight, self.alpha, self.sigma))
        noise_variance = end**2 * SIGMA_DATA**2 + noise**2
        variance = signal**2 * SIGMA_DATA**2 + noise_variance
        skipped = signal * SIGMA_DATA**2 * self.to_bridge_state(x, t, condition)
        return (skipped + SIGMA_DATA * jnp.sqrt(noise_variance * variance) * output) / variance

    def to_bridge_state(self, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """x_t = y + a x_T.

        Raises:
            InputError: the condition has no x_T.
        """
        if not isinstance(condition, BridgeCondition) or condition.end is None:
            got = type(condition).__name__ if not isinstance(condition, BridgeCondition) else "one without `end`"
            raise InputError(f"the denoiser of a bridge takes a BridgeCondition with the `end` x_T of each sample, got {got}")
        return x + expand(self.end_weight(t), x) * condition.end


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class VPBridge(Bridge):
    """See `bridge_vp`. With B(t) the integral of beta from 0 to t and D = B(1) - B(t):

    a = sinh(B/2) / sinh(B(1)/2),  b = sinh(D/2) / sinh(B(1)/2),  c² = 2 sinh(B/2) sinh(D/2) / sinh(B(1)/2).
    """

    kind: ClassVar[str] = "bridge_vp"

    def settings(self) -> dict[str, float]:
        beta_min, beta_slope = (float(each) for each in np.asarray(self.coefficients))
        return {"beta_min": beta_min, "beta_slope": beta_slope}

    def end_weight(self, t: ArrayLike) -> Array:
        """See `Bridge.end_weight`."""
        return jnp.exp(_log_sinh(self._integral(t) / 2) - self._whole)

    def log_alpha(self, t: ArrayLike) -> Array:
        """log b(t)."""
        return _log_sinh(self._left(t) / 2) - self._whole

    def log_sigma(self, t: ArrayLike) -> Array:
        """log c(t)."""
        both = _log_sinh(self._integral(t) / 2) + _log_sinh(self._left(t) / 2)
        return 0.5 * (np.log(2) + both - self._whole)

    def time(self, log_snr: ArrayLike) -> Array:
        """See `Process.time`: SNR = 1 / (exp(B) - 1) - 1 / (exp(B(1)) - 1)."""
        beta_min, slope = self.coefficients
        start = 1 / jnp.expm1(self._integral(1.0))
        integral = jnp.log1p(1 / (jnp.exp(self._as_time(log_snr)) + start))
        return jnp.clip(2 * integral / (beta_min + jnp.sqrt(beta_min**2 + 2 * slope * integral)), 0.0, 1.0)

    def reverse_drift(self, t: ArrayLike) -> tuple[Array, Array]:
        """See `Process.reverse_drift`: beta / 2 coth(B/2) and beta / 2 / sinh(B/2), regular at t = 1."""
        t = self._as_time(t)
        half, beta = self._integral(t) / 2, self.coefficients[0] + self.coefficients[1] * t
        return beta / 2 / jnp.tanh(half), beta / 2 / jnp.sinh(half)

    def _integral(self, t: ArrayLike) -> Array:
        t = self._as_time(t)
        return self.coefficients[0] * t + 0.5 * self.coefficients[1] * t**2

    def _left(self, t: ArrayLike) -> Array:
        """B(1) - B(t), accurate near t = 1."""
        t = self._as_time(t)
        return (1 - t) * (self.coefficients[0] + 0.5 * self.coefficients[1] * (1 + t)) + SHORT

    @property
    def _whole(self) -> Array:
        return _log_sinh(self._integral(1.0) / 2)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class VEBridge(Bridge):
    """See `bridge_ve`. a = t², b = 1 - t², c² = sigma_max² t² (1 - t²)."""

    kind: ClassVar[str] = "bridge_ve"

    def settings(self) -> dict[str, float]:
        return {"sigma_max": float(self.coefficients[0])}

    def end_weight(self, t: ArrayLike) -> Array:
        """See `Bridge.end_weight`."""
        return self._as_time(t) ** 2

    def log_alpha(self, t: ArrayLike) -> Array:
        """log b(t)."""
        return jnp.log(self._left(t))

    def log_sigma(self, t: ArrayLike) -> Array:
        """log c(t)."""
        return jnp.log(self.coefficients[0]) + jnp.log(self._as_time(t)) + 0.5 * jnp.log(self._left(t))

    def time(self, log_snr: ArrayLike) -> Array:
        """See `Process.time`: SNR = (1 - t²) / (sigma_max t)²."""
        return 1 / jnp.sqrt(1 + self.coefficients[0] ** 2 * jnp.exp(self._as_time(log_snr)))

    def reverse_drift(self, t: ArrayLike) -> tuple[Array, Array]:
        """See `Process.reverse_drift`: both 2 / t, regular at t = 1."""
        twice = 2 / self._as_time(t)
        return twice, twice

    def _left(self, t: ArrayLike) -> Array:
        t = self._as_time(t)
        return (1 - t) * (1 + t) + SHORT


def bridge_vp(beta_min: float = 0.2, beta_slope: float = 10.0, prior: Prior | None = None) -> VPBridge:
    """The bridge of the variance-preserving SDE with beta(t) = beta_min + beta_slope t.

    a + b is below 1 inside: .61 at t = .5 with the defaults, and .97 with beta_min .1 and beta_slope 2.

    Arguments:
        beta_min: beta(0), above 0.
        beta_slope: above 0; TimeBridge's released configurations call it `beta_d`.
        prior: of x_T, by default N(0, I).
    """
    for name, value in (("beta_min", beta_min), ("beta_slope", beta_slope)):
        if not 0 < value < 1e3:
            raise InputError(f"`{name}` must lie between 0 and 1000, got {value}")
    return VPBridge(_array([beta_min, beta_slope]), Normal() if prior is None else prior)


def bridge_ve(sigma_max: float = 1.0, prior: Prior | None = None) -> VEBridge:
    """The bridge of the variance-exploding SDE with sigma = sigma_max t, a Brownian bridge: a + b = 1 at every time.

    Arguments:
        sigma_max: the noise level of the SDE at t = 1, above 0; the largest standard deviation of the bridge is half of it.
        prior: of x_T, by default N(0, I).
    """
    if not 0 < sigma_max < 1e4:
        raise InputError(f"`sigma_max` must lie between 0 and 10,000, got {sigma_max}")
    return VEBridge(_array([sigma_max]), Normal() if prior is None else prior)


BRIDGES = {"bridge_vp": bridge_vp, "bridge_ve": bridge_ve}
"""The makers of bridges by name."""


def from_config(config: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Bridge:
    """The bridge described by `Bridge.config`, with the arrays of its prior.

    Raises:
        InputError: a setting is unknown, or of another type or range, or the arrays do not match.
    """
    settings = dict(config)
    name = settings.pop("name")
    prior = priors.from_config(settings.pop("prior", {"name": Normal.name}), arrays)
    if wrong := [key for key, value in settings.items() if type(value) not in (int, float)]:
        raise InputError(f"process {name} does not take `{wrong[0]}` {shortened(settings[wrong[0]])}")
    try:
        return BRIDGES[name](**{key: float(value) for key, value in settings.items()}, prior=prior)
    except (TypeError, OverflowError) as error:
        raise InputError(f"process {name} does not take {shortened(settings)}") from error


def _array(values: list[float]) -> Array:
    return jnp.asarray(np.asarray(values, np.float64), jnp.result_type(float))


def _log_sinh(x: Array) -> Array:
    """log sinh(x) for x >= 0, accurate near 0; -inf at 0."""
    return x + jnp.log(-jnp.expm1(-2 * x)) - np.log(2)
