#!/usr/bin/env bash
# Packages: diffusers 0.42.1 on torch 2.13.0.
# Expected: EMAModel(parameters, decay=0.9999, use_ema_warmup=False), the default, averages with decay 0.9999 from the first
#   step: the flag is "whether to use EMA warmup", as in papers that report a decay of 0.9999 and no warm-up.
# What happens: the flag picks between two warm-ups. Off, the decay is min(0.9999, (1 + n) / (10 + n)), which reaches 0.9999
#   only after some 90,000 steps, and is 0 at the first. On, it is 1 - (1 + n)^(-2/3), which is slower still. Only
#   min_decay=0.9999 keeps it constant (after the first step, which copies the weights).
# Output seen:
#   step       1   decay off 0.00000   on 0.00000   off with min_decay 0.00000
#   step     100   decay off 0.91743   on 0.95358   off with min_decay 0.99990
#   step   10000   decay off 0.99910   on 0.99785   off with min_decay 0.99990
#   step  100000   decay off 0.99990   on 0.99954   off with min_decay 0.99990
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I - <<'PY'
import torch
from diffusers.training_utils import EMAModel

STEPS = (1, 100, 10_000, 100_000)


def decays(**options):
    average = EMAModel([torch.nn.Parameter(torch.zeros(1))], decay=0.9999, **options)
    return [average.get_decay(step) for step in STEPS]


off, on, held = decays(use_ema_warmup=False), decays(use_ema_warmup=True), decays(min_decay=0.9999)
for step, a, b, c in zip(STEPS, off, on, held, strict=True):
    print(f"step {step:7}   decay off {a:.5f}   on {b:.5f}   off with min_decay {c:.5f}")
if not (off[1] < 0.95 and off[2] < 0.9995):
    raise SystemExit("changed: with use_ema_warmup=False the decay is no longer warmed up")
if held[1] != 0.9999:
    raise SystemExit("changed: min_decay no longer keeps the decay constant")
PY
