"""Forward processes: how an image turns into noise.

A process is an alpha(t) and a sigma(t) on t in [0, 1], 0 = data and 1 = noise:

    x_t = alpha(t) x_0 + sigma(t) e,   e ~ N(0, I).

Everything else follows from the two and is derived once, here: the log signal-to-noise ratio and its inverse, the drift f
and the squared diffusion g² of the forward SDE dx = f(t) x dt + g(t) dW, the prior, and the conversions between the four
things that a network may predict: x0, eps, v and score.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdiff.errors import InputError

Prediction = Literal["x0", "eps", "v", "score"]
PREDICTIONS: tuple[str, ...] = get_args(Prediction)

COSINE_OFFSET = 0.008  # Nichol & Dhariwal 2021, section 3.2
COSINE_LOG_SNR_MIN = -20.0  # where the continuous cosine stops short of pure noise, as beta <= 0.999 does for the table


class _Kind(NamedTuple):
    """The functions that make a process: log alpha(t), log sigma(t) and t(log SNR), each of (coefficients, argument)."""

    log_alpha: Callable[[Array, Array], Array]
    log_sigma: Callable[[Array, Array], Array]
    time: Callable[[Array, Array], Array]


def _variance_preserving(integrated_beta, time_of_integrated_beta) -> _Kind:
    """alpha² = exp(-B(t)) and sigma² = 1 - alpha², with B(t) the integral of beta from 0 to t (Song et al. 2021, eq. 29)."""
    return _Kind(
        log_alpha=lambda c, t: -0.5 * integrated_beta(c, t),
        log_sigma=lambda c, t: 0.5 * jnp.log(-jnp.expm1(-integrated_beta(c, t))),
        time=lambda c, log_snr: time_of_integrated_beta(c, jax.nn.softplus(-log_snr)),
    )


def _linear_integral(c, t):
    return c[0] * t + 0.5 * (c[1] - c[0]) * t**2


def _linear_time(c, integral):
    return 2 * integral / (c[0] + jnp.sqrt(c[0] ** 2 + 2 * (c[1] - c[0]) * integral))


def _cosine_integral(c, t):
    # alpha = cos(theta) / cos(theta_0), theta linear in t. Near t = 0 the ratio is 1 minus little, near t = 1 it is little:
    # each end has its own form, so that float32 keeps its digits in both.
    first, last = c[0], c[1]
    turned = t * (last - first)
    near_data = jnp.log1p(-2 * jnp.sin(turned / 2) ** 2 - jnp.sin(turned) * jnp.tan(first))
    near_noise = jnp.log(jnp.sin(c[2] + (1 - t) * (last - first)) / jnp.cos(first))
    return -2 * jnp.where(t < 0.5, near_data, near_noise)


def _cosine_time(c, integral):
    first, last = c[0], c[1]
    alpha = jnp.exp(-0.5 * integral)
    versine = (1 - jnp.cos(first)) - jnp.cos(first) * jnp.expm1(-0.5 * integral)
    near_data = (2 * jnp.arcsin(jnp.sqrt(versine / 2)) - first) / (last - first)
    near_noise = 1 - (jnp.arcsin(jnp.clip(alpha * jnp.cos(first), 0, 1)) - c[2]) / (last - first)
    return jnp.where(alpha > 0.7, near_data, near_noise)


def _table_integral(table, t):
    steps = table.shape[0] - 1
    position = t * steps
    node = jnp.clip(jnp.floor(position), 0, steps - 1).astype(jnp.int32)
    return table[node] + (position - node) * (table[node + 1] - table[node])


def _table_time(table, integral):
    return jnp.interp(integral, table, jnp.linspace(0.0, 1.0, table.shape[0]))


_KINDS = {
    "linear": _variance_preserving(_linear_integral, _linear_time),
    "cosine": _variance_preserving(_cosine_integral, _cosine_time),
    "table": _variance_preserving(_table_integral, _table_time),
}


def expand(values: Array, like: Array) -> Array:
    """`values` of shape () or (B,) with axes of length 1 behind, so that it broadcasts against `like` of shape (B, ...)."""
    values = jnp.asarray(values)
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim)) if values.ndim else values


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Process:
    """A forward process, as data: which schedule, with which numbers. Make one with `vp_linear`, `vp_cosine` or `ddpm`.

    Times are floats in [0, 1], of shape () or (B,); each method returns its result in the shape of `t`, or, where it takes
    `x` of shape (B, ...), in the shape of `x`. A process is a pytree: its coefficients are leaves, so jit takes it as an
    argument.

    Attributes:
        coefficients: the numbers of the schedule (for a table: the integral of beta at its nodes).
        kind: which functions read the coefficients.
        settings: name and parameters, as pairs; `from_config(dict(settings))` makes the process again.
    """

    coefficients: Array
    kind: str = field(metadata={"static": True})
    settings: tuple[tuple[str, Any], ...] = field(metadata={"static": True})

    @property
    def name(self) -> str:
        """The schedule's name."""
        return dict(self.settings)["name"]

    @property
    def timesteps(self) -> int:
        """T, the number of discrete timesteps by which t is also told: timestep = t T."""
        return dict(self.settings).get("timesteps", 1000)

    def config(self) -> dict[str, Any]:
        """What `from_config` takes: JSON-ready, and equal for equal processes."""
        return dict(self.settings)

    def log_alpha(self, t) -> Array:
        """log alpha(t)."""
        return _KINDS[self.kind].log_alpha(self.coefficients, jnp.asarray(t, self.coefficients.dtype))

    def log_sigma(self, t) -> Array:
        """log sigma(t): -inf at t = 0."""
        return _KINDS[self.kind].log_sigma(self.coefficients, jnp.asarray(t, self.coefficients.dtype))

    def alpha(self, t) -> Array:
        """alpha(t), the scale of the signal."""
        return jnp.exp(self.log_alpha(t))

    def sigma(self, t) -> Array:
        """sigma(t), the standard deviation of the noise."""
        return jnp.exp(self.log_sigma(t))

    def log_snr(self, t) -> Array:
        """log(alpha² / sigma²), natural logarithm, falling in t: +inf at t = 0."""
        return 2 * (self.log_alpha(t) - self.log_sigma(t))

    def snr(self, t) -> Array:
        """alpha² / sigma²."""
        return jnp.exp(self.log_snr(t))

    def time(self, log_snr) -> Array:
        """The t at which `log_snr(t)` has this value: the inverse of `log_snr`."""
        return _KINDS[self.kind].time(self.coefficients, jnp.asarray(log_snr, self.coefficients.dtype))

    def f(self, t) -> Array:
        """The drift f(t) = d log alpha / dt of the forward SDE (Kingma et al. 2021, eq. 5 of the supplement)."""
        return self._derivative(self.log_alpha, t)

    def g2(self, t) -> Array:
        """The squared diffusion g²(t) = d sigma² / dt - 2 f sigma². For a variance-preserving process it is beta(t)."""
        sigma2 = lambda t: jnp.exp(2 * self.log_sigma(t))  # noqa: E731
        return self._derivative(sigma2, t) - 2 * self.f(t) * sigma2(t)

    def g2_increment(self, t, t_next) -> Array:
        """The variance that the forward process adds between `t_next` and `t` > `t_next`, seen at `t`: sigma² (1 -
        SNR(t)/SNR(t_next)).

        It is the integral of g² over the step with later shrinking accounted for; for a DDPM table it is exactly
        beta' = 1 - abar_t / abar_t_next, the beta of the sub-sampled chain.
        """
        return -jnp.exp(2 * self.log_sigma(t)) * jnp.expm1(self.log_snr(t) - self.log_snr(t_next))

    def _derivative(self, function, t):
        t = jnp.asarray(t, self.coefficients.dtype)
        return jax.jvp(function, (t,), (jnp.ones_like(t),))[1]

    def prior(self, key, shape: tuple[int, ...]) -> Array:
        """One draw of x_1 of this shape from N(0, (alpha(1)² + sigma(1)²) I), the law of noised data of unit variance."""
        one = jnp.ones((), self.coefficients.dtype)
        return jax.random.normal(key, shape) * jnp.hypot(self.alpha(one), self.sigma(one)).astype(jnp.float32)

    def noised(self, x0: Float[Array, "b ..."], eps: Float[Array, "b ..."], t) -> Float[Array, "b ..."]:
        """x_t = alpha x_0 + sigma eps."""
        return expand(self.alpha(t), x0) * x0 + expand(self.sigma(t), x0) * eps

    def to_x0(self, kind: Prediction, output: Float[Array, "b ..."], x: Float[Array, "b ..."], t) -> Float[Array, "b ..."]:
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

    def from_x0(self, kind: Prediction, x0: Float[Array, "b ..."], x: Float[Array, "b ..."], t) -> Float[Array, "b ..."]:
        """The prediction of this kind that an estimate of x_0 implies at x_t = `x` (t > 0).

        eps = (x - alpha x_0) / sigma, v = alpha eps - sigma x_0 (Salimans & Ho 2022), score = -eps / sigma.
        """
        if kind == "x0":
            return x0
        alpha, sigma = expand(self.alpha(t), x), expand(self.sigma(t), x)
        eps = (x - alpha * x0) / sigma
        match kind:
            case "eps":
                return eps
            case "v":
                return alpha * eps - sigma * x0
            case "score":
                return -eps / sigma


