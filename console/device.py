"""What must be set before JAX starts: known compiler flags, only where they help."""

import importlib.metadata
import importlib.util
import os

# Lets XLA's CPU backend hand convolutions to its matrix library: twice the speed of a small UNet. Known to these
# versions of jaxlib; an unknown flag ends the process, so no other version gets it.
_CPU_FLAG = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT"
_CPU_FLAG_VERSIONS = ("0.10.2",)
_ACCELERATOR_PACKAGES = ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm60_plugin", "jax_rocm7_plugin", "libtpu")


def prepare() -> None:
    """Sets XLA_FLAGS for this machine. Call it before JAX is first used; what the user has set in XLA_FLAGS stays."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    accelerated = any(importlib.util.find_spec(name) for name in _ACCELERATOR_PACKAGES)
    on_cpu = platforms == "cpu" or (not platforms and not accelerated)
    flags = os.environ.get("XLA_FLAGS", "")
    if on_cpu and importlib.metadata.version("jaxlib") in _CPU_FLAG_VERSIONS and "ynn_fusion_type" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_CPU_FLAG}".strip()
