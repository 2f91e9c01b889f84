#!/usr/bin/env bash
# Packages: orbax-checkpoint 0.12.8 on jax 0.10.2.
# Expected: CheckpointManagerOptions(best_fn=..., best_mode="min", max_to_keep=k) keeps the k checkpoints of best quality, and
#   best_step() names the best of them. An evaluation that failed (an FID that is NaN) counts as worst, or is refused.
# What happens: checkpoints are sorted by the metric, and a NaN compares false with everything, so the sort ends in some order.
#   One NaN is enough for the best checkpoint to be deleted, or for best_step() to name a bad one while the best is there.
# Output seen:
#   FID by step [10.0, nan, 20.0], keep 2: kept [1, 2], best_step 2
#   FID by step [30.0, 20.0, 10.0, nan, 25.0], keep 3: kept [2, 3, 4], best_step 4
#   FID by step [30.0, 20.0, 10.0, 25.0], keep 3: kept [1, 2, 3], best_step 2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2 orbax-checkpoint==0.12.8
mkdir "$folder/checkpoints"
CHECKPOINTS="$folder/checkpoints" JAX_PLATFORMS=cpu "$folder/venv/bin/python" -I - <<'PY'
import os
import tempfile

import jax.numpy as jnp
import orbax.checkpoint as ocp


def keep(metrics, count):
    options = ocp.CheckpointManagerOptions(
        max_to_keep=count, best_fn=lambda m: m["fid"], best_mode="min", enable_async_checkpointing=False
    )
    folder = tempfile.mkdtemp(dir=os.environ["CHECKPOINTS"])
    with ocp.CheckpointManager(folder, options=options) as manager:
        for step, fid in enumerate(metrics):
            manager.save(step, args=ocp.args.StandardSave({"w": jnp.zeros(1)}), metrics={"fid": fid})
        kept, best = list(manager.all_steps()), manager.best_step()
    print(f"FID by step {metrics}, keep {count}: kept {kept}, best_step {best}")
    return kept, best


nan = float("nan")
if keep([10.0, nan, 20.0], 2) != ([1, 2], 2):
    raise SystemExit("changed: a NaN no longer makes the manager delete the best checkpoint")
if keep([30.0, 20.0, 10.0, nan, 25.0], 3) != ([2, 3, 4], 4):
    raise SystemExit("changed: a NaN no longer makes best_step() name a worse checkpoint")
if keep([30.0, 20.0, 10.0, 25.0], 3) != ([1, 2, 3], 2):
    raise SystemExit("changed: without a NaN the best checkpoints are no longer kept")
PY
