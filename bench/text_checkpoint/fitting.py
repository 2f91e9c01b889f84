"""Training that resumes: the loop that all stages share."""

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import nn

from bench.text_checkpoint.printing import say

SAVE_SECONDS = 120
PRINT_SECONDS = 20
_AVERAGE_DECAY = 0.998


def fit(
    name: str,
    module: nn.Module,
    loss: Callable[[int], torch.Tensor],
    *,
    steps: int,
    rate: float,
    seed: int,
    state: Path,
    parameters: Iterable[nn.Parameter] | None = None,
    averaged: bool = False,
) -> None:
    """Trains a module with AdamW: 100 steps of warm-up, then a cosine to a fiftieth of the rate, gradients clipped to norm 1.

    A step is a function of (seed, step) and the state before it, so a resumed training gives what an uninterrupted one gives.

    Arguments:
        name: of the stage, for the lines of progress.
        module: what is trained; it is left in evaluation mode.
        loss: of a step. Its random numbers come from PyTorch's global generator, which each step seeds.
        steps: how many.
        rate: the highest learning rate.
        seed: of the random numbers.
        state: the file that the state is kept in; it is read if it is there.
        parameters: those to train; all of the module if None.
        averaged: leave an exponential moving average of the parameters in the module.
    """
    trained = list(module.parameters() if parameters is None else parameters)
    optimizer = torch.optim.AdamW(trained, lr=rate, betas=(0.9, 0.99), weight_decay=1e-3)
    average = [parameter.detach().clone() for parameter in trained] if averaged else []
    begun = _resume(state, module, optimizer, average)
    if begun:
        say(f"{name}: resuming after step {begun} of {steps}")
    module.train()
    seconds, shown, saved = time.monotonic(), time.monotonic(), time.monotonic()
    losses: list[float] = []
    for step in range(begun, steps):
        torch.manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = rate * _schedule(step, steps)
        value = loss(step)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(value.item())
        if averaged:
            # early on the average follows, so that it does not remember the initial weights
            decay = min(_AVERAGE_DECAY, (1 + step) / (10 + step))
            torch._foreach_lerp_(average, [parameter.detach() for parameter in trained], 1 - decay)
        now, last = time.monotonic(), step + 1 == steps
        if now - shown >= PRINT_SECONDS or last:
            speed = (step + 1 - begun) / (now - seconds)
            left = (steps - step - 1) / speed / 60
            recent = sum(losses) / len(losses)
            say(f"{name}: step {step + 1} of {steps}, loss {recent:.4f}, {speed:.2f} steps/s, {left:.1f} min left")
            shown, losses = now, []
        if now - saved >= SAVE_SECONDS or last:
            _save(state, step + 1, module, optimizer, average)
            saved = now
    with torch.no_grad():
        for parameter, mean in zip(trained, average, strict=averaged):
            parameter.copy_(mean)
    module.eval()


def _schedule(step: int, steps: int) -> float:
    warm_up = min(1.0, (step + 1) / 100)
    return warm_up * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _resume(state: Path, module: nn.Module, optimizer: torch.optim.Optimizer, average: list[torch.Tensor]) -> int:
    """Loads a state, if there is one, and returns the steps that it has taken."""
    if not state.exists():
        return 0
    kept = torch.load(state, weights_only=True)
    module.load_state_dict(kept["module"])
    optimizer.load_state_dict(kept["optimizer"])
    for mean, value in zip(average, kept["average"], strict=True):
        mean.copy_(value)
    return kept["step"]


def _save(state: Path, step: int, module: nn.Module, optimizer: torch.optim.Optimizer, average: list[torch.Tensor]) -> None:
    """Writes a state whole or not at all."""
    partial = state.with_suffix(".partial")
    torch.save({"step": step, "module": module.state_dict(), "optimizer": optimizer.state_dict(), "average": average}, partial)
    partial.replace(state)
