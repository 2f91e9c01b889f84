#!/usr/bin/env bash
# Package: jax 0.10.2 (CPU, default threefry generator).
# Expected: jax.random.normal(key, shape, "bfloat16") is a standard normal, rounded to bfloat16: mean 0, symmetric, and
#   tails as far as n draws reach (4.9 for n = 1e6). The documentation promises a standard normal "with given shape and float
#   dtype" on the whole line; training in bfloat16 draws its noise this way.
# What happens: the uniforms behind it have as many random bits as the dtype's mantissa (7), so at most 128 different
#   values come out, none beyond 2.9 below and 2.6 above, and the mean is -0.011: 22 standard errors from 0 at n = 4e6.
#   Drawing in float32 and rounding has none of this. float16 (10 bits) is biased too, by -0.0018.
# Output seen:
#   drawn in bfloat16     values   128  min -2.891  max  2.516  mean -0.01109 (-22.2 standard errors)
#   drawn in float16      values  1024  min -3.486  max  3.182  mean -0.00177 ( -3.5 standard errors)
#   float32 then bfloat16 values  4110  min -4.844  max  5.219  mean  0.00015 (  0.3 standard errors)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -I - <<'PY'
import jax
import numpy as np

n = 4_000_000
key = jax.random.key(0)
drawn = {
    "drawn in bfloat16": jax.random.normal(key, (n,), "bfloat16"),
    "drawn in float16": jax.random.normal(key, (n,), "float16"),
    "float32 then bfloat16": jax.random.normal(key, (n,), "float32").astype("bfloat16"),
}
seen = {}
for name, z in drawn.items():
    z = np.asarray(z).astype(np.float64)
    values, low, high, errors = seen[name] = len(np.unique(z)), z.min(), z.max(), z.mean() * np.sqrt(n)
    extent = f"values {values:5d}  min {low:.3f}  max {high:6.3f}"
    print(f"{name:21} {extent}  mean {z.mean():8.5f} ({errors:5.1f} standard errors)")

values, low, high, errors = seen["drawn in bfloat16"]
if not (values <= 128 and low > -3 and high < 2.6 and errors < -10):
    raise SystemExit("changed: bfloat16 normals no longer are 128 values with a mean below zero")
values, low, high, errors = seen["float32 then bfloat16"]
if not (values > 1000 and low < -4 and high > 4 and abs(errors) < 4):
    raise SystemExit("changed: float32 normals rounded to bfloat16 are no longer standard normal")
PY
