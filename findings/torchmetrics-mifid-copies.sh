#!/usr/bin/env bash
# Packages: torchmetrics 1.9.0 on torch 2.13.0 and scipy 1.17.1.
# Expected: MemorizationInformedFrechetInceptionDistance "penalizes memorization of the training set by the generator". In its
#   source (Bai et al. 2021, arXiv 2106.03062) the FID is divided by the distance of each generated image to the nearest
#   training image, averaged over the generated ones: 0 for copies, whose MIFID is then beyond measure.
# What happens: the average is over the training images, each with its nearest generated one. A generator that copies a half
#   or a tenth of the training set leaves the other training images without a near copy, and is not penalised at all.
#   Copies of a half get about half of the MIFID of new draws from the true distribution. Copies of the whole set get 0,
#   the best there is.
# Output seen:
#   new draws          FID 0.293, MIFID 0.293; distance by the paper 0.411
#   copies of a half   FID 0.156, MIFID 0.156; distance by the paper 0.000
#   copies of a tenth  FID 1.337, MIFID 1.337; distance by the paper 0.000
#   copies of all      FID 0.000, MIFID 0.000; distance by the paper 0.000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  torch==2.13.0 torchmetrics==1.9.0 scipy==1.17.1
"$folder/venv/bin/python" -I - <<'PY'
import torch
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

generator = torch.Generator().manual_seed(0)


class Pixels(torch.nn.Module):
    """The features are the pixels."""

    num_features = 32

    def forward(self, images):
        return images.flatten(1)


def draw(n):
    return torch.randn(n, 1, 1, 32, generator=generator)


def measured(metric, training, generated):
    metric.update(training, real=True)
    metric.update(generated, real=False)
    return float(metric.compute())


def distance(generated, training):
    """The distance of Bai et al.: over the generated images, 1 - |cosine| to the nearest training image."""
    a, b = (torch.nn.functional.normalize(images.flatten(1).double()) for images in (generated, training))
    return float((1 - (a @ b.T).abs()).min(1).values.mean())


training = draw(2000)
cases = {
    "new draws": draw(2000),
    "copies of a half": training[:1000].repeat(2, 1, 1, 1),
    "copies of a tenth": training[:200].repeat(10, 1, 1, 1),
    "copies of all": training.clone(),
}
seen = {}
for name, generated in cases.items():
    fid = measured(FrechetInceptionDistance(feature=Pixels(), input_img_size=(1, 1, 32)), training, generated)
    mifid = measured(MemorizationInformedFrechetInceptionDistance(feature=Pixels()), training, generated)
    seen[name] = fid, mifid, distance(generated, training)
    print(f"{name:18} FID {fid:.3f}, MIFID {mifid:.3f}; distance by the paper {abs(seen[name][2]):.3f}")
for name in ("copies of a half", "copies of a tenth"):
    fid, mifid, apart = seen[name]
    assert apart < 1e-6 and abs(mifid - fid) < 1e-6, f"changed: {name} are penalised"
assert seen["copies of all"][1] == 0, "changed: copies of all no longer get the best value"
assert seen["copies of a half"][1] < seen["new draws"][1], "changed: copies of a half no longer beat new draws"
fid, mifid, apart = seen["new draws"]
assert apart > 0.1 and abs(mifid - fid) < 1e-6, "changed: the usual behaviour, new draws are not penalised"
PY
