"""Multistep solvers in half log SNR: DPM-Solver++ (2M and SDE-2M) and UniPC-2.

All extrapolate the posterior mean m over lambda = log(alpha / sigma); h is a step of lambda. The history restarts at a
breakpoint, where m is discontinuous. The last step, whose h is infinite, is of first order: with sigma' = 0 it returns m.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdiff.process import Process, expand
from jaxdiff.solvers.base import Node, Solver, State, half_log_snr


class Last(NamedTuple):
    """The previous step.

    Attributes:
        mean: its posterior mean (B, ...).
        length: its h, (B, 1, ...); 0 if there is none.
    """

    mean: Array
    length: Array


def _no_step(x: Array) -> Last:
    return Last(jnp.zeros_like(x), jnp.zeros(x.shape[:1] + (1,) * (x.ndim - 1), x.dtype))


def _step_length(process: Process, node: Node, x: Array) -> Float[Array, "b ..."]:
    return half_log_snr(process, node.t_next, x) - half_log_snr(process, node.t, x)


def _slope(mean: Array, last: Last, length: Array) -> Array:
    """(m - m_last) h / h_last: the change of m over the current step, extrapolated from the last; 0 without history."""
    known = (last.length > 0) & jnp.isfinite(length)
    ratio = jnp.where(known, length, 0.0) / jnp.where(known, last.length, 1.0)
    return ratio * (mean - last.mean)


def _guess(mean: Array, history: Last, node: Node, length: Array) -> Array:
    """The extrapolated posterior mean in the middle of the current step."""
    return mean + 0.5 * _slope(mean, _forget(history, node), length)


def _stepped(process: Process, x: Array, guess: Array, node: Node) -> Array:
    """(sigma'/sigma) x - alpha' (e^-h - 1) m: exact for a constant posterior mean `guess`."""
    alpha = expand(process.alpha(node.t_next), x)
    ratio = expand(jnp.exp(process.log_sigma(node.t_next) - process.log_sigma(node.t)), x)
    return ratio * x - alpha * jnp.expm1(-_step_length(process, node, x)) * guess


def _forget(last: Last, node: Node) -> Last:
    return last._replace(length=jnp.where(expand(node.restart, last.mean), 0.0, last.length))


@dataclass(frozen=True)
class DPMSolver(Solver):
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): x' = (sigma'/sigma) x - alpha' (e^-h - 1) (m + slope / 2).

    One evaluation per step.
    """

    name = "dpm_solver"
    order = 2

    spacing: str = "log_snr"

    def history(self, x: Array) -> Last:
        """See `Solver.history`."""
        return _no_step(x)

    def step(self, process: Process, denoise: Callable, x: Array, node: Node, noise: Callable, history: Any) -> State:
        """See `Solver.step`."""
        mean, length = denoise(x, node.t), _step_length(process, node, x)
        return State(_stepped(process, x, _guess(mean, history, node, length), node), Last(mean, length))


@dataclass(frozen=True)
class DPMSolverSDE(DPMSolver):
    """SDE-DPM-Solver++(2M) (Lu et al. 2022, eq. 18): as `DPMSolver`, on the reverse SDE.

    One evaluation per step, of weak order 2: the noise term is exact, and the change of the posterior mean over the last step
    contains the noise of that step, as the second-order term requires.
    """

    name = "dpm_solver_sde"
    order = 2

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise: yes."""
        return True

    @property
    def follows_reverse_sde(self) -> bool:
        """See `Solver.follows_reverse_sde`."""
        return True

    def step(self, process: Process, denoise: Callable, x: Array, node: Node, noise: Callable, history: Any) -> State:
        """See `Solver.step`."""
        mean, length = denoise(x, node.t), _step_length(process, node, x)
        guess = _guess(mean, history, node, length)
        alpha, sigma = expand(process.alpha(node.t_next), x), expand(process.sigma(node.t_next), x)
        ratio = expand(jnp.exp(process.log_sigma(node.t_next) - process.log_sigma(node.t)), x)
        fresh = -jnp.expm1(-2 * jnp.maximum(length, 0.0))  # rounding may make a step of no length negative
        stepped = ratio * jnp.exp(-length) * x + alpha * fresh * guess + sigma * jnp.sqrt(fresh) * noise(0)
        return State(stepped, Last(mean, length))


class Uncorrected(NamedTuple):
    """The previous step, corrected by the posterior mean at its end.

    Attributes:
        x: the state it started from (B, ...).
        t: the time it started from (B,).
        last: its posterior mean and h.
        slope: the change of m that it assumed (B, ...).
        before: h of the step before it, (B, 1, ...); 0 if there was none.
    """

    x: Array
    t: Array
    last: Last
    slope: Array
    before: Array


@dataclass(frozen=True)
class UniPC(Solver):
    """UniPC-2 with B(h) = e^h - 1 (Zhao et al. 2023): the predictor is DPM-Solver++(2M); the posterior mean at the predicted
    state is used to correct it.

    One evaluation per step: the next step from the corrected state reuses the posterior mean at the predicted one. The
    corrector raises the order by one: UniPC-p is of order p + 1 (their section 3), so this one of order 3.
    """

    name = "unipc"
    order = 3

    spacing: str = "log_snr"

    def history(self, x: Array) -> Uncorrected:
        """See `Solver.history`."""
        none = _no_step(x)
        return Uncorrected(x, jnp.ones(x.shape[:1], jnp.float32), none, jnp.zeros_like(x), none.length)

    def step(self, process: Process, denoise: Callable, x: Array, node: Node, noise: Callable, history: Any) -> State:
        """See `Solver.step`."""
        mean = denoise(x, node.t)
        # the mean at a breakpoint belongs to the condition after it and cannot correct the previous step
        last = _forget(history.last, node)
        x = jnp.where(last.length > 0, _corrected(process, mean, node, history), x)
        length = _step_length(process, node, x)
        slope = _slope(mean, last, length)
        stepped = _stepped(process, x, mean + 0.5 * slope, node)
        return State(stepped, Uncorrected(x, node.t, Last(mean, length), slope, last.length))


def _corrected(process: Process, mean: Array, node: Node, history: Uncorrected) -> Array:
    """The corrected state at this node, from the posterior means at both ends of the previous step.

    x = (sigma/sigma_s) x_s - alpha B (m_s + rho_1 slope + rho_2 (m - m_s)), B = e^-h - 1. The weights solve
    [[1, 1], [r, 1]] rho = [k_1/B, 2 k_2/B] with r = -before/h, k_1 = -B/h - 1, k_2 = -k_1/h - 1/2; rho_2 = 1/2 without an
    earlier step.
    """
    alpha = expand(process.alpha(node.t), mean)
    ratio = expand(jnp.exp(process.log_sigma(node.t) - process.log_sigma(history.t)), mean)
    h = jnp.where(history.last.length > 0, history.last.length, 1.0)
    base = jnp.expm1(-h)
    k1 = -base / h - 1
    k2 = -k1 / h - 0.5
    first, second = k1 / base, 2 * k2 / base
    rho_1 = (first - second) / (1 + history.before / h)
    rho_2 = jnp.where(history.before > 0, first - rho_1, 0.5)
    rho_1 = jnp.where(history.before > 0, rho_1, 0.0)
    last = history.last.mean
    return ratio * history.x - alpha * base * (last + rho_1 * history.slope + rho_2 * (mean - last))
