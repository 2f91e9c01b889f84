"""Writing files from the first process of a run."""

import tempfile
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


def require_writable(path: Path) -> None:
    """Creates the folder of a file that is to be written later, so that a wrong path is an error before the work.

    Raises:
        InputError: in every process, if no file can be written there, or the path is a folder.
    """

    def attempt():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass

    write_once(path, attempt)
