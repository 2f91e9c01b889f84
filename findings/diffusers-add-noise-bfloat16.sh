#!/usr/bin/env bash
# Packages: diffusers 0.42.1 on torch 2.13.0.
# Expected: DDPMScheduler.add_noise(images, noise, t) adds noise "according to the noise magnitude at each timestep". Images in
#   bfloat16, as in mixed precision training, get that magnitude, sqrt(1 - alpha_bar), to bfloat16's precision of 0.4 %.
# What happens: alpha_bar is cast to the images' dtype before it is taken from 1. bfloat16 has no number between 0.996 and 1, so
#   at the first ten timesteps no noise at all is added: the network is to predict noise that its input does not hold, and it
#   never sees these noise levels. Beyond them the noise takes few levels, up to 40 % apart. With float16 it is the
#   first two timesteps. DDIM, PNDM, LCM, TCD and SASolver do the same; Euler, in bfloat16 too, adds the right amount.
# Output seen:
#   timestep             0       5       9      10      15      20      50
#   exact           0.0100  0.0300  0.0435  0.0468  0.0631  0.0791  0.1733
#   DDPM float32    0.0100  0.0300  0.0435  0.0468  0.0631  0.0791  0.1733  without noise 0, off by more than 10 % 0
#   DDPM float16    0.0000  0.0312  0.0442  0.0442  0.0625  0.0797  0.1740  without noise 2, off by more than 10 % 4
#   DDPM bfloat16   0.0000  0.0000  0.0000  0.0625  0.0625  0.0884  0.1768  without noise 10, off by more than 10 % 19
#   Euler bfloat16  0.0100  0.0300  0.0434  0.0468  0.0634  0.0793  0.1731  without noise 0, off by more than 10 % 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler

SHOWN = [0, 5, 9, 10, 15, 20, 50]
timesteps = torch.arange(1000)
alpha_bar = DDPMScheduler().alphas_cumprod.double()
exact = (1 - alpha_bar).sqrt()


def added(scheduler, dtype):
    """The factor of the noise at each timestep, read off a noise of 1 on images of 0."""
    images, noise = torch.zeros(1000, 1, dtype=dtype), torch.ones(1000, 1, dtype=dtype)
    return scheduler.add_noise(images, noise, timesteps)[:, 0].double()


cases = {
    "DDPM float32": added(DDPMScheduler(), torch.float32),
    "DDPM float16": added(DDPMScheduler(), torch.float16),
    "DDPM bfloat16": added(DDPMScheduler(), torch.bfloat16),
    # Euler's images are larger by 1 / sqrt(alpha_bar).
    "Euler bfloat16": added(EulerDiscreteScheduler(), torch.bfloat16) * alpha_bar.sqrt(),
}
print(f"{'timestep':14}" + "".join(f"{t:8}" for t in SHOWN))
print(f"{'exact':14}" + "".join(f"{float(exact[t]):8.4f}" for t in SHOWN))
counts = {}
for name, factor in cases.items():
    counts[name] = without, off = int((factor == 0).sum()), int(((factor / exact - 1).abs() > 0.1).sum())
    values = "".join(f"{float(factor[t]):8.4f}" for t in SHOWN)
    print(f"{name:14}{values}  without noise {without}, off by more than 10 % {off}")
assert counts["DDPM bfloat16"][0] >= 5, "changed: images in bfloat16 get noise at the first timesteps"
assert counts["DDPM float16"][0] >= 1, "changed: images in float16 get noise at the first timesteps"
assert counts["DDPM float32"] == counts["Euler bfloat16"] == (0, 0), "changed: the usual behaviour beside it"
PY
