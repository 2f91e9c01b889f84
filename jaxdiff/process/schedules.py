"""Schedules: log alpha(t) and log sigma(t) as functions of a few numbers, with the inverse of the log SNR.

`gaussian` makes processes from them. Each is accurate in float32 at both ends of the time axis.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

EARLIEST = 1e-6  # the t of sigma_min, since t = 0 has no noise


class Schedule(NamedTuple):
    """The functions of a schedule: log alpha(t), log sigma(t) and t(log SNR), each of (coefficients, argument).

    If `unit` is set, alpha² + sigma² = 1 at every time.
    """

    log_alpha: Callable[[Array, Array], Array]
    log_sigma: Callable[[Array, Array], Array]
    time: Callable[[Array, Array], Array]
    unit: bool = False


def _variance_preserving(integrated_beta, time_of_integrated_beta) -> Schedule:
    """alpha² = exp(-B(t)) and sigma² = 1 - alpha², with B(t) the integral of beta from 0 to t (Song et al. 2021, eq. 29)."""
    return Schedule(
        log_alpha=lambda c, t: -0.5 * integrated_beta(c, t),
        log_sigma=lambda c, t: 0.5 * jnp.log(-jnp.expm1(-integrated_beta(c, t))),
        time=lambda c, log_snr: time_of_integrated_beta(c, jax.nn.softplus(-log_snr)),
        unit=True,
    )


def _linear_integral(c, t):
    return c[0] * t + 0.5 * (c[1] - c[0]) * t**2


def _linear_time(c, integral):
    return 2 * integral / (c[0] + jnp.sqrt(c[0] ** 2 + 2 * (c[1] - c[0]) * integral))


def _cosine_integral(c, t):
    # alpha = cos(theta) / cos(theta_0), theta linear in t. The ratio is near 1 at t = 0 and near 0 at t = 1: each end has its
    # own formula, so that both are accurate in float32.
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


def _sub_vp_time(c, log_snr):
    # alpha / (1 - alpha²) = r has the root alpha = 2 r / (1 + sqrt(1 + 4 r²)), and then 1 - alpha² = alpha / r
    r = jnp.exp(0.5 * log_snr)
    alpha = 2 / (1 / r + jnp.sqrt(1 / r**2 + 4))
    near_data = -jnp.log1p(-jnp.minimum(alpha / r, 0.9))
    return _linear_time(c, jnp.where(alpha > 0.7, near_data, -2 * jnp.log(alpha)))


def _no_shrinking(log_sigma, time) -> Schedule:
    """alpha = 1, with a minimum noise level for t > 0 and none at t = 0."""
    return Schedule(
        log_alpha=lambda c, t: jnp.zeros_like(t),
        log_sigma=lambda c, t: jnp.where(t > 0, log_sigma(c, t), -jnp.inf),
        time=lambda c, log_snr: jnp.clip(time(c, -0.5 * log_snr), EARLIEST, 1.0),
    )


SCHEDULES = {
    "linear": _variance_preserving(_linear_integral, _linear_time),
    "cosine": _variance_preserving(_cosine_integral, _cosine_time),
    "table": _variance_preserving(_table_integral, _table_time),
    "sub_vp": Schedule(
        log_alpha=lambda c, t: -0.5 * _linear_integral(c, t),
        log_sigma=lambda c, t: jnp.log(-jnp.expm1(-_linear_integral(c, t))),
        time=_sub_vp_time,
    ),
    "geometric": _no_shrinking(
        log_sigma=lambda c, t: c[0] + t * (c[1] - c[0]),
        time=lambda c, log_sigma: (log_sigma - c[0]) / (c[1] - c[0]),
    ),
    "power": _no_shrinking(
        log_sigma=lambda c, t: c[2] * jnp.log(c[0] + t * (c[1] - c[0])),
        time=lambda c, log_sigma: (jnp.exp(log_sigma / c[2]) - c[0]) / (c[1] - c[0]),
    ),
    "interpolation": Schedule(
        log_alpha=lambda c, t: jnp.log1p(-t * (1 - c[0])),
        log_sigma=lambda c, t: jnp.log(t),
        time=lambda c, log_snr: 1 / (jnp.exp(0.5 * log_snr) + (1 - c[0])),
    ),
}
