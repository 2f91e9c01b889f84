"""Forward processes: how an image turns into noise.

A process is an alpha(t) and a sigma(t) on t in [0, 1], 0 = data and 1 = noise:

    x_t = alpha(t) x_0 + sigma(t) e,   e ~ N(0, I).

Everything else follows from the two and is derived once, here: the log signal-to-noise ratio and its inverse, the drift f
and the squared diffusion g² of the forward SDE dx = f(t) x dt + g(t) dW, the prior, and the conversions between the five
things that a network may predict: x0, eps, v, score, and EDM's preconditioned x0.

At t = 0 there is no noise, for every process. VE and EDM have a least noise level sigma_min: it is their sigma just above 0.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdiff.choices import Prediction
from jaxdiff.errors import InputError
from jaxdiff.schedules import SCHEDULES

COSINE_OFFSET = 0.008  # Nichol & Dhariwal 2021, section 3.2
LOG_SNR_MIN = -20.0  # where schedules that would reach pure noise stop short of it, as beta <= 0.999 does for the cosine table
SIGMA_DATA = 0.5  # the standard deviation of data that EDM's preconditioning assumes (Karras et al. 2022, table 1)


def expand(values: Array, like: Array) -> Array:
    """`values` of shape () or (B,) with axes of length 1 behind, so that it broadcasts against `like` of shape (B, ...)."""
    values = jnp.asarray(values)
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim)) if values.ndim else values


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Process:
    """A forward process, as data: which schedule, with which numbers. Make one with `vp_linear`, `vp_cosine`, `ddpm`,
    `ddpm_betas`, `sub_vp`, `ve`, `edm` or `flow`.

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
        settings = dict(self.settings)
        return len(settings["betas"]) if "betas" in settings else settings.get("timesteps", 1000)

    def config(self) -> dict[str, Any]:
        """What `from_config` takes: JSON-ready, and equal for equal processes."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.settings}

    def log_alpha(self, t) -> Array:
        """log alpha(t)."""
        return SCHEDULES[self.kind].log_alpha(self.coefficients, jnp.asarray(t, self.coefficients.dtype))

    def log_sigma(self, t) -> Array:
        """log sigma(t): -inf at t = 0."""
        return SCHEDULES[self.kind].log_sigma(self.coefficients, jnp.asarray(t, self.coefficients.dtype))

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
        return SCHEDULES[self.kind].time(self.coefficients, jnp.asarray(log_snr, self.coefficients.dtype))

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

    @property
    def preserves_variance(self) -> bool:
        """Whether alpha² + sigma² = 1 at every time."""
        return SCHEDULES[self.kind].unit

    def scale(self, t) -> Array:
        """sqrt(alpha² + sigma²), the standard deviation of noised data of unit variance: 1 where variance is preserved."""
        if self.preserves_variance:
            return jnp.ones_like(jnp.asarray(t, self.coefficients.dtype))
        return jnp.hypot(self.alpha(t), self.sigma(t))

    def prior(self, key, shape: tuple[int, ...], t=1.0) -> Array:
        """One draw of x_t of this shape from N(0, (alpha² + sigma²) I), the law of noised data of unit variance.

        Arguments:
            key: a key.
            shape: the shape of the draw.
            t: a time () near 1, where the data no longer tell.
        """
        return jax.random.normal(key, shape) * self.scale(t).astype(jnp.float32)

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
            case "edm":
                spread = sigma**2 + alpha**2 * SIGMA_DATA**2
                return (SIGMA_DATA**2 * alpha * x + SIGMA_DATA * sigma * jnp.sqrt(spread) * output) / spread

    def from_x0(self, kind: Prediction, x0: Float[Array, "b ..."], x: Float[Array, "b ..."], t) -> Float[Array, "b ..."]:
        """The prediction of this kind that an estimate of x_0 implies at x_t = `x` (t > 0).

        It is `target` with eps = (x - alpha x_0) / sigma.
        """
        alpha, sigma = expand(self.alpha(t), x), expand(self.sigma(t), x)
        return self.target(kind, x0, (x - alpha * x0) / sigma, t)

    def target(self, kind: Prediction, x0: Float[Array, "b ..."], eps: Float[Array, "b ..."], t) -> Float[Array, "b ..."]:
        """What a network of this kind should predict at x_t = alpha x_0 + sigma eps.

        v = alpha eps - sigma x_0 (Salimans & Ho 2022), score = -eps / sigma, and `edm` is (x_0 - c_skip x_t / alpha) / c_out
        with the noise level sigma / alpha (Karras et al. 2022, eq. 7 and table 1). The input is not scaled by its c_in but
        for data of unit variance, see `scale`.
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
    short = math.asin(math.exp(-0.5 * math.log1p(math.exp(-LOG_SNR_MIN))) * math.cos(first))
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


def sub_vp(beta_min: float = 0.1, beta_max: float = 20.0) -> Process:
    """sub-VP: alpha of `vp_linear`, and sigma = 1 - alpha² (Song et al. 2021, eq. 33; 1 - alpha² is the standard deviation).

    Arguments:
        beta_min: beta(0), above 0.
        beta_max: beta(1), above `beta_min`.
    """
    vp = vp_linear(beta_min, beta_max)
    return Process(vp.coefficients, "sub_vp", (("name", "sub_vp"), *vp.settings[1:]))


