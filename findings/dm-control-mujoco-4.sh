#!/usr/bin/env bash
# Package: dm_control 1.0.50, with mujoco 4.0.0 and 3.17.0.
# Expected: the newest release of dm_control, which asks for `mujoco>=3.17.0` without an upper bound, loads its tasks with the
#   mujoco that pip then takes.
# What happens: no task of the control suite loads with mujoco 4.0.0. dm_control lists the fields of mujoco's structures of its
#   own build, and mujoco 4 has no `flex_vertedge` any more: an AttributeError from `suite.load`, which does not say that the
#   versions do not match. With mujoco 3.17.0 the same task loads. A set that is made by dm_control needs `mujoco<4`.
# Output seen:
#   dm_control 1.0.50 asks for mujoco>=3.17.0
#   mujoco 4.0.0: AttributeError: 'MjModel' object has no attribute 'flex_vertedge'
#   mujoco 3.17.0: loaded, observations position, velocity, touch
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
export MUJOCO_GL=disabled
cat > "$folder/load.py" <<'PY'
import sys
from importlib.metadata import requires, version

if sys.argv[1] == "asks":
    asked = [each for each in requires("dm_control") if each.startswith("mujoco")]
    print(f"dm_control {version('dm_control')} asks for {asked[0]}")
    if asked != ["mujoco>=3.17.0"]:
        raise SystemExit("changed: other bounds on mujoco")
    raise SystemExit
try:
    from dm_control import suite

    names = list(suite.load("hopper", "stand", task_kwargs={"random": 0}).reset().observation)
    seen = "loaded"
    print(f"mujoco {version('mujoco')}: loaded, observations {', '.join(names)}")
except AttributeError as error:
    seen = "AttributeError"
    print(f"mujoco {version('mujoco')}: AttributeError: {str(error).split('.')[0]}")
if seen != sys.argv[1]:
    raise SystemExit(f"changed: {seen} in place of {sys.argv[1]}")
PY
install() { "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
install dm_control==1.0.50 mujoco==4.0.0
"$folder/venv/bin/python" -I "$folder/load.py" asks
"$folder/venv/bin/python" -I "$folder/load.py" AttributeError
install mujoco==3.17.0
"$folder/venv/bin/python" -I "$folder/load.py" loaded
