"""What the first process of a run writes for all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxdiff import parallel
from jaxdiff.errors import InputError


def write_once(path: Path, function: Callable[[], Any]) -> None:
    """Has the first process write a file or a folder. Every process calls it, and none computes within it.

    Raises:
        InputError: in every process, where it cannot be written.
    """

    def write():
        try:
            function()
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from error

    parallel.run_on_first(write)