def vp_linear(beta_min: float = 0.1, beta_max: float = 20.0) -> Process:
    """Variance-preserving with beta(t) linear in t (Song et al. 2021, eq. 33).

    Arguments:
        beta_min: beta(0), above 0.
        beta_max: beta(1), above `beta_min`.
    """
    if not 0 < beta_min < beta_max:
        raise InputError(f"vp_linear takes 0 < `beta_min` < `beta_max`, got beta_min={beta_min}, beta_max={beta_max}")
    settings = (("name", "vp_linear"), ("beta_min", float(beta_min)), ("beta_max", float(beta_max)))
    return Process(_array([beta_min, beta_max]), "linear", settings)


def vp_cosine(offset: float = COSINE_OFFSET) -> Process:
    """Variance-preserving with alpha(t) = cos(theta) / cos(theta(0)), theta = (t + s) / (1 + s) pi/2 (Nichol & Dhariwal
    2021, eq. 17).

    At t = 1 the formula has alpha = 0; here theta stops just short of pi/2, where log SNR = -20 (alpha = 4.5e-5).

    Arguments:
        offset: s, at least 0 and below 1.
    """
    if not 0 <= offset < 1:
        raise InputError(f"vp_cosine takes an `offset` in [0, 1), got {offset}")
    first = offset / (1 + offset) * math.pi / 2
    short = math.asin(math.exp(-0.5 * math.log1p(math.exp(-COSINE_LOG_SNR_MIN))) * math.cos(first))
    settings = (("name", "vp_cosine"), ("offset", float(offset)))
    return Process(_array([first, math.pi / 2 - short, short]), "cosine", settings)


