"""The cache of compiled programs: one folder per kind of processor, reused by a second start, and robust to damage."""

import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from jax._src.lru_cache import LRUCache

from jaxdiff._console import cache, device
from tests.processes import LIMIT, succeed

NAMES = ("jax_compilation_cache_dir", "jax_enable_compilation_cache", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """The settings of a start without any."""
    before = {name: getattr(jax.config, name) for name in NAMES}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", None)
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def chosen() -> Path:
    device.prepare()
    return Path(jax.config.jax_compilation_cache_dir)


def test_programs_are_kept_in_the_users_cache_apart_for_each_processor(fresh, monkeypatch):
    folder = chosen()
    assert folder.is_dir() and folder.parent == fresh / "jaxdiff" / "programs"
    jax.config.update("jax_compilation_cache_dir", None)
    assert chosen() == folder
    read = Path.read_text
    other = lambda path, **given: "flags : sse9" if path == Path("/proc/cpuinfo") else read(path, **given)  # noqa: E731
    monkeypatch.setattr(Path, "read_text", other)
    jax.config.update("jax_compilation_cache_dir", None)
    assert chosen() != folder


def test_settings_of_the_user_stay(fresh):
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    assert chosen() == Path("elsewhere")
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", False)
    device.prepare()
    assert jax.config.jax_compilation_cache_dir is None
    assert not list(fresh.iterdir())


def test_a_home_that_cannot_be_written_is_no_error(fresh, monkeypatch):
    (fresh / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(fresh / "file"))
    device.prepare()
    assert jax.config.jax_compilation_cache_dir is None


def test_the_least_recently_used_programs_are_deleted(fresh, monkeypatch):
    folder, now = chosen(), time.time()
    for age, name in enumerate(("new", "middle", "old")):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (now - age, now - age))
    monkeypatch.setattr(cache, "MOST", 250)
    jax.config.update("jax_compilation_cache_dir", None)
    chosen()
    assert sorted(file.name for file in folder.iterdir()) == ["middle", "new"]


@pytest.mark.parametrize(
    "platforms, version, flags, trains_series, expected",
    [
        ("cpu", "0.10.2", "", False, device._CPU_FLAG),
        ("cpu", "0.10.2", "", True, device._CPU_SERIES_FLAG),
        ("cpu", "0.10.2", device._CPU_FLAG, True, device._CPU_SERIES_FLAG),
        ("cpu", "0.10.2", device._CPU_SERIES_FLAG, False, device._CPU_FLAG),
        ("", "0.10.2", "--xla_cpu_enable_fast_math=true", False, f"--xla_cpu_enable_fast_math=true {device._CPU_FLAG}"),
        ("cpu", "0.10.2", "--xla_cpu_experimental_ynn_fusion_type=", True, "--xla_cpu_experimental_ynn_fusion_type="),
        ("cpu", "0.99.0", "", True, ""),
        ("tpu", "0.10.2", "", True, ""),
    ],
)
def test_a_flag_is_set_where_it_is_known_and_the_user_has_not_set_it(
    fresh, monkeypatch, platforms, version, flags, trains_series, expected
):
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == "jaxlib" else real(name))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(device, "_keep_memory", lambda: None)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.setenv("XLA_FLAGS", flags)
    device.prepare(trains_series)
    assert os.environ["XLA_FLAGS"] == expected


def test_the_flags_are_removed_and_those_of_the_user_stay(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_cpu_enable_fast_math=true {device._CPU_SERIES_FLAG}")
    device.forget_flags()
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=true"


FAULTS = """
import os, resource
from jaxdiff._console import device
device.prepare()
import jax, jax.numpy as jnp
# a program with 64 MiB between its products
program = jax.jit(lambda x: (x * jnp.ones((8192, 4))) @ jnp.ones((4, 2048)) @ jnp.ones((2048, 1)))
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts_of_faults = []
# a number that were still on its way to the device would start the program on another thread
x = jnp.float32(1.0).block_until_ready()
for _ in range(30):
    before = faults()
    program(x).block_until_ready()
    counts_of_faults.append(faults() - before)
# a heap that must grow, or a system that takes pages back, adds faults to some calls
print("FAULTS", min(counts_of_faults[3:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_is_reused():
    """Not new pages at every call, which the system fills with zeros; but what the user has set for malloc stays."""

    def faults(**variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        command, settings = (sys.executable, "-c", FAULTS), {**environment, **variables, "JAX_PLATFORMS": "cpu"}
        completed = subprocess.run(command, env=settings, capture_output=True, text=True, check=True, timeout=LIMIT)
        return int(completed.stdout.split("FAULTS")[1])

    usual = faults()
    for chosen in ({"MALLOC_TRIM_THRESHOLD_": "131072"}, {"JAX_CPU_ENABLE_ASYNC_DISPATCH": "1"}):
        assert 10 * usual < faults(**chosen)


COUNTED = """
import jax.numpy as jnp
import numpy as np
counts = {"hits": 0, "misses": 0}
jax.monitoring.register_event_listener(
    lambda event, **_: counts.update({n: counts[n] + 1 for n in counts if event.endswith(f"compilation_cache/cache_{n}")})
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
mesh = parallel.make_mesh("")
with jax.set_mesh(mesh):
    x = parallel.shard_rows(mesh, np.ones((4, 8), np.float32))
    y = jax.jit(lambda x: jnp.linalg.norm(jnp.sin(x) @ x.T))(x)
    y += jax.jit(lambda x: jnp.linalg.norm(jnp.cos(x) @ x.T))(x)
print("CACHE", counts["hits"], counts["misses"], float(y))
"""


def test_a_second_start_takes_programs_from_disk_and_recompiles_damaged_ones(tmp_path, monkeypatch):
    """Of two processes the first keeps them; on CPUs, JAX keys them by process, so that only the first has them."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")

    def start():
        outputs = succeed(("-c", COUNTED), 2, XDG_CACHE_HOME=str(tmp_path))
        return [tuple(map(float, output.split("CACHE ")[1].split()[:3])) for output in outputs]

    (_, misses, first), _ = start()
    kept = {file: file.read_bytes() for file in sorted(tmp_path.rglob("*-cache"))}
    assert misses == len(kept) > 1
    damaged = list(kept)[::2]
    for file in damaged:
        file.write_bytes(kept[file][:50])
    (hits, misses, again), (_, _, other) = start()
    assert (hits, misses) == (len(kept) - len(damaged), len(damaged)) and again == other == first
    # the damaged ones were replaced
    assert all(len(file.read_bytes()) > 50 for file in damaged)


def test_a_jax_without_this_cache_is_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax._src.lru_cache", None)
    device.prepare()


def test_a_reader_finds_a_whole_program_or_none(tmp_path, monkeypatch):
    """While one process writes an entry, and after it was stopped in the middle."""
    device.prepare()
    kept, seen = LRUCache(str(tmp_path), max_size=-1), []
    write = Path.write_bytes

    def half(path, value):
        write(path, value[: len(value) // 2])
        seen.append(kept.get("key"))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return write(path, value)

    monkeypatch.setattr(Path, "write_bytes", half)
    kept.put("key", b"first")
    assert seen == [None] and kept.get("key") == b"first"
    with pytest.raises(KeyboardInterrupt):
        kept.put("key", b"again")
    assert seen == [None, b"first"] and kept.get("key") == b"first"
    assert len(list(tmp_path.iterdir())) == 1
