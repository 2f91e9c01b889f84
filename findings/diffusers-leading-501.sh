#!/usr/bin/env bash
# Packages: diffusers 0.42.1 on torch 2.13.0.
# Expected: more steps of DDIM follow the same trajectory more closely, from pure noise at t = 999 or just below. The default
#   timestep_spacing="leading" refers to Lin et al. 2023, table 2, whose schedules all span the T = 1000 training steps.
# What happens: steps are T // S apart, so 500 steps start at t = 998 and 501 steps at t = 500: the sampler takes pure noise
#   for a half-denoised image. On Gaussian data N(0.5, 0.5^2) with its exact denoiser the mean of the samples falls from
#   0.498 (500 steps) to 0.428 (501 steps). DDPM, PNDM and Euler with "leading" start at t = 500 too, and
#   DPM-Solver, UniPC and DEIS do so from 500 steps on.
# Output seen:
#    100 steps: first t 990, mean 0.4983, std 0.4860
#    500 steps: first t 998, mean 0.4984, std 0.4971
#    501 steps: first t 500, mean 0.4284, std 0.5137
#    600 steps: first t 599, mean 0.4595, std 0.5034
#   1000 steps: first t 999, mean 0.4984, std 0.4985
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import torch
from diffusers import DDIMScheduler

MEAN, STD = 0.5, 0.5


def noise_in(x, alpha_bar):
    """The exact prediction of the noise, for data distributed as N(MEAN, STD^2)."""
    variance = alpha_bar * STD**2 + 1 - alpha_bar
    return (1 - alpha_bar).sqrt() * (x - alpha_bar.sqrt() * MEAN) / variance


def sample(steps):
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(steps)
    # The sampler is an affine map of the noise, so the images of 0 and 1 give mean and standard deviation of the samples.
    x = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    for t in scheduler.timesteps:
        x = scheduler.step(noise_in(x, scheduler.alphas_cumprod[t].double()), t, x).prev_sample
    return int(scheduler.timesteps[0]), float(x[0, 0]), float(x[0, 1] - x[0, 0])


seen = {steps: sample(steps) for steps in (100, 500, 501, 600, 1000)}
for steps, (first, mean, std) in seen.items():
    print(f"{steps:4} steps: first t {first}, mean {mean:.4f}, std {std:.4f}")
if not (seen[500][0] > 990 and abs(seen[500][1] - MEAN) < 0.005):
    raise SystemExit("changed: 500 steps no longer reach the mean of the data")
if not (seen[501][0] == 500 and MEAN - seen[501][1] > 0.05):
    raise SystemExit("changed: 501 steps no longer start half-way")
PY
