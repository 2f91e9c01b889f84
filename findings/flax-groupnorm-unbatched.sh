#!/usr/bin/env bash
# Packages: flax 0.12.8 (linen and nnx) on jax 0.10.2.
# Expected: a network of Conv and GroupNorm on one image, shape (H, W, C), gives what it gives on a batch of that one image.
#   Conv adds a batch dimension that is lacking, "to enable writing single-example code", as its documentation says.
# What happens: GroupNorm takes the first axis for the batch, whatever it is, so a single image is normalised row by row.
#   There is no error: a network that is mapped over images by vmap trains with other statistics than the batched call,
#   PyTorch and the paper (Wu & He 2018) have. reduction_axes must be given.
# Output seen:
#   linen: largest difference by Conv 0.00, by GroupNorm 1.60; std of an unbatched row 1.00
#   nnx: largest difference by Conv 0.00, by GroupNorm 1.60; std of an unbatched row 1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2 flax==0.12.8
JAX_PLATFORMS=cpu "$folder/venv/bin/python" -I - <<'PY'
import jax
import jax.numpy as jnp
from flax import linen, nnx

# Rows of rising contrast, as in a photograph that is dark at the top.
image = jax.random.normal(jax.random.key(0), (8, 8, 4)) * jnp.arange(1, 9)[:, None, None]


def linen_layers():
    def bind(layer):
        variables = layer.init(jax.random.key(1), image)
        return lambda x: layer.apply(variables, x)

    return bind(linen.Conv(4, (3, 3))), bind(linen.GroupNorm(num_groups=2))


def nnx_layers():
    rngs = nnx.Rngs(0)
    return nnx.Conv(4, 4, (3, 3), rngs=rngs), nnx.GroupNorm(4, num_groups=2, rngs=rngs)


for name, (convolve, normalise) in {"linen": linen_layers(), "nnx": nnx_layers()}.items():
    plain = float(jnp.abs(convolve(image) - convolve(image[None])[0]).max())
    normalised = float(jnp.abs(normalise(image) - normalise(image[None])[0]).max())
    row = float(normalise(image)[0, :, :2].std())
    print(f"{name}: largest difference by Conv {plain:.2f}, by GroupNorm {normalised:.2f}; std of an unbatched row {row:.2f}")
    if plain > 1e-5:
        raise SystemExit(f"changed: {name}.Conv treats an unbatched image otherwise than a batch of one")
    if not (normalised > 0.5 and abs(row - 1) < 1e-3):
        raise SystemExit(f"changed: {name}.GroupNorm no longer normalises an unbatched image row by row")
PY
