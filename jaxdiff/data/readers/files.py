"""The files of a data set by name, whether they lie in a folder or in an archive."""

import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from jaxdiff.data.images import SUFFIXES
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class Files:
    """Files by name.

    Attributes:
        where: the folder or archive in error messages.
        names: the paths of all files, relative to the folder or within the archive, with `/`, sorted.
        read_bytes: the bytes of a file by its name; thread-safe.
        prefix: the folder, with its `/`, in which all files of an archive lie and which `names` leave out; empty if none.
    """

    where: str
    names: Sequence[str]
    read_bytes: Callable[[str], bytes]
    prefix: str = ""

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The names of the image files."""
        return tuple(name for name in self.names if PurePosixPath(name).suffix.lower() in SUFFIXES)

    @cached_property
    def _present(self) -> frozenset[str]:
        return frozenset(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._present

    def find(self, path: str, *, beside: str = "") -> str | None:
        """The name of the file that a table calls by this path; None if there is none.

        Arguments:
            path: relative to the folder, the root of the archive, or the table's own folder; see `plain`.
            beside: the name of the table.
        """
        path = plain(path)
        near = plain(f"{PurePosixPath(beside).parent}/{path}")
        candidates = (path, path.removeprefix(self.prefix), near)
        return next((name for name in candidates if name in self), None)

    def read(self, name: str) -> bytes:
        """The bytes of a file. Raises `InputError` naming it if it cannot be read."""
        try:
            return self.read_bytes(name)
        except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # RuntimeError: the zip is encrypted
            raise InputError(f"{name} of {self.where} cannot be read: {error}") from error


def plain(path: str) -> str:
    """A path with `/` where Windows programs write backslashes, and without `./` or doubled separators."""
    return str(PurePosixPath(path.replace("\\", "/")))


def open_files(path: Path) -> Files | None:
    """The files of a folder or a zip; None if the path is neither. Raises `InputError` if a zip is damaged."""
    if path.is_dir():
        return _folder(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        return _zip(path)
    return None


def _folder(path: Path) -> Files:
    """The files of a folder at any depth; if it holds one zip and no images, the files of both."""
    found = (each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())
    own = sorted(name for name in found if not _hidden(name))
    files = Files(str(path), own, lambda name: (path / name).read_bytes())
    zips = [name for name in own if name.lower().endswith(".zip") and "/" not in name]
    if files.images or len(zips) != 1:
        return files
    archive = _zip(path / zips[0])
    beside = frozenset(own)
    names = sorted(beside.union(archive.names))

    def read(name: str) -> bytes:
        return files.read_bytes(name) if name in beside else archive.read_bytes(name)

    return Files(str(path), names, read, archive.prefix)


def _zip(path: Path) -> Files:
    """The files of a zip. If all lie in one folder, names are relative to it, so a zipped folder reads as the folder."""
    try:
        opened = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a readable zip file: {error}") from error
    lock = threading.Lock()  # a ZipFile has one file handle, and grain reads from several threads
    members = [each for each in opened.namelist() if not each.endswith("/") and not _hidden(each)]
    prefix = _common_folder(members)

    def read(name: str) -> bytes:
        with lock:
            return opened.read(prefix + name)

    return Files(str(path), sorted(name.removeprefix(prefix) for name in members), read, prefix)


def _hidden(name: str) -> bool:
    # macOS writes a metadata file `._NAME` for every file, in zips within `__MACOSX`
    return name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith("._")


def _common_folder(names: Sequence[str]) -> str:
    """The folder, with its `/`, in which all names lie while the files beside it are none; empty if there is none."""
    first = {name.partition("/")[0] for name in names}
    return f"{first.pop()}/" if len(first) == 1 and all("/" in name for name in names) else ""
