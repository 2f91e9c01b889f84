#!/usr/bin/env bash
# Package: jax 0.10.2 (CPU).
# Expected: a persistent compilation cache on a disk that was full for a moment recovers: the program that could not be
#   written is compiled at the next start, written then, and read from there on. The documentation calls what is found
#   damaged an error that JAX survives (`jax_raise_persistent_cache_errors` is off).
# What happens: JAX writes an entry in place and leaves the part that had room. Each later start finds a file of that
#   name, cannot decompress it, warns, compiles, and does not write since the file exists: the program is compiled at every
#   start for good, until somebody deletes the file. (A job stopped at its time limit while it writes leaves the same.)
# Output seen:
#   start with room for 2 KiB: 1 warnings, an entry of 2048 bytes
#   second start, with room:   1 warnings, an entry of 2048 bytes
#   third start, with room:    1 warnings, an entry of 2048 bytes
#   another folder, with room: 0 warnings, an entry of 3051 bytes
#   and its second start:      0 warnings, an entry of 3051 bytes
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check jax==0.10.2 jaxlib==0.10.2
cat > "$folder/start.py" <<'PY'
import resource
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp

cache, room = Path(sys.argv[1]), int(sys.argv[2])
jax.config.update("jax_compilation_cache_dir", str(cache))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
x = jnp.ones((8, 8)).block_until_ready()
if room:  # as on a full disk, a write beyond it is an error
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    jax.jit(lambda x: jnp.sin(x) @ x)(x).block_until_ready()
count = sum("persistent compilation cache" in str(each.message) for each in caught)
(entry,) = cache.glob("jit__lambda*-cache")
print(count, entry.stat().st_size)
PY
start() { JAX_PLATFORMS=cpu "$folder/venv/bin/python" -I "$folder/start.py" "$folder/$1" "$2"; }
say() { echo "$1 $2 warnings, an entry of $3 bytes"; }
read -r full part < <(start full 2048)
say "start with room for 2 KiB:" "$full" "$part"
read -r second kept < <(start full 0)
say "second start, with room:  " "$second" "$kept"
read -r third still < <(start full 0)
say "third start, with room:   " "$third" "$still"
read -r none whole < <(start usual 0)
say "another folder, with room:" "$none" "$whole"
read -r again same < <(start usual 0)
say "and its second start:     " "$again" "$same"
[ "$full $second $third" = "1 1 1" ] && [ "$part $kept $still" = "2048 2048 2048" ]
[ "$none $again" = "0 0" ] && [ "$whole" -gt 2048 ] && [ "$whole" = "$same" ]
