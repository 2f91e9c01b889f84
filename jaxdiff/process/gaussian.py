"""Gaussian processes: an alpha(t) and a sigma(t), with standard normal noise that does not depend on the condition.

VE and EDM have a minimum noise level sigma_min, their sigma just above t = 0; at t = 0 there is no noise.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray

from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError
from jaxdiff.process.protocol import Process
from jaxdiff.process.schedules import SCHEDULES

COSINE_OFFSET = 0.008  # Nichol & Dhariwal 2021, section 3.2
MOST_TIMESTEPS = 10**6  # of a table
LOG_SNR_MIN = -20.0  # at t = 1, for schedules that would otherwise reach SNR 0 (as beta <= 0.999 does for the cosine table)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GaussianProcess(Process):
    """A forward process with Gaussian noise: a schedule and its coefficients. Create one with `vp_linear`, `vp_cosine`, `ddpm`,
    `ddpm_betas`, `sub_vp`, `ve`, `edm` or `flow`.

    Attributes:
        coefficients: the coefficients of the schedule (for a table: the integral of beta at its nodes).
        kind: the key of the schedule in `SCHEDULES`.
        settings: name and parameters, as pairs; `from_config(dict(settings))` recreates the process.
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
        """T: the length of the table, or 1000."""
        settings = dict(self.settings)
        return len(settings["betas"]) if "betas" in settings else settings.get("timesteps", 1000)

    @property
    def discrete(self) -> bool:
        """Whether it is a DDPM table."""
        return self.kind == "table"

    @property
    def preserves_variance(self) -> bool:
        """Whether alpha² + sigma² = 1 at every time."""
        return SCHEDULES[self.kind].unit

    def config(self) -> dict[str, Any]:
        """The argument of `from_config`: JSON-ready, and equal for equal processes."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.settings}

    def log_alpha(self, t: ArrayLike) -> Array:
        """log alpha(t)."""
        return SCHEDULES[self.kind].log_alpha(self.coefficients, self._as_time(t))

    def log_sigma(self, t: ArrayLike) -> Array:
        """log sigma(t): -inf at t = 0."""
        return SCHEDULES[self.kind].log_sigma(self.coefficients, self._as_time(t))

    def time(self, log_snr: ArrayLike) -> Array:
        """The t at which `log_snr(t)` has this value: the inverse of `log_snr`."""
        return SCHEDULES[self.kind].time(self.coefficients, jnp.asarray(log_snr, self.coefficients.dtype))

    def prior(self, key: PRNGKeyArray, shape: tuple[int, ...], condition: Any, t: ArrayLike = 1.0) -> Array:
        """One draw from N(0, (alpha² + sigma²) I), the distribution of noised unit-variance data; ignores the condition."""
        return jax.random.normal(key, shape) * self.scale(t).astype(jnp.float32)

    def _as_time(self, t: ArrayLike) -> Array:
        return jnp.asarray(t, self.coefficients.dtype)


def vp_linear(beta_min: float = 0.1, beta_max: float = 20.0) -> GaussianProcess:
    """Variance-preserving with beta(t) linear in t (Song et al. 2021, eq. 33).

    Arguments:
        beta_min: beta(0), above 0.
        beta_max: beta(1), above `beta_min`.
    """
    if not 0 < beta_min < beta_max < math.inf:
        raise InputError(f"vp_linear takes 0 < `beta_min` < `beta_max`, got beta_min={beta_min}, beta_max={beta_max}")
    settings = (("name", "vp_linear"), ("beta_min", float(beta_min)), ("beta_max", float(beta_max)))
    return GaussianProcess(_array([beta_min, beta_max]), "linear", settings)


def vp_cosine(offset: float = COSINE_OFFSET) -> GaussianProcess:
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
    return GaussianProcess(_array([first, math.pi / 2 - short, short]), "cosine", settings)


DDPM_BETAS: dict[str, Callable[[int], np.ndarray]] = {
    "linear": lambda n: np.linspace(1e-4 * 1000 / n, 0.02 * 1000 / n, n),  # Ho et al. 2020, scaled to n steps
    "scaled_linear": lambda n: (
        np.linspace(math.sqrt(0.00085 * 1000 / n), math.sqrt(0.012 * 1000 / n), n) ** 2
    ),  # Rombach et al. 2022
    "cosine": lambda n: np.minimum(1 - _cosine_abar(np.arange(1, n + 1) / n) / _cosine_abar(np.arange(n) / n), 0.999),
}


def _cosine_abar(t):
    return np.cos((t + COSINE_OFFSET) / (1 + COSINE_OFFSET) * math.pi / 2) ** 2


def sub_vp(beta_min: float = 0.1, beta_max: float = 20.0) -> GaussianProcess:
    """sub-VP: alpha of `vp_linear`, and sigma = 1 - alpha² (Song et al. 2021, eq. 33; 1 - alpha² is the standard deviation).

    Arguments:
        beta_min: beta(0), above 0.
        beta_max: beta(1), above `beta_min`.
    """
    vp = vp_linear(beta_min, beta_max)
    return GaussianProcess(vp.coefficients, "sub_vp", (("name", "sub_vp"), *vp.settings[1:]))


def _noise_levels(name: str, sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max < math.inf:
        raise InputError(f"{name} takes 0 < `sigma_min` < `sigma_max`, got sigma_min={sigma_min}, sigma_max={sigma_max}")


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> GaussianProcess:
    """Variance-exploding: alpha = 1, sigma = sigma_min (sigma_max / sigma_min)^t above t = 0 (Song et al. 2021, eq. 30).

    Arguments:
        sigma_min: the minimum noise level, above 0.
        sigma_max: the maximum, at t = 1.
    """
    _noise_levels("ve", sigma_min, sigma_max)
    settings = (("name", "ve"), ("sigma_min", float(sigma_min)), ("sigma_max", float(sigma_max)))
    return GaussianProcess(_array([math.log(sigma_min), math.log(sigma_max)]), "geometric", settings)


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> GaussianProcess:
    """EDM: alpha = 1, and sigma^(1/rho) linear in t above t = 0 (Karras et al. 2022, eq. 5): uniform times are Karras's levels.

    Arguments:
        sigma_min: the minimum noise level, above 0.
        sigma_max: the maximum, at t = 1.
        rho: above 0; a larger one spends more time at low noise.
    """
    _noise_levels("edm", sigma_min, sigma_max)
    if not 0 < rho < math.inf:
        raise InputError(f"edm takes a finite `rho` above 0, got {rho}")
    settings = (("name", "edm"), ("sigma_min", float(sigma_min)), ("sigma_max", float(sigma_max)), ("rho", float(rho)))
    return GaussianProcess(_array([sigma_min ** (1 / rho), sigma_max ** (1 / rho), rho]), "power", settings)


def flow() -> GaussianProcess:
    """The straight interpolation of flow matching: alpha = 1 - t, sigma = t (Lipman et al. 2023; Liu et al. 2023).

    At t = 1 the formula has alpha = 0; here alpha = 1 - t (1 - 4.5e-5), so that log SNR(1) = -20.
    """
    return GaussianProcess(_array([math.exp(0.5 * LOG_SNR_MIN)]), "interpolation", (("name", "flow"),))


def ddpm(schedule: str = "cosine", timesteps: int = 1000, zero_terminal_snr: bool = False) -> GaussianProcess:
    """The discrete DDPM tables, in continuous time: abar_i, i = 0..T-1, is alpha²(t) at t = (i + 1) / T, and alpha(0) = 1.

    Between two nodes log alpha² is linear in t, so beta(t) = -T log(1 - beta_i) is constant on each interval.

    Arguments:
        schedule: `linear` (1e-4 to 0.02; Ho et al. 2020), `scaled_linear` (0.00085 to 0.012, linear in the square root;
            Rombach et al. 2022) or `cosine` (beta at most 0.999; Nichol & Dhariwal 2021, eq. 17).
        timesteps: T, at least 30, so that every beta of every table is below 1.
        zero_terminal_snr: shift and scale alpha so that it ends at 0 and its start is unchanged (Lin et al. 2024, algorithm 1).
            Here it ends at log SNR = -20, so that eps still determines x0. For networks that predict v or x0.
    """
    if schedule not in DDPM_BETAS:
        raise InputError(f"unknown DDPM `schedule` {schedule!r}; it takes one of {', '.join(DDPM_BETAS)}")
    require_table(timesteps)
    if timesteps < 30:
        raise InputError(f"ddpm takes `timesteps` of at least 30, got {timesteps}")
    settings = (("name", f"ddpm_{schedule}"), ("timesteps", timesteps))
    return _table(DDPM_BETAS[schedule](timesteps), settings, zero_terminal_snr)


def ddpm_betas(betas: Sequence[float], zero_terminal_snr: bool = False) -> GaussianProcess:
    """A custom DDPM table, see `ddpm`.

    Arguments:
        betas: beta_0 .. beta_(T-1), each above 0 and below 1.
        zero_terminal_snr: see `ddpm`.
    """
    require_table(len(betas))
    betas = tuple(float(beta) for beta in betas)
    if not betas or not 0 < min(betas) <= max(betas) < 1:
        raise InputError(f"ddpm_betas takes `betas` above 0 and below 1, got {len(betas)} in {betas[:1]} .. {betas[-1:]}")
    return _table(np.asarray(betas), (("name", "ddpm_betas"), ("betas", betas)), zero_terminal_snr)


def require_table(timesteps: int) -> None:
    """Raises `InputError` for more timesteps than a table may have."""
    if timesteps > MOST_TIMESTEPS:
        raise InputError(f"a table takes `timesteps` of at most {MOST_TIMESTEPS:,}, got {shortened(timesteps)}")


def _table(betas: np.ndarray, settings: tuple[tuple[str, Any], ...], zero_terminal_snr: bool) -> GaussianProcess:
    """A table as a process."""
    integral = np.cumsum(-np.log1p(-betas))
    if zero_terminal_snr:
        alpha = np.exp(-0.5 * integral)
        alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
        integral = -2 * np.log(np.maximum(alpha, math.exp(-0.5 * math.log1p(math.exp(-LOG_SNR_MIN)))))
        settings += (("zero_terminal_snr", True),)
    integral = np.concatenate([[0.0], integral])
    return GaussianProcess(_array(integral), "table", settings)


def _array(values) -> Array:
    return jnp.asarray(np.asarray(values, np.float64), jnp.result_type(float))


# processes with default parameters, by name
PROCESSES: dict[str, Callable[..., GaussianProcess]] = {
    "vp_linear": vp_linear,
    "vp_cosine": vp_cosine,
    "sub_vp": sub_vp,
    "ve": ve,
    "edm": edm,
    "flow": flow,
    **{f"ddpm_{name}": partial(ddpm, name) for name in DDPM_BETAS},
}


def _number(value: Any) -> bool:
    return type(value) in (int, float)


_SETTINGS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("beta_min", "beta_max", "sigma_min", "sigma_max", "rho", "offset"), _number),
    "timesteps": lambda value: type(value) is int,
    "zero_terminal_snr": lambda value: type(value) is bool,
    "betas": lambda value: isinstance(value, list | tuple) and all(map(_number, value)),
}
"""The types of the settings of all processes, by name."""


def from_config(config: Any) -> GaussianProcess:
    """The process described by `GaussianProcess.config`, or by a name alone: `from_config({"name": "vp_cosine"})`.

    Raises:
        InputError: the name or a setting is unknown, or of another type or range.
    """
    if not isinstance(config, dict):
        raise InputError(f"a process is described by an object, got {shortened(config)}")
    settings = dict(config)
    name = settings.pop("name", None)
    makers = {**PROCESSES, "ddpm_betas": ddpm_betas}
    if not isinstance(name, str) or name not in makers:
        raise InputError(f"unknown process {shortened(name)}; it takes one of {', '.join(makers)}")
    if wrong := [key for key, value in settings.items() if key not in _SETTINGS or not _SETTINGS[key](value)]:
        raise InputError(f"process {name} does not take `{wrong[0]}` {shortened(settings[wrong[0]])}")
    try:
        # JSON has whole numbers where a setting is one of float
        numbers: dict[str, Any] = {key: float(value) if _SETTINGS[key] is _number else value for key, value in settings.items()}
        return makers[name](**numbers)
    except (TypeError, OverflowError) as error:  # a setting of another process, or beyond the range of float
        raise InputError(f"process {name} does not take {shortened(settings)}") from error
