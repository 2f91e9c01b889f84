"""The programs of jaxdiff as benchmarks run them, one command after another."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet


def drawn(folder: Path, *arguments: Any) -> Path:
    """A set of samples in a folder, drawn unless it is there whole."""
    try:
        SampleSet.open(folder)
    except InputError:
        run("sample", "draw", *arguments, "--out", folder)
    return folder


def run(*arguments: Any) -> None:
    """Runs a program of jaxdiff, and prints its command. Raises `InputError` if it fails."""
    command = ["-m", *map(str, arguments)]
    console.print(f"jaxdiff {shlex.join(command[1:])}", highlight=False, markup=False)
    done = subprocess.run([sys.executable, *command], check=False)
    if done.returncode:
        raise InputError(f"`jaxdiff {shlex.join(command[1:])}` ended with status {done.returncode}")