def _noise_levels(name: str, sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max:
        raise InputError(f"{name} takes 0 < `sigma_min` < `sigma_max`, got sigma_min={sigma_min}, sigma_max={sigma_max}")


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> Process:
    """Variance-exploding: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t above t = 0 (Song et al. 2021, eq. 30).

    Arguments:
        sigma_min: the least noise level, above 0.
        sigma_max: the greatest, at t = 1.
    """
    _noise_levels("ve", sigma_min, sigma_max)
    settings = (("name", "ve"), ("sigma_min", float(sigma_min)), ("sigma_max", float(sigma_max)))
    return Process(_array([math.log(sigma_min), math.log(sigma_max)]), "geometric", settings)


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Process:
    """EDM: alpha = 1, and sigma^(1/rho) linear in t above t = 0 (Karras et al. 2022, eq. 5): uniform times are Karras's levels.

    Arguments:
        sigma_min: the least noise level, above 0.
        sigma_max: the greatest, at t = 1.
        rho: above 0; the larger, the more of the time is spent at low noise.
    """
    _noise_levels("edm", sigma_min, sigma_max)
    if not rho > 0:
        raise InputError(f"edm takes a `rho` above 0, got {rho}")
    settings = (("name", "edm"), ("sigma_min", float(sigma_min)), ("sigma_max", float(sigma_max)), ("rho", float(rho)))
    return Process(_array([sigma_min ** (1 / rho), sigma_max ** (1 / rho), rho]), "power", settings)


def flow() -> Process:
    """The straight interpolation of flow matching: alpha = 1 - t, sigma = t (Lipman et al. 2023; Liu et al. 2023).

    At t = 1 the formula has alpha = 0; here alpha = 1 - t (1 - 4.5e-5), so that log SNR(1) = -20.
    """
    return Process(_array([math.exp(0.5 * LOG_SNR_MIN)]), "interpolation", (("name", "flow"),))


def ddpm(schedule: str = "cosine", timesteps: int = 1000, zero_terminal_snr: bool = False) -> Process:
    """The discrete DDPM tables, in continuous time: abar_i, i = 0..T-1, is alpha²(t) at t = (i + 1) / T, and alpha(0) = 1.

    Between two nodes log alpha² is linear in t, so beta(t) = -T log(1 - beta_i) is constant on each interval.

    Arguments:
        schedule: `linear` (1e-4 to 0.02; Ho et al. 2020), `scaled_linear` (0.00085 to 0.012, linear in the square root;
            Rombach et al. 2022) or `cosine` (beta at most 0.999; Nichol & Dhariwal 2021, eq. 17).
        timesteps: T, at least 30, so that every beta of every table is below 1.
        zero_terminal_snr: shift and scale alpha so that it ends at 0 and begins as before (Lin et al. 2024, algorithm 1).
            Here it ends where log SNR = -20, so that eps still tells x0. For networks that predict v or x0.
    """
    if schedule not in DDPM_BETAS:
        raise InputError(f"unknown DDPM `schedule` {schedule!r}; it takes one of {', '.join(DDPM_BETAS)}")
    if timesteps < 30:
        raise InputError(f"ddpm takes `timesteps` of at least 30, got {timesteps}")
    settings = (("name", f"ddpm_{schedule}"), ("timesteps", timesteps))
    return _table(DDPM_BETAS[schedule](timesteps), settings, zero_terminal_snr)


def ddpm_betas(betas: Sequence[float], zero_terminal_snr: bool = False) -> Process:
    """A DDPM table of one's own, see `ddpm`.

    Arguments:
        betas: beta_0 .. beta_(T-1), each above 0 and below 1.
        zero_terminal_snr: as of `ddpm`.
    """
    betas = tuple(float(beta) for beta in betas)
    if not betas or not 0 < min(betas) <= max(betas) < 1:
        raise InputError(f"ddpm_betas takes `betas` above 0 and below 1, got {len(betas)} in {betas[:1]} .. {betas[-1:]}")
    return _table(np.asarray(betas), (("name", "ddpm_betas"), ("betas", betas)), zero_terminal_snr)


def _table(betas: np.ndarray, settings: tuple[tuple[str, Any], ...], zero_terminal_snr: bool) -> Process:
    """A table as a process, with what makes it again."""
    integral = np.cumsum(-np.log1p(-betas))
    if zero_terminal_snr:
        alpha = np.exp(-0.5 * integral)
        alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
        integral = -2 * np.log(np.maximum(alpha, math.exp(-0.5 * math.log1p(math.exp(-LOG_SNR_MIN)))))
        settings += (("zero_terminal_snr", True),)
    integral = np.concatenate([[0.0], integral])
    return Process(_array(integral), "table", settings)


def _array(values) -> Array:
    return jnp.asarray(np.asarray(values, np.float64), jnp.result_type(float))


# those that a name alone makes
PROCESSES: dict[str, Callable[..., Process]] = {
    "vp_linear": vp_linear,
    "vp_cosine": vp_cosine,
    "sub_vp": sub_vp,
    "ve": ve,
    "edm": edm,
    "flow": flow,
    **{f"ddpm_{name}": partial(ddpm, name) for name in DDPM_BETAS},
}


def from_config(config: dict[str, Any]) -> Process:
    """The process that `Process.config` described, or of a name alone: `from_config({"name": "vp_cosine"})`."""
    settings = dict(config)
    name = settings.pop("name", None)
    makers = {**PROCESSES, "ddpm_betas": ddpm_betas}
    if name not in makers:
        raise InputError(f"unknown process {name!r}; it takes one of {', '.join(makers)}")
    return makers[name](**settings)