DDPM_BETAS: dict[str, Callable[[int], np.ndarray]] = {
    "linear": lambda n: np.linspace(1e-4 * 1000 / n, 0.02 * 1000 / n, n),  # Ho et al. 2020, scaled to n steps
    "scaled_linear": lambda n: (
        np.linspace(math.sqrt(0.00085 * 1000 / n), math.sqrt(0.012 * 1000 / n), n) ** 2
    ),  # Rombach et al. 2022
    "cosine": lambda n: np.minimum(1 - _cosine_abar(np.arange(1, n + 1) / n) / _cosine_abar(np.arange(n) / n), 0.999),
}


def _cosine_abar(t):
    return np.cos((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2


def ddpm(schedule: str = "cosine", timesteps: int = 1000) -> Process:
    """The discrete DDPM tables, in continuous time: abar_i, i = 0..T-1, is alpha²(t) at t = (i + 1) / T, and alpha(0) = 1.

    Between two nodes log alpha² is linear in t, so beta(t) = -T log(1 - beta_i) is constant on each interval.

    Arguments:
        schedule: `linear` (1e-4 to 0.02; Ho et al. 2020), `scaled_linear` (0.00085 to 0.012, linear in the square root;
            Rombach et al. 2022) or `cosine` (beta at most 0.999; Nichol & Dhariwal 2021, eq. 17).
        timesteps: T, at least 30, so that every beta of every table is below 1.
    """
    if schedule not in DDPM_BETAS:
        raise InputError(f"unknown DDPM `schedule` {schedule!r}; it takes one of {', '.join(DDPM_BETAS)}")
    if timesteps < 30:
        raise InputError(f"ddpm takes `timesteps` of at least 30, got {timesteps}")
    integral = np.concatenate([[0.0], np.cumsum(-np.log1p(-DDPM_BETAS[schedule](timesteps)))])
    settings = (("name", f"ddpm_{schedule}"), ("timesteps", timesteps))
    return Process(_array(integral), "table", settings)


def _array(values) -> Array:
    return jnp.asarray(np.asarray(values, np.float64), jnp.result_type(float))


PROCESSES: dict[str, Callable[..., Process]] = {
    "vp_linear": vp_linear,
    "vp_cosine": vp_cosine,
    **{f"ddpm_{name}": lambda timesteps=1000, name=name: ddpm(name, timesteps) for name in DDPM_BETAS},
}


def from_config(config: dict[str, Any]) -> Process:
    """The process that `Process.config` described, or of a name alone: `from_config({"name": "vp_cosine"})`."""
    settings = dict(config)
    name = settings.pop("name", None)
    if name not in PROCESSES:
        raise InputError(f"unknown process {name!r}; it takes one of {', '.join(PROCESSES)}")
    return PROCESSES[name](**settings)
