"""Writing files from the first process of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxdiff import parallel
from jaxdiff.errors import InputError


def write_once(path: Path, function: Callable[[], Any]) -> None:
    """Writes a file or folder in the first process. Every process calls it; the function must not run JAX computations.

    Raises:
        InputError: in every process, if it cannot be written.
    """

    def write():
        try:
            function()
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error

    parallel.run_on_first(write)
