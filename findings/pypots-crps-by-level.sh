#!/usr/bin/env bash
# Package: pypots 1.5 (pypots.nn.functional.calc_quantile_crps), with torch 2.13.0 and numpy 2.4.6.
# Expected: the documentation calls the result the value of the continuous ranked probability score. That score of draws from
#   N(0, 1) at 1 is .602 in closed form; it is ten times as large where draws and truth are ten times as large, and stays the same
#   where both are moved by a constant.
# What happens: the result is divided by the sum of the absolute true values, as in CSDI's code. So it does not change with the
#   unit, and it does change with the level: the same errors around a true value of 13 score a tenth of those around 1. Results of
#   standardised series and of series in their unit, or of PyPOTS and of other packages, cannot be compared.
# Output seen:
#   crps of N(0, 1) at 1: closed form 0.602, pypots 0.631
#   ten times as large: closed form 6.024, pypots 0.631
#   moved by 100: closed form 0.602, pypots 0.006
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 pypots==1.5
HOME="$folder" "$folder/venv/bin/python" -I - <<'PY'
import math

import numpy as np
from pypots.nn.functional import calc_quantile_crps

draws = np.random.default_rng(0).normal(size=(32, 4000, 8, 2))
truth, mask = np.ones((32, 8, 2)), np.ones((32, 8, 2))


def closed(y):
    """The score of N(0, 1) at y (Gneiting & Raftery 2007)."""
    density, below = math.exp(-y * y / 2) / math.sqrt(2 * math.pi), 0.5 * (1 + math.erf(y / math.sqrt(2)))
    return y * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi)


cases = {"crps of N(0, 1) at 1": (1, 0), "ten times as large": (10, 0), "moved by 100": (1, 100)}
found = {name: calc_quantile_crps(scale * draws + by, scale * truth + by, mask) for name, (scale, by) in cases.items()}
for name, (scale, _) in cases.items():
    print(f"{name}: closed form {scale * closed(1):.3f}, pypots {found[name]:.3f}")
first, larger, moved = found.values()
assert abs(larger - first) < 1e-9, "changed: the result depends on the unit"
assert moved < first / 50, "changed: the result does not depend on the level"
PY
