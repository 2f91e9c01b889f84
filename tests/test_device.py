"""Compiled programs are kept on disk: in a folder of their own for each processor, used by a second start, damaged or not."""

import os
from pathlib import Path

import jax
import pytest

from console import device
from tests.processes import succeed

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


def test_what_the_user_has_chosen_stays(fresh):
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


def test_the_programs_that_were_used_longest_ago_make_room(fresh, monkeypatch):
    folder = chosen()
    for age, name in enumerate(("new", "middle", "old")):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(device, "_MOST", 250)
    jax.config.update("jax_compilation_cache_dir", None)
    chosen()
    assert sorted(file.name for file in folder.iterdir()) == ["middle", "new"]


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
    x = parallel.deal(mesh, np.ones((4, 8), np.float32))
    y = jax.jit(lambda x: jnp.linalg.norm(jnp.sin(x) @ x.T))(x)
print("TOLD", counts["hits"], counts["misses"], float(y))
"""


def test_a_second_start_takes_programs_from_disk_and_compiles_damaged_ones_anew(tmp_path):
    """Of two processes the first keeps them; of a CPU's, JAX tells those of each process apart, so that it alone has them."""

    def start():
        outputs = succeed(("-c", COUNTED), 2, XDG_CACHE_HOME=str(tmp_path), JAX_ENABLE_COMPILATION_CACHE="1")
        return [tuple(map(float, output.split("TOLD ")[1].split()[:3])) for output in outputs]

    (_, misses, first), _ = start()
    kept = list(tmp_path.rglob("*-cache"))
    assert misses > 0 and kept
    (hits, misses, again), (_, _, other) = start()
    assert hits > 0 and misses == 0 and again == other == first
    for file in kept:
        file.write_bytes(file.read_bytes()[:50])
    (_, misses, anew), _ = start()
    assert misses > 0 and anew == first
