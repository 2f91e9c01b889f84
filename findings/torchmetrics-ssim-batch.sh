#!/usr/bin/env bash
# Packages: torchmetrics 1.9.0 on torch 2.13.0.
# Expected: structural_similarity_index_measure(..., reduction="none") gives a value per image, a property of that image and its
#   reference (Wang et al. 2004). The documentation of data_range says that None
#   determines it "from the image (max - min)".
# What happens: with the default data_range=None the range is that of the whole batch, so an image's SSIM depends on which
#   images stand beside it. Scores of samples with low contrast rise when the batch is larger, and a mean over a set depends
#   on the batch size and the order. data_range=1.0 gives a value of the image alone.
# Output seen:
#   default: alone 0.6534, beside an image of full range 0.7413
#   data_range=1.0: alone 0.7413, beside an image of full range 0.7413
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0
"$folder/venv/bin/python" -I - <<'PY'
import torch
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

generator = torch.Generator().manual_seed(0)
reference = 0.45 + 0.1 * torch.rand(1, 3, 32, 32, generator=generator)
sample = reference + 0.03 * torch.randn(1, 3, 32, 32, generator=generator)
other = torch.rand(1, 3, 32, 32, generator=generator)


def first(**options):
    alone = ssim(sample, reference, reduction="none", **options)[0]
    beside = ssim(torch.cat([sample, other]), torch.cat([reference, other]), reduction="none", **options)[0]
    return float(alone), float(beside)


default, fixed = first(), first(data_range=1.0)
for name, (alone, beside) in {"default": default, "data_range=1.0": fixed}.items():
    print(f"{name}: alone {alone:.4f}, beside an image of full range {beside:.4f}")
if not abs(default[0] - default[1]) > 0.05:
    raise SystemExit("changed: an image's SSIM no longer depends on its batch")
if not abs(fixed[0] - fixed[1]) < 1e-5:
    raise SystemExit("changed: with data_range=1.0 an image's SSIM depends on its batch")
PY
