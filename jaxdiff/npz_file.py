"""Npz files without objects: every array is checked against the size of the file before memory is taken for it."""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff.boundary import reading, require_regular, require_size
from jaxdiff.errors import InputError

_SUFFIX = ".npy"


def load_npz(path: Path, used: Collection[str] | None = None) -> dict[str, Any]:
    """The arrays of an npz file by name.

    Arguments:
        path: the file.
        used: the arrays to read; the others are None. By default all are read.

    Raises:
        InputError: the file does not exist, is damaged, is no npz file, has two arrays of one name, or holds objects, which
            would run code; or an array is larger than the file can hold.
    """
    require_regular(path)
    with reading(path), open(path, "rb") as opened:
        if opened.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
            raise InputError(f"{path} must be an npz file, got a single array")
        with zipfile.ZipFile(opened) as archive:
            arrays: dict[str, Any] = {}
            for member in archive.infolist():
                name = member.filename.removesuffix(_SUFFIX)
                if name in arrays:
                    raise InputError(f"{path} has two arrays {name!r}")
                what = f"array {name!r} of {path}"
                wanted = used is None or name in used
                arrays[name] = _array(archive, member, what, path.stat().st_size) if wanted else None
            return arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str, packed: int) -> np.ndarray:
    """An array, if its header agrees with the size of its member, and that with the size of the file."""
    with reading(what):
        require_size(member.file_size, what, packed=min(member.compress_size, packed), most=None)
        with archive.open(member) as opened:
            version = np.lib.format.read_magic(opened)
            if version not in _HEADERS:
                raise InputError(f"{what} is of version {version} of the format npy, which is for structures with names")
            shape, _, dtype = _HEADERS[version](opened)
            if dtype.hasobject:
                raise InputError(f"{what} holds objects, which are not read since they would run code")
            held, size = member.file_size - opened.tell(), math.prod(shape) * dtype.itemsize
            if min(shape, default=0) < 0 or size != held:
                raise InputError(f"{what} is damaged: its header says {dtype} {shape}, {size:,} bytes, and it has {held:,}")
        with archive.open(member) as opened:
            return np.lib.format.read_array(opened, allow_pickle=False)


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
