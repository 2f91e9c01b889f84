"""DDIM, and ancestral DDPM (Song, Meng & Ermon 2021; Ho et al. 2020)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from jaxdiff.errors import InputError
from jaxdiff.process import Process, expand
from jaxdiff.solvers.base import Node, Solver, State, fresh_share, posterior_noise


@dataclass(frozen=True)
class DDIM(Solver):
    """x_next = alpha' x0 + sqrt(sigma'² - s²) eps + s z, with s² = eta² sigma'² (1 - SNR / SNR') (Song et al. 2021, eq. 12
    and 16).

    One evaluation a step. With a perfect posterior mean each step lands on the marginal of the next time.

    eps = (x - alpha x0) / sigma for the x0 of the denoiser. Where the denoiser clips x0, eps changes with it, and a step
    remains consistent: diffusers' `use_clipped_model_output=True`. diffusers' default clips x0 and keeps the network's eps
    beside it, so that alpha x0 + sigma eps is no longer x; `clip`, around a denoiser that does not clip, is that form.

    Arguments:
        eta: 0 is the deterministic probability-flow solver, 1 is ancestral sampling; between 0 and 1.
        clip: the range that x0 is clipped to after eps is computed; None does not clip.
    """

    name = "ddim"
    order = 1

    eta: float = 0.0
    clip: tuple[float, float] | None = None

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.eta <= 1:
            raise InputError(f"`eta` must lie in [0, 1], got {self.eta}")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise InputError(f"`clip` must be two ascending numbers or None, got {self.clip}")

    def config(self) -> dict[str, Any]:
        """As in `Solver.config`, with `clip` only where it is given."""
        found = super().config()
        clip = found.pop("clip")
        return found if clip is None else {**found, "clip": list(clip)}

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return self.eta > 0

    @property
    def follows_reverse_sde(self) -> bool:
        """See `Solver.follows_reverse_sde`."""
        return self.eta == 1

    @property
    def reversible(self) -> bool:
        """See `Solver.reversible`; a step with `clip` forgets what it clipped."""
        return not self.stochastic and self.clip is None

    def step(self, process: Process, denoise: Callable, x: Array, node: Node, noise: Callable, history: Any) -> State:
        """See `Solver.step`."""
        t, t_next, _ = node
        x0 = denoise(x, t)
        eps = posterior_noise(process, x0, x, t)
        if self.clip is not None:
            x0 = jnp.clip(x0, *self.clip)
        alpha, sigma = expand(process.alpha(t_next), x), expand(process.sigma(t_next), x)
        if not self.stochastic:
            return State(alpha * x0 + sigma * eps, history)
        drawn = self.eta**2 * fresh_share(process, t, t_next, x)
        return State(alpha * x0 + sigma * (jnp.sqrt(1 - drawn) * eps + jnp.sqrt(drawn) * noise(0)), history)


@dataclass(frozen=True)
class DDPM(Solver):
    """Ancestral sampling: the mean of q(x_next | x_t, x0) and noise of one of two variances (Ho et al. 2020, section 3.2).

    One evaluation a step.

    Arguments:
        variance: `small` is the variance of q(x_next | x_t, x0), optimal for data at one point (DDIM with eta 1); `large` is
            that of q(x_t | x_next), optimal for standard normal data. The last step draws no noise.
    """

    name = "ddpm"
    order = 1

    variance: str = "small"

    def __post_init__(self):
        super().__post_init__()
        if self.variance not in ("small", "large"):
            raise InputError(f"`variance` must be small or large, got {self.variance!r}")

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
        t, t_next, _ = node
        x0 = denoise(x, t)
        return State(ancestral(process, x0, x, node, noise(0), self.variance), history)


def ancestral(process: Process, x0: Array, x: Array, node: Node, noise: Array, variance: str) -> Array:
    """A draw of x_next given x_t and x_0, with the `small` or the `large` variance."""
    t, t_next, _ = node
    alpha, sigma = expand(process.alpha(t_next), x), expand(process.sigma(t_next), x)
    fresh = fresh_share(process, t, t_next, x)
    spread = sigma if variance == "small" else jnp.where(expand(t_next, x) > 0, expand(process.sigma(t), x), 0.0)
    mean = alpha * x0 + sigma * jnp.sqrt(1 - fresh) * posterior_noise(process, x0, x, t)
    return mean + spread * jnp.sqrt(fresh) * noise
