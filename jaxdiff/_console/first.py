"""Writing files from the first process of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxdiff import parallel
from jaxdiff.writing import unwritable


def write_once(path: Path, function: Callable[[], Any]) -> None:
    """Writes a file or folder in the first process. Every process calls it; the function must not run JAX computations.

    Raises:
        InputError: in every process, if it cannot be written.
    """

    def write():
        try:
            function()
        except OSError as error:
            raise unwritable(path, error) from error

    parallel.run_on_first(write)
