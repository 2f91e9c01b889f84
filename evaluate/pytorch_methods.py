"""The methods in PyTorch on top of diffusers: the code of the baseline.

This module does not import PyTorch; it uses the methods of the tensors.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

GRID = 10  # the authors try every tenth timestep


class Solver(NamedTuple):
    """DDIM, with everything that is computed before its loop.

    Attributes:
        scheduler: diffusers' DDIMScheduler, its timesteps set.
        times: (S, B), the timesteps on the device, to avoid copies in the loop.
        abar: (T,), alpha² of each timestep, float32 on the device.
    """

    scheduler: Any
    times: Any
    abar: Any

    def predict(self, model: Callable, step: int, x: Any, labels: Any, dtype: Any) -> Any:
        """The model's eps at a step, float32: a copy, since CUDA graphs overwrite their outputs."""
        return model(x.to(dtype), self.times[step], class_labels=labels).sample.to(x.dtype, copy=True)

    def advance(self, step: int, x: Any, eps: Any) -> Any:
        """The next state."""
        return self.scheduler.step(eps, self.scheduler.timesteps[step], x, use_clipped_model_output=True).prev_sample


def denoise(
    solver: Solver, model: Callable, x: Any, labels: Callable[[int], Any], *, dtype: Any, adjust: Callable | None = None
) -> Any:
    """DDIM from x (B, C, H, W) on.

    Arguments:
        solver: the solver.
        model: UNet2DModel, compiled or not.
        x: float32.
        labels: the labels (B,) at a timestep.
        dtype: of the model's weights.
        adjust: changes the model's eps, by (eps, x, timestep).
    """
    for step, timestep in enumerate(solver.scheduler.timesteps.tolist()):
        eps = solver.predict(model, step, x, labels(timestep), dtype)
        x = solver.advance(step, x, eps if adjust is None else adjust(eps, x, timestep))
    return x


def switched(starts: Any, ends: Any, tau: float, timesteps: int) -> Callable[[int], Any]:
    """Attribute switching: the labels are `starts` before the time tau, `ends` from it on."""
    # timestep i is the time (i + 1) / T
    return lambda timestep: starts if timestep + 1 > tau * timesteps else ends


def safe(solver: Solver, unsafe: Any, *, strength: float, max_snr: float) -> Callable[[Any, Any, int], Any]:
    """The safe denoiser of Kim et al. (2025) with a constant weight, where the SNR is at most `max_snr`.

    Arguments:
        solver: the solver with the schedule.
        unsafe: (N, D) images.
        strength: how far the posterior mean is moved away from that of the unsafe images.
        max_snr: the upper edge of the window.
    """
    lengths = unsafe.square().sum(1)

    def adjust(eps: Any, x: Any, timestep: int) -> Any:
        abar = solver.abar[timestep]
        if float(solver.scheduler.alphas_cumprod[timestep]) > max_snr / (1 + max_snr):
            return eps
        alpha, sigma = abar.sqrt(), (1 - abar).sqrt()
        x0 = ((x - sigma * eps) / alpha).clamp(-1, 1)
        logits = (alpha * (x.flatten(1) @ unsafe.T) - 0.5 * abar * lengths) / (1 - abar)
        mean = (logits.softmax(1) @ unsafe).reshape(x.shape)
        return (x - alpha * (x0 + strength * (x0 - mean))) / sigma

    return adjust


class SearchResult(NamedTuple):
    """The result of the authors' procedure.

    Attributes:
        taus: the candidates, timesteps.
        curve: the criterion of each.
        skipped_seconds: estimated seconds of the steps that were not run.
    """

    taus: np.ndarray
    curve: np.ndarray
    skipped_seconds: float

    @property
    def tau(self) -> float:
        """The best candidate: labels switch at timesteps below it."""
        return float(self.taus[self.curve.argmin()])


def authors_search(solver: Solver, model: Callable, x: Any, labels: tuple[Any, Any], *, dtype: Any, steps: int) -> SearchResult:
    """The published search for tau: DDIM over every timestep, each condition along its own trajectory from the same noise.

    D_t = beta_t (eps_0 - eps_1) of every step is kept in host memory; with A and C the sums of D before and from tau on,
    the criterion is the mean over pixels of the norm along the batch of C - A. (The published code copies
    its array of D in every step and sums it again for every candidate; here D is a list, summed once.)

    Arguments:
        solver: of all timesteps.
        model: UNet2DModel, compiled or not.
        x: (B, C, H, W), the noise.
        labels: (B,) of both conditions.
        dtype: of the model's weights.
        steps: number of steps to run, at least `GRID`.
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
    skipped_seconds = (time.perf_counter() - begun) * (len(timesteps) / steps - 1)
    return SearchResult(np.array(list(curve)), np.array(list(curve.values())), skipped_seconds)
