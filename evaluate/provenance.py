"""Provenance of reports."""

import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from jaxdiff._console.parts import LIBRARIES


def provenance(options: Any, device: str | None = None) -> dict[str, Any]:
    """Command, options, versions and machine, JSON-ready.

    Arguments:
        options: the command's dataclass.
        device: the devices, from `devices` in the process that used them; by default those of this process.
    """
    program = sys.argv[0].split() if sys.argv[0].startswith("jaxdiff ") else ["jaxdiff", "evaluate"]  # the demo evaluates too
    return {
        "command": [*program, *sys.argv[1:]],
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "machine": f"{device or devices()}, {platform.machine()} {platform.system()}",
    }


def devices() -> str:
    """The number and the kind of this process's devices."""
    return f"{len(jax.devices())} x {jax.devices()[0].device_kind}"
