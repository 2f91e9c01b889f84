"""The samplers of the score-SDE paper: Euler-Maruyama, and predictor-corrector (Song et al. 2021)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxdiff.errors import InputError
from jaxdiff.process import Process, expand
from jaxdiff.solvers.base import Count, Node, Solver, State
from jaxdiff.solvers.ddim import ancestral

PREDICTORS = ("reverse_diffusion", "ancestral", "euler_maruyama")


def score(process: Process, x0: Array, x: Array, t: Array) -> Array:
    """The score that a posterior mean implies."""
    return process.from_x0("score", x0, x, t)


def euler_maruyama(process: Process, x0: Array, x: Array, node: Node, noise: Array) -> Array:
    """x - (f x - g² score) dt + g sqrt(dt) z (eq. 6); the last step adds no noise."""
    t, t_next, _ = node
    step, g2 = expand(t - t_next, x), expand(process.g2(t), x)
    own, mean = (expand(each, x) for each in process.reverse_drift(t))
    drawn = jnp.where(expand(t_next, x) > 0, jnp.sqrt(g2 * step), 0.0)
    return x - (own * x - mean * x0) * step + drawn * noise


def reverse_diffusion(process: Process, x0: Array, x: Array, node: Node, noise: Array) -> Array:
    """(2 - a) x + G² score + G z with the forward transition x_t = a x_next + G z (app. E, eq. 45), no noise at the end."""
    t, t_next, _ = node
    shrink = expand(jnp.exp(process.log_alpha(t) - process.log_alpha(t_next)), x)
    variance = expand(process.g2_increment(t, t_next), x)
    drawn = jnp.where(expand(t_next, x) > 0, jnp.sqrt(variance), 0.0)
    return (2 - shrink) * x + variance * score(process, x0, x, t) + drawn * noise


@dataclass(frozen=True)
class EulerMaruyama(Solver):
    """Euler-Maruyama on the reverse SDE (Song et al. 2021, eq. 6), with f and g² at the node. One evaluation per step.

    If beta is unbounded towards t = 1 (cosine, flow), uniform steps are unstable, and `driver.sample` raises an error.
    """

    name = "euler_maruyama"
    order = 1

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise: yes."""
        return True

    @property
    def follows_reverse_sde(self) -> bool:
        """See `Solver.follows_reverse_sde`."""
        return True

    def check(self, process: Process) -> None:
        """Raises `InputError` if a step would overshoot zero: g² dt / (alpha² + sigma²) above 2."""
        _stable(process, self.times(process), self.name)

    def step(self, process: Process, denoise: Callable, x: Array, node: Node, noise: Callable, history: Any) -> State:
        """See `Solver.step`."""
        x0 = denoise(x, node.t)
        return State(euler_maruyama(process, x0, x, node, noise(0)), history)


def _stable(process: Process, times: Array, name: str) -> None:
    t, steps = times[:-2], -jnp.diff(times)[:-1]
    gain = np.asarray(process.g2(t) * steps / process.scale(t) ** 2)
    if gain.size and gain.max() > 2:
        raise InputError(
            f"{name} is unstable on {process.name} with {len(times) - 1} of these steps: g² dt is {gain.max():.3g} at "
            f"t={float(t[gain.argmax()]):.3f}, and must be at most 2; use --spacing log_snr, more steps, or another solver"
        )


@dataclass(frozen=True)
class PredictorCorrector(Solver):
    """Langevin corrector steps at the time of the node, then a predictor (Song et al. 2021, algorithms 2 and 3).

    A corrector step is x + e s + sqrt(2 e) z with e = 2 a (snr ||z|| / ||s||)², a = (alpha / alpha')² of the grid's step (1 for
    VE). The norms are per sample, whereas the paper's code averages them over the batch, so samples do not depend on the
    batch. (1 + correctors) evaluations per step.

    Arguments:
        predictor: `reverse_diffusion`, `ancestral` (large variance if the process preserves variance, else small, as in the
            paper for VE) or `euler_maruyama`.
        correctors: corrector steps per step, at least 0.
        snr: the corrector's signal-to-noise ratio, above 0: 0.16 in the paper, for VE.
    """

    name = "predictor_corrector"
    order = 1

    predictor: str = "reverse_diffusion"
    correctors: int = 1
    snr: float = 0.16

    def __post_init__(self):
        super().__post_init__()
        if self.predictor not in PREDICTORS:
            raise InputError(f"`predictor` must be one of {', '.join(PREDICTORS)}, got {self.predictor!r}")
        if self.correctors < 0:
            raise InputError(f"`correctors` must be at least 0, got {self.correctors}")
        if not self.snr > 0:
            raise InputError(f"`snr` must be above 0, got {self.snr}")

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise: yes."""
        return True

    def evaluations_after(self, done: Count) -> Count:
        """See `Solver.evaluations_after`."""
        return (1 + self.correctors) * (self.steps - done)

    def check(self, process: Process) -> None:
        """Raises `InputError` if the Euler-Maruyama predictor is unstable."""
        if self.predictor == "euler_maruyama":
            _stable(process, self.times(process), self.name)

    def step(self, process: Process, denoise: Callable, x: Array, node: Node, noise: Callable, history: Any) -> State:
        """See `Solver.step`."""
        t, t_next, _ = node
        x0 = denoise(x, t)
        decay = expand(jnp.exp(2 * (process.log_alpha(t) - process.log_alpha(t_next))), x)
        for corrector in range(self.correctors):
            x = self._langevin(score(process, x0, x, t), x, decay, noise(1 + corrector))
            x0 = denoise(x, t)
        match self.predictor:
            case "reverse_diffusion":
                x = reverse_diffusion(process, x0, x, node, noise(0))
            case "ancestral":
                x = ancestral(process, x0, x, node, noise(0), "large" if process.preserves_variance else "small")
            case "euler_maruyama":
                x = euler_maruyama(process, x0, x, node, noise(0))
        return State(x, history)

    def _langevin(self, gradient: Array, x: Array, decay: Array, noise: Array) -> Array:
        norm = lambda value: jnp.sqrt(jnp.square(value).sum(tuple(range(1, x.ndim)), keepdims=True))  # noqa: E731
        size = 2 * decay * jnp.square(self.snr * norm(noise) / norm(gradient))
        return x + size * gradient + jnp.sqrt(2 * size) * noise
