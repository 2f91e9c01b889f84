"""Npz files without objects, read whole."""

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff.errors import InputError


def load_npz(path: Path, used: Collection[str] | None = None) -> dict[str, Any]:
    """The arrays of an npz file by name.

    Arguments:
        path: the file.
        used: the arrays to read; the others are None. By default all are read.

    Raises:
        InputError: the file does not exist, is damaged, is no npz file, or holds objects, which would run code.
    """
    if not path.is_file():
        raise InputError(f"file {path} does not exist")
    try:
        # opened here because np.load leaves a file that is damaged, or no zip, open
        with open(path, "rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise InputError(f"{path} must be an npz file, got a single array")
            with loaded:
                return {name: loaded[name] if used is None or name in used else None for name in loaded.files}
    except (OSError, ValueError, KeyError, EOFError, AttributeError, MemoryError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a readable npz file: {error}") from error
