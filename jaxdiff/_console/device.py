"""Settings to make before JAX starts: compiler flags that help on this machine, and the cache of compiled programs."""

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import threading
from contextlib import suppress
from pathlib import Path

from jaxdiff._console import cache

# Lets XLA's CPU backend run convolutions and sums with its matrix library. Only these versions of jaxlib know the flag; an
# unknown flag ends the process.
_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"
# Training a model of series also elementwise operations: less memory and time, where UNets take more memory.
_CPU_SERIES_FLAG = f"{_CPU_FLAG},LIBRARY_FUSION_TYPE_ELTWISE"
_CPU_FLAG_VERSIONS = ("0.10.2",)
_ACCELERATOR_PACKAGES = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm60_plugin", "jax_rocm7_plugin", "libtpu")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_LEAST_SECONDS = 0.2  # compilation time above which a program is cached


def prepare(trains_series: bool = False) -> None:
    """Sets XLA_FLAGS and the memory allocator for this machine, and caches compiled programs on disk.

    Call it before JAX is first used. It respects the user's XLA_FLAGS, MALLOC_..., JAX_CPU_ENABLE_ASYNC_DISPATCH,
    JAX_COMPILATION_CACHE_DIR and JAX_ENABLE_COMPILATION_CACHE.

    Arguments:
        trains_series: whether the process trains a model of series.
    """
    platforms = os.environ.get("JAX_PLATFORMS", "")
    accelerated = any(importlib.util.find_spec(name) for name in _ACCELERATOR_PACKAGES)
    on_cpu = platforms == "cpu" or (not platforms and not accelerated)
    forget_flags()  # a process may have inherited them from its parent
    flags = os.environ.get("XLA_FLAGS", "")
    if on_cpu and importlib.metadata.version("jaxlib") in _CPU_FLAG_VERSIONS and "ynn_fusion_type" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_CPU_SERIES_FLAG if trains_series else _CPU_FLAG}".strip()
    chosen = any(name.startswith("MALLOC_") or name == "JAX_CPU_ENABLE_ASYNC_DISPATCH" for name in os.environ)
    if on_cpu and platform.libc_ver()[0] == "glibc" and not chosen:
        _keep_memory()
    _keep_programs()
    _write_programs_whole()


def forget_flags() -> None:
    """Removes the flags that `prepare` set, before JAX compiles for simulated accelerators."""
    if flags := os.environ.get("XLA_FLAGS"):
        os.environ["XLA_FLAGS"] = " ".join(flag for flag in flags.split() if flag not in (_CPU_FLAG, _CPU_SERIES_FLAG))


def _keep_memory() -> None:
    """Lets the process keep freed memory, up to 2 GiB.

    XLA allocates and frees a program's memory at every call. By default glibc returns blocks of that size to the system, which
    zeroes them page by page when they are allocated again: a third of a training step. Only the heap of the main thread keeps
    them, so programs must run on the main thread, not on a thread of JAX.
    """
    import jax

    allocator = ctypes.CDLL(None)
    for parameter, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1)):
        allocator.mallopt(parameter, value)
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def _keep_programs() -> None:
    import jax

    # the attributes of JAX's configuration are made as it is imported
    if jax.config.jax_compilation_cache_dir is not None:  # ty: ignore[missing-attribute]
        return
    if not jax.config.jax_enable_compilation_cache:  # ty: ignore[missing-attribute]
        return
    folder = cache.folder("programs") / _machine()
    try:
        cache.make_private(folder)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        cache.trim("programs")
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)


def _write_programs_whole() -> None:
    """Lets JAX write each entry of its cache under a temporary name and rename it, and replace a damaged one.

    JAX writes an entry in place and never again. Another process reads half of it meanwhile, and what a killed process leaves
    is compiled at each start, with a warning. A cache whose size the user limits has a lock of its own.
    """
    try:
        from jax._src.lru_cache import _CACHE_SUFFIX, LRUCache
    except ImportError:  # a version of JAX that keeps its cache elsewhere writes it in its own way
        return
    if LRUCache.put.__module__ == __name__:
        return
    in_place = LRUCache.put

    def put(self: LRUCache, key: str, value: bytes) -> None:
        if self.eviction_enabled or "://" in str(self.path):
            return in_place(self, key, value)
        entry = Path(self.path, f"{key}{_CACHE_SUFFIX}")
        partial = entry.with_name(f"{key}.{os.getpid()}.{threading.get_ident()}")
        try:
            partial.write_bytes(value)
            partial.replace(entry)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    LRUCache.put = put


def _machine() -> str:
    """A digest of the machine, for the cache: a program compiled for another processor may crash the process."""
    facts = [platform.machine(), importlib.metadata.version("jaxlib"), os.environ.get("XLA_FLAGS", "")]
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        names = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU")  # of x86 and of Arm
        facts += [line for line in first.splitlines() if line.startswith(names)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
