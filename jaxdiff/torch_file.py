"""Reads files of `torch.save` without torch and without running code in them.

Such a file is a zip of a pickle and the tensors' bytes or, before torch 1.6, several pickles followed by those bytes. A
pickle is a program that can call anything it names. The reader allows only the few names needed for tensors, each mapped to
a function defined here, and rejects all others.
"""

import io
import math
import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

import jax.numpy as jnp
import numpy as np

from jaxdiff.boundary import line, require_regular
from jaxdiff.errors import InputError

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file from before torch 1.6
_VERSION = 1001  # the second
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


class _Admitted:
    """The value of an allowed name, which the pickle can call but not change."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __call__(self, *arguments):
        return self.value(*arguments)

    def __setstate__(self, state):
        raise pickle.UnpicklingError("the pickle sets attributes of a function or a type")


class _Dictionary(dict):
    """An OrderedDict in the file; attributes added by torch (module versions) are dropped."""

    def __setstate__(self, state):
        pass


def _tensor(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    """A view of a storage, after a bounds check, since `as_strided` has none."""
    if len(size) != len(stride) or min((offset, *size, *stride)) < 0:
        raise pickle.UnpicklingError(f"a tensor has offset {offset}, size {size} and stride {stride}")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > storage.size or (count and last >= storage.size):
        raise pickle.UnpicklingError(
            f"a tensor of size {size} and stride {stride} exceeds its storage of {storage.size} numbers"
        )
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


_ADMITTED = {
    "collections.OrderedDict": _Admitted(_Dictionary),
    "torch._utils._rebuild_tensor_v2": _Admitted(_tensor),
    "torch._utils._rebuild_parameter": _Admitted(lambda tensor, *_: tensor),
    "torch.DoubleStorage": _Admitted(np.dtype("<f8")),
    "torch.FloatStorage": _Admitted(np.dtype("<f4")),
    "torch.HalfStorage": _Admitted(np.dtype("<f2")),
    "torch.BFloat16Storage": _Admitted(np.dtype(jnp.bfloat16)),
    "torch.LongStorage": _Admitted(np.dtype("<i8")),
    "torch.IntStorage": _Admitted(np.dtype("<i4")),
    "torch.ShortStorage": _Admitted(np.dtype("<i2")),
    "torch.CharStorage": _Admitted(np.dtype("i1")),
    "torch.ByteStorage": _Admitted(np.dtype("u1")),
    "torch.BoolStorage": _Admitted(np.dtype("?")),
}

_WITH_CODE = (
    "it is a pickle of EDM, EDM2 or StyleGAN, which holds the code of its network, and nothing of it has run; convert it in "
    "PyTorch, where that code is installed, with safetensors.torch.save_file(network.state_dict(), FILE)"
)
# Names that say what is in a file.
_REFUSED = {
    "torch_utils.persistence._reconstruct_persistent_obj": _WITH_CODE,
    "dnnlib.util.EasyDict": _WITH_CODE,
    "torch._utils._rebuild_tensor_v3": (
        "it has tensors of a type such as float8, which jaxdiff does not read; save them as float16 or float32"
    ),
}


class _Unpickler(pickle.Unpickler):
    """Allows only the admitted names; `storage` returns the array for a key, a dtype and a count."""

    def __init__(self, file: io.BufferedIOBase, storage: Callable[[str, np.dtype, int], np.ndarray]):
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> _Admitted:
        if f"{module}.{name}" in _REFUSED:
            raise pickle.UnpicklingError(_REFUSED[f"{module}.{name}"])
        admitted = _ADMITTED.get(f"{module}.{name}")
        if admitted is None:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which is neither tensor nor dictionary, and nothing of it has run; "
                "of a module, save the state_dict()"
            )
        return admitted

    def persistent_load(self, pid: Any) -> np.ndarray:
        kind, storage_type, key, _, count, *view = pid
        if kind != "storage" or not isinstance(storage_type.value, np.dtype) or any(part is not None for part in view):
            raise pickle.UnpicklingError(f"it refers to {pid}, which is no storage")
        return self._storage(key, storage_type.value, count)


class _Within:
    """A file as `pickletools` reads it, in which nothing is longer than the file: room would be made for it."""

    def __init__(self, file: io.BufferedIOBase, size: int):
        self._file, self._size = file, size
        self.readline, self.tell = file.readline, file.tell

    def read(self, count: int) -> bytes:
        if count > self._size - self._file.tell():
            raise pickle.UnpicklingError(f"its pickle has a value of {count:,} bytes, beyond its end")
        return self._file.read(count)


def _unpickled(file: io.BufferedIOBase, size: int, storage: Callable[[str, np.dtype, int], np.ndarray]) -> Any:
    """The object that begins at the position of a file.

    The lengths of its values and the places in its memo are checked before: the unpickler makes room for them.
    """
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], _Within(file, size)))):
        if opcode.name in _PUTS and int(argument or 0) > count:
            raise pickle.UnpicklingError(f"its pickle names place {argument} of its memo after {count} operations")
    file.seek(start)
    return _Unpickler(file, storage).load()


def load(path: str | os.PathLike) -> Any:
    """The content of a file of `torch.save`, with read-only NumPy arrays for tensors and dictionaries for OrderedDicts.

    Arguments:
        path: a file of tensors, numbers, strings, lists and dictionaries, such as a module's `state_dict()`. bfloat16 tensors
            become arrays of JAX's bfloat16.

    Raises:
        InputError: the file does not exist, is damaged or not of `torch.save`, has tensors larger than their storage
            (`expand`),
            or names anything other than tensors: a whole module, a NumPy scalar, or code. No code has run in that case.
    """
    path = Path(path)
    require_regular(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _from_zip(archive, path.stat().st_size)
        with open(path, "rb") as file:
            return _from_row(file, path.stat().st_size)
    except Exception as error:  # a damaged pickle raises anything
        raise InputError(f"{path} is no file of tensors that torch.save wrote: {line(error)}") from error


def _from_zip(archive: zipfile.ZipFile, size: int) -> Any:
    """The content of a file since torch 1.6."""
    names = archive.namelist()
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise pickle.UnpicklingError(f"it must have one data.pkl, got {len(pickles)}")
    folder = pickles[0].removesuffix("data.pkl")

    left = size  # entries that share bytes would multiply them

    @cache
    def record(name: str) -> bytes:
        nonlocal left
        if archive.getinfo(folder + name).compress_type != zipfile.ZIP_STORED:
            raise pickle.UnpicklingError(f"its {name} is compressed, which torch.save does not do")
        left -= archive.getinfo(folder + name).file_size
        if left < 0:
            raise pickle.UnpicklingError(f"its entries are larger than its {size} bytes")
        return archive.read(folder + name)

    def storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        content = record(f"data/{key}")
        if len(content) != count * dtype.itemsize:
            raise pickle.UnpicklingError(f"its storage {key} has {len(content)} bytes, not {count} of {dtype}")
        return np.frombuffer(content, dtype)

    if folder + "byteorder" in names and record("byteorder") != b"little":
        raise pickle.UnpicklingError("it was written on a big-endian machine")
    content = record("data.pkl")
    return _unpickled(io.BytesIO(content), len(content), storage)


def _from_row(file: io.BufferedIOBase, size: int) -> Any:
    """The content of a file before torch 1.6: the numbers follow the pickle, so they are filled in last."""
    storages: dict[str, np.ndarray] = {}

    def storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        if key not in storages:
            if sum(known.nbytes for known in storages.values()) + count * dtype.itemsize > size:
                raise pickle.UnpicklingError(f"its storages are larger than its {size} bytes")
            storages[key] = np.zeros(count, dtype)
        if (storages[key].dtype, storages[key].size) != (dtype, count):
            raise pickle.UnpicklingError(f"its storage {key} has two sizes or types")
        return storages[key]

    def following() -> Any:
        return _unpickled(file, size, storage)

    if (following(), following()) != (_MAGIC, _VERSION):
        raise pickle.UnpicklingError("it does not begin with torch's magic number")
    if not following()["little_endian"]:
        raise pickle.UnpicklingError("it was written on a big-endian machine")
    content, keys = following(), following()
    if sorted(keys) != sorted(storages):
        raise pickle.UnpicklingError(f"it has the storages {keys} and refers to {sorted(storages)}")
    for key in keys:
        numbers = storages[key]
        if int.from_bytes(file.read(8), "little") != numbers.size or file.readinto(numbers.view("u1").data) != numbers.nbytes:
            raise pickle.UnpicklingError(f"its storage {key} is cut off, or not of {numbers.size} numbers")
    return content
