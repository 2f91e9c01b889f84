"""What must be set before JAX starts: known compiler flags, only where they help, and where compiled programs are kept."""

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
from contextlib import suppress
from pathlib import Path

# Lets XLA's CPU backend hand convolutions and sums to its matrix library. Known to these versions of jaxlib; an unknown
# flag ends the process, so no other version gets it.
_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"
# In training also what is done element by element: else XLA computes the sum of the residual blocks' gradients anew for each
# convolution that takes a part of it.
_CPU_TRAINING_FLAG = f"{_CPU_FLAG},LIBRARY_FUSION_TYPE_ELTWISE"
_CPU_FLAG_VERSIONS = ("0.10.2",)
_ACCELERATOR_PACKAGES = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm60_plugin", "jax_rocm7_plugin", "libtpu")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_MOST = 4 * 2**30  # bytes of programs that are kept
_LEAST_SECONDS = 0.2  # of compiling, for which a program is kept


def prepare(training: bool = False) -> None:
    """Sets XLA_FLAGS and the allocator for this machine, and keeps compiled programs on disk for a second start.

    Call it before JAX is first used; what the user has set in XLA_FLAGS, MALLOC_..., JAX_CPU_ENABLE_ASYNC_DISPATCH,
    JAX_COMPILATION_CACHE_DIR and JAX_ENABLE_COMPILATION_CACHE stays.

    Arguments:
        training: whether the process trains a diffusion model.
    """
    platforms = os.environ.get("JAX_PLATFORMS", "")
    accelerated = any(importlib.util.find_spec(name) for name in _ACCELERATOR_PACKAGES)
    on_cpu = platforms == "cpu" or (not platforms and not accelerated)
    forget_flags()  # a process may have them from the one that started it
    flags = os.environ.get("XLA_FLAGS", "")
    if on_cpu and importlib.metadata.version("jaxlib") in _CPU_FLAG_VERSIONS and "ynn_fusion_type" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_CPU_TRAINING_FLAG if training else _CPU_FLAG}".strip()
    chosen = any(name.startswith("MALLOC_") or name == "JAX_CPU_ENABLE_ASYNC_DISPATCH" for name in os.environ)
    if on_cpu and platform.libc_ver()[0] == "glibc" and not chosen:
        _keep_memory()
    _keep_programs()


def forget_flags() -> None:
    """Takes back the flags that `prepare` set, before JAX compiles: programs that stand for an accelerator's have none."""
    if flags := os.environ.get("XLA_FLAGS"):
        os.environ["XLA_FLAGS"] = " ".join(flag for flag in flags.split() if flag not in (_CPU_FLAG, _CPU_TRAINING_FLAG))


def _keep_memory() -> None:
    """Lets the process keep the memory that it frees, up to 2 GiB.

    XLA takes and frees what a program needs at every call. By default glibc gives blocks of that size back to the system,
    which hands them out again filled with zeros, page by page: a third of a training step. Only the heap of the main thread
    keeps them, so that the programs must be run by it, not by a thread of JAX's.
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
    whole = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxdiff" / "programs"
    folder = whole / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        _forget_oldest(whole)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)


def _machine() -> str:
    """What a program must not be taken from one machine to another without: one of another processor may end a process."""
    told = [platform.machine(), importlib.metadata.version("jaxlib"), os.environ.get("XLA_FLAGS", "")]
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        names = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU")  # of x86 and of Arm
        told += [line for line in first.splitlines() if line.startswith(names)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _forget_oldest(whole: Path) -> None:
    """Deletes the programs that were used longest ago, of whatever machine, beyond `_MOST` bytes."""
    kept = 0
    with suppress(OSError):  # another process may do the same
        files = [(file.stat(), file) for file in whole.rglob("*") if file.is_file()]
        for stat, file in sorted(files, key=lambda each: -max(each[0].st_atime, each[0].st_mtime)):
            kept += stat.st_size
            if kept > _MOST:
                file.unlink(missing_ok=True)
