"""The methods in PyTorch, as one writes them around diffusers: the baseline's own code.

Nothing here imports PyTorch: tensors come in, and bring it along.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

GRID = 10  # the authors' candidates are every tenth timestep


class Solver(NamedTuple):
    """DDIM, with all that is known before its loop.

    Attributes:
        scheduler: diffusers' DDIMScheduler, its timesteps set.
        times: (S, B), the timesteps on the device, so that none is copied there in the loop.
        abar: (T,), alpha² of each timestep, float32 on the device.
    """

    scheduler: Any
    times: Any
    abar: Any

    def predict(self, model: Callable, step: int, x: Any, labels: Any, dtype: Any) -> Any:
        """The model's eps at a step, float32: a copy, since CUDA graphs write their outputs over."""
        return model(x.to(dtype), self.times[step], class_labels=labels).sample.to(x.dtype, copy=True)

    def advance(self, step: int, x: Any, eps: Any) -> Any:
        """The next state."""
        return self.scheduler.step(eps, self.scheduler.timesteps[step], x, use_clipped_model_output=True).prev_sample


def denoise(
    solver: Solver, model: Callable, x: Any, labels: Callable[[int], Any], *, dtype: Any, moved: Callable | None = None
) -> Any:
    """DDIM from x (B, C, H, W) on.

    Arguments:
        solver: the solver.
        model: UNet2DModel, compiled or not.
        x: float32.
        labels: the labels (B,) at a timestep.
        dtype: of the model's weights.
        moved: changes the model's eps, by (eps, x, timestep).
    """
    for step, timestep in enumerate(solver.scheduler.timesteps.tolist()):
        eps = solver.predict(model, step, x, labels(timestep), dtype)
        x = solver.advance(step, x, eps if moved is None else moved(eps, x, timestep))
    return x


def switched(starts: Any, ends: Any, tau: float, timesteps: int) -> Callable[[int], Any]:
    """Attribute switching: the labels are `starts` before the time tau, `ends` from it on."""
    # timestep i is the time (i + 1) / T
    return lambda timestep: starts if timestep + 1 > tau * timesteps else ends


def safe(solver: Solver, unsafe: Any, *, strength: float, most_snr: float) -> Callable[[Any, Any, int], Any]:
    """The safe denoiser of Kim et al. (2025) with a constant weight, where the SNR is at most `most_snr`.

    Arguments:
        solver: whose schedule it is.
        unsafe: (N, D) images.
        strength: how far the posterior mean is moved from that of the unsafe images.
        most_snr: the upper edge of the window.
    """
    lengths = unsafe.square().sum(1)

    def moved(eps: Any, x: Any, timestep: int) -> Any:
        abar = solver.abar[timestep]
        if float(solver.scheduler.alphas_cumprod[timestep]) > most_snr / (1 + most_snr):
            return eps
        alpha, sigma = abar.sqrt(), (1 - abar).sqrt()
        x0 = ((x - sigma * eps) / alpha).clamp(-1, 1)
        logits = (alpha * (x.flatten(1) @ unsafe.T) - 0.5 * abar * lengths) / (1 - abar)
        mean = (logits.softmax(1) @ unsafe).reshape(x.shape)
        return (x - alpha * (x0 + strength * (x0 - mean))) / sigma

    return moved


class Found(NamedTuple):
    """What the authors' procedure finds.

    Attributes:
        taus: the candidates, timesteps.
        curve: the criterion of each.
        left_out: seconds that the steps not run would have taken.
    """

    taus: np.ndarray
    curve: np.ndarray
    left_out: float

    @property
    def tau(self) -> float:
        """The best candidate: labels switch at timesteps below it."""
        return float(self.taus[self.curve.argmin()])


def authors_search(solver: Solver, model: Callable, x: Any, labels: tuple[Any, Any], *, dtype: Any, steps: int) -> Found:
    """The published search for tau: DDIM over every timestep, each condition along its own trajectory from the same noise.

    D_t = beta_t (eps_0 - eps_1) of every step is kept in the host's memory; with A and C the sums of D before and from tau on,
    the criterion is the mean over pixels of the norm along the batch of C - A. (The published code grows its array of D by
    copying it in every step, and sums anew for every candidate; here it is a list, and summed once.)

    Arguments:
        solver: of all timesteps.
        model: UNet2DModel, compiled or not.
        x: (B, C, H, W), the noise.
        labels: (B,) of both conditions.
        dtype: of the model's weights.
        steps: how many of the steps are run, at least `GRID`.
    """
    begun, timesteps, stored = time.perf_counter(), solver.scheduler.timesteps.tolist(), []
    states = [x, x]
    for step, timestep in enumerate(timesteps[:steps]):
        eps = [solver.predict(model, step, state, label, dtype) for state, label in zip(states, labels, strict=True)]
        stored.append((float(solver.scheduler.betas[timestep]) * (eps[0] - eps[1])).cpu())
        states = [solver.advance(step, state, each) for state, each in zip(states, eps, strict=True)]
    total, after, curve = sum(stored), 0, {}
    for timestep, difference in zip(timesteps, stored, strict=False):
        after = after + difference
        if timestep % GRID == 0:
            curve[timestep] = float((total - 2 * after).square().sum(0).sqrt().mean())
    left_out = (time.perf_counter() - begun) * (len(timesteps) / steps - 1)
    return Found(np.array(list(curve)), np.array(list(curve.values())), left_out)
