"""The files of a data set by name, whether they lie in a folder or in archives."""

import os
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from jaxdiff.data.images import SUFFIXES
from jaxdiff.errors import InputError

_COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


@dataclass(frozen=True)
class Files:
    """Files by name.

    Attributes:
        where: the folder or archive in error messages.
        names: the paths of all files, relative to the folder or within the archive, with `/`, sorted.
        read_bytes: the bytes of a file by its name; thread-safe.
        prefix: the folder, with its `/`, in which all files of an archive lie and which `names` leave out; empty if none.
        archives: the paths without suffixes of a folder's archives, if there are several; names of their files start with them.
    """

    where: str
    names: Sequence[str]
    read_bytes: Callable[[str], bytes]
    prefix: str = ""
    archives: tuple[str, ...] = ()

    @cached_property
    def images(self) -> tuple[str, ...]:
        """The names of the image files."""
        return tuple(name for name in self.names if PurePosixPath(name).suffix.lower() in SUFFIXES)

    @cached_property
    def _present(self) -> frozenset[str]:
        return frozenset(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._present

    def named(self, *bases: str) -> list[str]:
        """The files with one of these base names, in any folder; capitals do not matter."""
        wanted = {base.lower() for base in bases}
        return [name for name in self.names if name.rpartition("/")[2].lower() in wanted]

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
    """The files of a folder, a zip or a tar; None if the path is none of them.

    Raises `InputError` if an archive is damaged, or is a compressed tar, whose files cannot be read one by one.
    """
    if path.is_dir():
        return _folder(path)
    return _archive(path) if path.is_file() and _is_archive(path.name) else None


def _is_archive(name: str) -> bool:
    return name.lower().endswith((".zip", ".tar", *_COMPRESSED_TARS))


def _archive(path: Path) -> Files:
    if path.name.lower().endswith(_COMPRESSED_TARS):
        raise InputError(f"{path} is a compressed tar, whose files cannot be read one by one; unpack it: tar -xf {path.name}")
    return _zip(path) if path.suffix.lower() == ".zip" else _tar(path)


def _folder(path: Path) -> Files:
    """The files of a folder at any depth; if there are archives and no images, the files of the archives too."""
    own = sorted(name for each in path.rglob("*") if each.is_file() and not _hidden(name := each.relative_to(path).as_posix()))
    files = Files(str(path), own, lambda name: (path / name).read_bytes())
    paths = [name for name in own if _is_archive(name)]
    if files.images or not paths:
        return files
    prefixes = ["" if len(paths) == 1 else str(PurePosixPath(name).with_suffix("")) + "/" for name in paths]
    if len(set(prefixes)) < len(prefixes):
        raise InputError(f"{path} contains archives whose names differ in the suffix only: {', '.join(paths)}")
    within: dict[str, tuple[Files, str]] = {name: (files, name) for name in own}
    opened = [_archive(path / name) for name in paths]
    for prefix, archive in zip(prefixes, opened, strict=True):
        # a file of the folder comes before one of the same name in an archive
        within = {prefix + each: (archive, each) for each in archive.names} | within

    def read(name: str) -> bytes:
        holder, inner = within[name]
        return holder.read_bytes(inner)

    archives = tuple(prefix[:-1] for prefix in prefixes if prefix)
    return Files(str(path), sorted(within), read, opened[0].prefix if len(opened) == 1 else "", archives)


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


def _tar(path: Path) -> Files:
    """The files of a tar, read at their offsets. A folder that contains all of them is no part of the names."""
    try:
        with tarfile.open(path, "r:") as opened:
            # of files with the same name the last counts, as when unpacking
            places = {
                each.name.removeprefix("./"): (each.offset_data, each.size)
                for each in opened
                if each.isreg() and not each.issparse() and not _hidden(each.name.removeprefix("./"))
            }
            end = opened.offset
        with path.open("rb") as file:
            file.seek(end)
            # tarfile takes a tar that is cut off in or before a header for a shorter one
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"it has no end-of-archive block after {len(places)} files; it may be cut off")
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path} is not a readable tar file: {error}") from error
    prefix = _common_folder(list(places))

    def read(name: str) -> bytes:
        offset, size = places[prefix + name]
        with path.open("rb") as file:
            # a lying header would otherwise reserve any amount of memory
            if offset + size > os.fstat(file.fileno()).st_size:
                raise OSError("the archive ends within it")
            file.seek(offset)
            return file.read(size)

    return Files(str(path), sorted(name.removeprefix(prefix) for name in places), read, prefix)


def _hidden(name: str) -> bool:
    # zips made on macOS contain a metadata file `__MACOSX/._NAME` for every file; caches and trash lie in folders `.NAME`
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in name.split("/"))


def _common_folder(names: Sequence[str]) -> str:
    """The folder, with its `/`, in which all names lie while the files beside it are none; empty if there is none."""
    first = {name.partition("/")[0] for name in names}
    return f"{first.pop()}/" if len(first) == 1 and all("/" in name for name in names) else ""
