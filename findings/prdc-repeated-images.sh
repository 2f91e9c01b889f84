#!/usr/bin/env bash
# Packages: prdc 0.2 on numpy 2.4.6, scikit-learn 1.9.1.
# Expected: precision, recall and coverage of a set against itself are 1, whatever the set. Kynkäänniemi et al. 2019, eq. 1,
#   count a point within the k-th neighbour's distance, the boundary included.
# What happens: the package compares with "less than". Where an image comes k + 1 times or more, as in a group repeated to
#   balance a set, the distance to its k-th neighbour is 0 and nothing lies within it, not even the image itself. With half of
#   the images repeated, only those that come once are counted, 100 of 800.
# Output seen:
#   every image once            precision 1.00, recall 1.00, density 1.00, coverage 1.00
#   half of the images 7 times  precision 0.12, recall 0.12, density 0.05, coverage 0.12
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check prdc==0.2 numpy==2.4.6 scikit-learn==1.9.1
"$folder/venv/bin/python" -I - <<'PY'
import contextlib
import io

import numpy as np
from prdc import compute_prdc

points = np.random.default_rng(0).integers(0, 256, size=(200, 16)).astype(float)
sets = {
    "every image once": points,
    "half of the images 7 times": np.concatenate([points[100:], np.repeat(points[:100], 7, axis=0)]),
}
seen = {}
for name, images in sets.items():
    with contextlib.redirect_stdout(io.StringIO()):
        seen[name] = compute_prdc(real_features=images, fake_features=images, nearest_k=5)
    print(f"{name:27}", ", ".join(f"{measure} {value:.2f}" for measure, value in seen[name].items()))
once, repeated = seen.values()
if any(value != 1 for value in once.values()):
    raise SystemExit("changed: a set without repeated images is no longer perfect against itself")
if not (repeated["precision"] < 0.5 and repeated["recall"] < 0.5):
    raise SystemExit("changed: repeated images no longer lower the precision of a set against itself")
PY
