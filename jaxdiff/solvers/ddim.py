"""DDIM, and DDPM as its stochastic end (Song, Meng & Ermon 2021)."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdiff.errors import InputError
from jaxdiff.process import Process, expand
from jaxdiff.solvers import grid


@dataclass(frozen=True)
class DDIM:
    """x_next = alpha' x0 + sqrt(sigma'² - s²) eps + s z, with s² = eta² sigma'² (1 - SNR / SNR') (Song et al. 2021, eq. 12
    and 16).

    First order; one evaluation a step. With a perfect posterior mean each step lands on the marginal of the next time.

    Arguments:
        steps: number of steps, at least 1, uniform in t.
        eta: 0 is the deterministic probability-flow solver, 1 is ancestral DDPM sampling; between 0 and 1.
    """

    steps: int
    eta: float = 0.0

    def __post_init__(self):
        if self.steps < 1:
            raise InputError(f"`steps` must be at least 1, got {self.steps}")
        if not 0 <= self.eta <= 1:
            raise InputError(f"`eta` must lie in [0, 1], got {self.eta}")

    @property
    def stochastic(self) -> bool:
        """Whether a step draws noise."""
        return self.eta > 0

    @property
    def evaluations(self) -> int:
        """Evaluations of the denoiser in a whole run."""
        return self.steps

    def config(self) -> dict[str, Any]:
        """Name and parameters, JSON-ready."""
        return {"name": "ddim", "steps": self.steps, "eta": self.eta}

    def times(self) -> Float[Array, " s"]:
        """The nodes, from 1 to 0."""
        return grid.uniform(self.steps)

    def step(self, process: Process, x0: Array, x: Array, t: Array, t_next: Array, noise: Array | None) -> Array:
        """From x at `t` to x at `t_next`, given the posterior mean at (x, t).

        Arguments:
            process: the forward process.
            x0: posterior mean (B, ...).
            x: the state (B, ...).
            t: (B,), above 0.
            t_next: (B,), below `t`.
            noise: standard normal of the shape of x where `eta` > 0, else None.
        """
        eps = process.from_x0("eps", x0, x, t)
        alpha, sigma = expand(process.alpha(t_next), x), expand(process.sigma(t_next), x)
        if noise is None:
            return alpha * x0 + sigma * eps
        # 1 - SNR(t) / SNR(t_next), the share of the variance at t_next that may be drawn anew
        fresh = expand(-jnp.expm1(process.log_snr(t) - process.log_snr(t_next)), x)
        drawn = self.eta**2 * fresh
        return alpha * x0 + sigma * (jnp.sqrt(1 - drawn) * eps + jnp.sqrt(drawn) * noise)
