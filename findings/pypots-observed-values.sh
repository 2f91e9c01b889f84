#!/usr/bin/env bash
# Package: pypots 1.5 (pypots.imputation.SAITS), with torch 2.13.0 and numpy 2.4.6.
# Expected: imputation fills missing values, and values that were observed come back as they were.
# What happens: the result is float32 whatever the input is, observed values too: of float64 input every value that float32 does
#   not hold is changed. A table that is written from it has 0.10000000149011612 for 0.1, and counters above 2**24 are other
#   integers. Nothing says so; the observed values must be put back by the caller.
# Output seen:
#   SAITS: float32, 448 of 448 observed values changed; 16777217.0 became 16777216.0, 0.1 became 0.10000000149011612
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 pypots==1.5
HOME="$folder" "$folder/venv/bin/python" -I - <<'PY'
import numpy as np
from pypots.imputation import SAITS

given = np.random.default_rng(0).normal(size=(32, 8, 2))
given[0, 0, 0], given[0, 1, 0] = 2.0**24 + 1, 0.1
given[:, 3:5, 1] = np.nan
model = SAITS(n_steps=8, n_features=2, n_layers=1, d_model=8, n_heads=2, d_k=4, d_v=4, d_ffn=8, epochs=1, device="cpu", verbose=False)
model.fit({"X": given})
filled = model.impute({"X": given})
seen = ~np.isnan(given)
changed = int((filled[seen] != given[seen]).sum())
print(
    f"SAITS: {filled.dtype}, {changed} of {int(seen.sum())} observed values changed; "
    f"{given[0, 0, 0]} became {float(filled[0, 0, 0])}, {given[0, 1, 0]} became {float(filled[0, 1, 0])}"
)
assert filled.dtype == np.float32, "changed: the result keeps the type of the input"
assert changed and filled[0, 0, 0] == 2.0**24, "changed: observed values come back as they were"
PY
