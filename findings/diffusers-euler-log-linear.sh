#!/usr/bin/env bash
# Packages: diffusers 0.42.1 on torch 2.13.0.
# Expected: EulerDiscreteScheduler(interpolation_type="log_linear") interpolates the sigmas between the training timesteps in
#   the logarithm instead of linearly ("the interpolation type to compute intermediate sigmas"). At or between neighbouring
#   timesteps the two hardly differ, and more steps of either approach the data.
# What happens: the sigmas are spread evenly in the logarithm over the whole schedule, but the timesteps stay as they were.
#   The network is told a timestep of another noise level at every step but the first. On Gaussian data N(0.5, 0.5^2)
#   with its exact denoiser the mean of the samples is 0.31 with 20 steps and gets worse with more.
#   use_exponential_sigmas=True spreads the sigmas in the same way, with timesteps that fit.
# Output seen:
#   linear       20 steps: half-way sigma  2.98, timestep of sigma  2.98; mean 0.4986, std 0.4305
#   linear      100 steps: half-way sigma  3.34, timestep of sigma  3.34; mean 0.4985, std 0.4858
#   linear      500 steps: half-way sigma  3.41, timestep of sigma  3.41; mean 0.4984, std 0.4971
#   log_linear   20 steps: half-way sigma  1.25, timestep of sigma  2.98; mean 0.3140, std 0.4327
#   log_linear  100 steps: half-way sigma  1.25, timestep of sigma  3.34; mean 0.2901, std 0.4640
#   log_linear  500 steps: half-way sigma  1.25, timestep of sigma  3.41; mean 0.2859, std 0.4702
#   exponential  20 steps: half-way sigma  0.97, timestep of sigma  0.97; mean 0.4986, std 0.4402
#   exponential 100 steps: half-way sigma  1.19, timestep of sigma  1.19; mean 0.4985, std 0.4879
#   exponential 500 steps: half-way sigma  1.24, timestep of sigma  1.24; mean 0.4984, std 0.4975
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import numpy as np
import torch
from diffusers import EulerDiscreteScheduler

MEAN, STD = 0.5, 0.5
alpha_bar = EulerDiscreteScheduler().alphas_cumprod.double().numpy()
log_sigma = np.log((1 - alpha_bar) / alpha_bar) / 2


def sigma_of(t):
    """The sigma of a timestep in training."""
    return float(np.exp(np.interp(float(t), np.arange(1000), log_sigma)))


def sample(steps, **options):
    scheduler = EulerDiscreteScheduler(**options)
    scheduler.set_timesteps(steps)
    # The sampler is an affine map of the noise, so the images of 0 and 1 give mean and standard deviation of the samples.
    x = torch.tensor([[0.0, 1.0]], dtype=torch.float64) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        # The exact prediction of the noise by a network that is given an image scaled to variance 1 and the timestep.
        alpha = 1 / (1 + sigma_of(t) ** 2)
        image = scheduler.scale_model_input(x, t)
        noise = (1 - alpha) ** 0.5 * (image - alpha**0.5 * MEAN) / (alpha * STD**2 + 1 - alpha)
        x = scheduler.step(noise, t, x).prev_sample
    at = steps // 2
    told, used = sigma_of(scheduler.timesteps[at]), float(scheduler.sigmas[at])
    return told, used, float(x[0, 0]), float(x[0, 1] - x[0, 0])


cases = {
    "linear": {},
    "log_linear": {"interpolation_type": "log_linear"},
    "exponential": {"use_exponential_sigmas": True},
}
seen = {}
for name, options in cases.items():
    for steps in (20, 100, 500):
        seen[name, steps] = told, used, mean, std = sample(steps, **options)
        sigmas = f"half-way sigma {used:5.2f}, timestep of sigma {told:5.2f}"
        print(f"{name:11} {steps:3} steps: {sigmas}; mean {mean:.4f}, std {std:.4f}")
told, used, mean, _ = seen["log_linear", 500]
assert told > 2 * used, "changed: the timesteps of log_linear fit its sigmas"
assert MEAN - mean > 0.1, "changed: log_linear no longer misses the mean"
for name in ("linear", "exponential"):
    told, used, mean, std = seen[name, 500]
    assert abs(told / used - 1) < 0.02 and abs(mean - MEAN) < 0.01 and abs(std - STD) < 0.01, f"changed: {name}"
PY
