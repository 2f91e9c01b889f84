#!/usr/bin/env bash
# Packages: diffusers 0.42.1 on torch 2.13.0.
# Expected: add_noise(images, noise, t) of DPMSolverMultistepScheduler adds noise "according to the noise schedule at the
#   specified timesteps": hardly any at t = 0, hardly anything else at t = 999. Training calls it on a new scheduler, as with
#   DDPMScheduler; a comment in its source names the case "when the scheduler is used for training".
# What happens: until set_timesteps is called, the timesteps run down and the sigmas run up, so t gets the noise of 999 - t:
#   a network trained this way learns to take images for noise and noise for images. UniPC, DEIS and the single-step
#   DPM solver do the same; DDPM, DDIM, Euler and SASolver do not, nor do these four after set_timesteps(1000).
# Output seen:
#   timestep                              0    100    400    800    999
#   exact                            0.0100 0.3238 0.8980 0.9992 1.0000
#   DDPMScheduler                    0.0100 0.3238 0.8980 0.9992 1.0000
#   DPMSolverMultistepScheduler      1.0000 0.9999 0.9870 0.5839 0.0100
#   DPMSolverSinglestepScheduler     1.0000 0.9999 0.9870 0.5839 0.0100
#   UniPCMultistepScheduler          1.0000 0.9999 0.9870 0.5839 0.0100
#   DEISMultistepScheduler           1.0000 0.9999 0.9870 0.5839 0.0100
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import diffusers
import torch

diffusers.logging.set_verbosity_error()
timesteps = torch.tensor([0, 100, 400, 800, 999])
betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
exact = (1 - torch.cumprod(1 - betas, 0)).sqrt()[timesteps]


def added(scheduler):
    """The factor of the noise, read off a noise of 1 on images of 0."""
    return scheduler.add_noise(torch.zeros(5, 1), torch.ones(5, 1), timesteps)[:, 0].double()


def show(name, values):
    print(f"{name:32}" + "".join(f"{float(value):7.4f}" for value in values))


print(f"{'timestep':32}" + "".join(f"{int(t):7}" for t in timesteps))
show("exact", exact)
usual = added(diffusers.DDPMScheduler())
show("DDPMScheduler", usual)
assert torch.allclose(usual, exact, atol=1e-3), "changed: the noise that DDPMScheduler adds"
for name in (
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
):
    scheduler = getattr(diffusers, name)()
    new = added(scheduler)
    show(name, new)
    assert new[0] > 0.99 and new[-1] < 0.02, f"changed: a new {name} no longer adds the noise of 999 - t"
    scheduler.set_timesteps(1000)
    assert torch.allclose(added(scheduler), exact, atol=0.01), f"changed: {name} after set_timesteps"
PY
