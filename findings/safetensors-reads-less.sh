#!/usr/bin/env bash
# Packages: safetensors 0.8.0 on jax 0.10.2, ml_dtypes 0.6.0, numpy 2.4.6.
# Expected: what safetensors.flax writes it reads back. save and load are documented as a pair, and so are save_file and
#   load_file; the format has BF16 and the two FP8 types that diffusion checkpoints are published in.
# What happens: every dtype is written without an error. bfloat16 comes back from a file but not from bytes, and FP8 from
#   neither. safetensors.numpy, which safetensors.flax calls, behaves the same.
# Output seen:
#   float16        bytes read            file read
#   bfloat16       bytes KeyError        file read
#   float8_e4m3fn  bytes KeyError        file AttributeError
#   float8_e5m2    bytes KeyError        file AttributeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 safetensors==0.8.0 ml_dtypes==0.6.0 numpy==2.4.6 flax==0.12.8
FILE="$folder/w.safetensors" JAX_PLATFORMS=cpu "$folder/venv/bin/python" -I - <<'PY'
import os

import jax.numpy as jnp
import safetensors.flax as st

file = os.environ["FILE"]


def through_bytes(weights):
    return st.load(st.save(weights))


def through_file(weights):
    st.save_file(weights, file)
    return st.load_file(file)


def outcome(round_trip, dtype):
    weights = {"w": jnp.array([1.5, 2.0]).astype(dtype)}
    try:
        back = round_trip(weights)["w"]
    except (KeyError, AttributeError) as error:  # raised by the load, since every save succeeds
        return type(error).__name__
    return "read" if back.dtype == dtype and bool((back == weights["w"]).all()) else "read as something else"


expected = {
    "float16": ("read", "read"),
    "bfloat16": ("KeyError", "read"),
    "float8_e4m3fn": ("KeyError", "AttributeError"),
    "float8_e5m2": ("KeyError", "AttributeError"),
}
seen = {dtype: (outcome(through_bytes, dtype), outcome(through_file, dtype)) for dtype in expected}
for dtype, (by_bytes, by_file) in seen.items():
    print(f"{dtype:14} bytes {by_bytes:15} file {by_file}")
if seen != expected:
    raise SystemExit("changed: safetensors.flax now reads other dtypes back")
PY
