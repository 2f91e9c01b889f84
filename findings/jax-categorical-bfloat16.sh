#!/usr/bin/env bash
# Package: jax 0.10.2 (CPU, default threefry generator).
# Expected: jax.random.categorical(key, logits) draws with the probabilities softmax(logits), also from logits in bfloat16, as a
#   model in bfloat16 returns them: of discrete diffusion over 4,096 codes, say. Equal logits are exact in any dtype. The
#   documentation warns of a bias for events with a probability below about 1e-7, in float32.
# What happens: the Gumbel noise is drawn in the logits' dtype, so it takes few values, several categories share the largest,
#   and argmax takes the first of them. Of 256 equal logits the first half gets 74 % of the draws; of 4,096 it gets all, and
#   most categories are never drawn. float16 is biased too, 88 % for the first half of 4,096. mode="high" helps, not
#   wholly with 4,096. Logits cast to float32 first have none of this (30 of 4,096 are left out by chance in 20,000 draws).
# Output seen:
#     16 equal logits, bfloat16 mode low : drawn from the first half 0.512, never drawn 0
#     16 equal logits, bfloat16 mode high: drawn from the first half 0.506, never drawn 0
#     16 equal logits, float16  mode low : drawn from the first half 0.504, never drawn 0
#     16 equal logits, float32  mode low : drawn from the first half 0.498, never drawn 0
#    256 equal logits, bfloat16 mode low : drawn from the first half 0.737, never drawn 0
#    256 equal logits, bfloat16 mode high: drawn from the first half 0.505, never drawn 0
#    256 equal logits, float16  mode low : drawn from the first half 0.539, never drawn 0
#    256 equal logits, float32  mode low : drawn from the first half 0.503, never drawn 0
#   4096 equal logits, bfloat16 mode low : drawn from the first half 1.000, never drawn 3361
#   4096 equal logits, bfloat16 mode high: drawn from the first half 0.527, never drawn 36
#   4096 equal logits, float16  mode low : drawn from the first half 0.879, never drawn 778
#   4096 equal logits, float32  mode low : drawn from the first half 0.502, never drawn 30
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -I - <<'PY'
import jax
import jax.numpy as jnp
import numpy as np

n = 20_000
key = jax.random.key(0)
seen = {}
for categories in (16, 256, 4096):
    for dtype, mode in (("bfloat16", "low"), ("bfloat16", "high"), ("float16", "low"), ("float32", "low")):
        draws = np.asarray(jax.random.categorical(key, jnp.zeros(categories, dtype), shape=(n,), mode=mode))
        half = float((draws < categories // 2).mean())
        never = int((np.bincount(draws, minlength=categories) == 0).sum())
        seen[categories, dtype, mode] = half, never
        print(f"{categories:4} equal logits, {dtype:8} mode {mode:4}: drawn from the first half {half:.3f}, never drawn {never}")
assert seen[256, "bfloat16", "low"][0] > 0.65, "changed: of 256 equal logits the first half is no longer preferred"
assert seen[4096, "bfloat16", "low"][1] > 2000, "changed: of 4,096 equal logits most are drawn"
for categories in (16, 256, 4096):
    half, never = seen[categories, "float32", "low"]
    assert abs(half - 0.5) < 0.02 and never < 100, "changed: equal logits in float32"
PY
