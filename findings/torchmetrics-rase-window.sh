#!/usr/bin/env bash
# Packages: torchmetrics 1.9.0 on torch 2.13.0.
# Expected: relative_average_spectral_error is the error in per cent of the mean, 100 / mean * sqrt(mean RMSE^2 of the bands).
#   If every pixel is off by 0.05 and the target's pixels are 0.5, it is 10, whatever the sliding window.
# What happens: the mean of each window is divided by the window's area once more, so with the default window of 8 the result
#   is 64 times as large, 640, and it changes with the window. The documentation's example, 5326 for two images of
#   uniform noise, should be about 82. ERGAS and the sliding RMSE of the same images are as expected.
# Output seen:
#   RASE, window  2:     40.00, closed form 10.00, ratio 4.00
#   RASE, window  4:    160.00, closed form 10.00, ratio 16.00
#   RASE, window  8:    640.00, closed form 10.00, ratio 64.00
#   RASE, window 16:   2560.00, closed form 10.00, ratio 256.00
#   ERGAS with ratio 1: 10.00, closed form 10.00; RMSE by a sliding window: 0.0500, closed form 0.0500
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0
"$folder/venv/bin/python" -I - <<'PY'
import torch
from torchmetrics.functional.image import (
    error_relative_global_dimensionless_synthesis,
    relative_average_spectral_error,
    root_mean_squared_error_using_sliding_window,
)

target = torch.full((2, 3, 64, 64), 0.5)
images = target + 0.05
error, mean = 0.05, 0.5
closed = 100 / mean * error
seen = {window: float(relative_average_spectral_error(images, target, window_size=window)) for window in (2, 4, 8, 16)}
for window, value in seen.items():
    print(f"RASE, window {window:2}: {value:9.2f}, closed form {closed:.2f}, ratio {value / closed:.2f}")
ergas = float(error_relative_global_dimensionless_synthesis(images, target, ratio=1))
rmse = float(root_mean_squared_error_using_sliding_window(images, target))
print(f"ERGAS with ratio 1: {ergas:.2f}, closed form {closed:.2f}; RMSE by a sliding window: {rmse:.4f}, closed form {error:.4f}")
for window, value in seen.items():
    assert abs(value / closed / window**2 - 1) < 0.01, "changed: RASE no longer grows with the area of the window"
assert abs(ergas / closed - 1) < 0.01 and abs(rmse / error - 1) < 0.01, "changed: ERGAS or the sliding RMSE"
PY
