"""The files of a data set by name, whether they lie in a folder or in archives."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path, PurePosixPath

from jaxdiff.boundary import read_bytes, reading, require_regular
from jaxdiff.data.archives import Opener, is_archive, open_archive
from jaxdiff.data.images import SUFFIXES
from jaxdiff.errors import InputError

DEPTH = 2
"""How deep archives are looked for in archives: a zip of zips is read."""
_UNREADABLE = (".7z", ".rar", ".7z.001", ".zip.001", ".z01", ".gz", ".tgz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class Files:
    """Files by name.

    Attributes:
        where: the folder or archive in error messages.
        names: the paths of all files, relative to the folder or within the archive, with `/`, sorted.
        read_bytes: the bytes of a file by its name; thread-safe.
        prefix: the folder, with its `/`, in which all files of an archive lie and which `names` leave out; empty if none.
        archives: the paths without suffixes of the archives that hold the files, if there are several; names of their files
            start with them.
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

    @property
    def no_images(self) -> str:
        """For error messages of a data set without images: what there is instead."""
        packed = [name for name in self.names if name.lower().endswith(_UNREADABLE)]
        if packed:
            return f"contains no image files; unpack {packed[0]} first, which cannot be read as it is"
        such = f", only {len(self.names)} files such as {self.names[0]}" if self.names else ""
        return f"contains no image files{such}"

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
        with reading(f"{self.where}/{name}"):
            return self.read_bytes(name)


def plain(path: str) -> str:
    """A path with `/` where Windows programs write backslashes, and without `./` or doubled separators."""
    return str(PurePosixPath(path.replace("\\", "/")))


def walk(folder: Path, *, links: bool = False) -> Iterator[str]:
    """The paths of all files in a folder that are not hidden, relative to it, with `/`, sorted in each folder.

    Arguments:
        folder: the folder, or a link to it.
        links: whether links in it that lead out of it are followed, except in a circle; links within it always are.

    Raises:
        InputError: a folder cannot be listed, a link leads out of the folder, or a file is a pipe, a socket or a device.
    """
    root = os.path.realpath(folder)
    return _walk(str(folder), "", frozenset(), None if links else root)


def _walk(folder: str, within: str, above: frozenset[str], root: str | None) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:
        return
    with reading(f"folder {folder}"):
        entries = sorted(os.scandir(folder), key=lambda each: each.name)
    for entry in entries:
        if _hidden(entry.name):
            continue
        if root is not None and entry.is_symlink():
            _require_within(entry.path, root)
        if entry.is_dir():
            yield from _walk(entry.path, f"{within}{entry.name}/", above | {real}, root)
        elif entry.is_file():
            yield within + entry.name
        elif os.path.exists(entry.path):  # a link that leads nowhere is no file
            kind = _SPECIAL.get(stat.S_IFMT(os.stat(entry.path).st_mode), "a special file")
            raise InputError(f"{entry.path} is {kind}, which is not read; remove it from the data")


_SPECIAL = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def _require_within(link: str, root: str) -> None:
    """Raises `InputError` if a link in a folder leads out of it, to whatever else its user can read."""
    target = os.path.realpath(link)
    if os.path.exists(target) and os.path.commonpath((root, target)) != root:
        raise InputError(
            f"{link} is a link that leads out of the data to {target}; --follow-links (`links` in Python) reads what is there"
        )


def state(path: Path, *, apart: Path | None = None, links: bool = False) -> str:
    """A hash of a path and of the names, sizes and times of the file there, or of the files in the folder, to notice changes.

    Arguments:
        path: a file or folder, which may be absent.
        apart: a folder whose files do not count.
        links: see `walk`.
    """
    lines = [str(path.resolve())]
    for name in walk(path, links=links) if path.is_dir() else ("",) if path.is_file() else ():
        file = path / name
        if apart is None or not file.is_relative_to(apart):
            stat = file.stat()
            lines.append(f"{name}:{stat.st_size}:{stat.st_mtime_ns}")
    return hashlib.blake2b("\n".join(lines).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def digest(path: Path, *, links: bool = False) -> str:
    """A hash of the name and content of a file, or of the names and contents of the files in a folder.

    Arguments:
        path: the file or folder.
        links: see `walk`.

    Raises:
        InputError: a file cannot be read.
    """
    found = hashlib.blake2b(digest_size=16)
    for name in walk(path, links=links) if path.is_dir() else ("",):
        file = path / name
        require_regular(file)
        with reading(file), open(file, "rb") as opened:
            content = hashlib.file_digest(opened, "blake2b").digest()
        found.update((name or path.name).encode(errors="surrogateescape") + b"\0" + content)
    return found.hexdigest()


def open_files(path: Path, *, links: bool = False) -> Files | None:
    """The files of a folder, a zip or a tar; None if the path is none of them.

    If there are archives among them and no images, the files of the archives too: publishers pack images apart from tables,
    and servers pack several downloads into one. Of an archive whose files all lie in one folder, names are relative to it, so
    a zipped folder reads as the folder.

    Arguments:
        path: a path.
        links: see `walk`.

    Raises:
        InputError: an archive is damaged, or is a compressed tar, whose files cannot be read one by one; or see `walk`.
    """
    if path.is_dir():
        names = sorted(walk(path, links=links))
        files = Files(str(path), names, lambda name: read_bytes(path / name))
        return _with_archives(files, lambda name: partial((path / name).open, "rb"), DEPTH)
    if path.is_file() and is_archive(path.name):
        return _of_archive(partial(path.open, "rb"), str(path), DEPTH - 1)
    return None


def _of_archive(opener: Opener, where: str, depth: int) -> Files:
    """The files of an archive, and of archives in it."""
    archive = open_archive(opener, where)
    members = [name for name in archive.names if not _hidden(name)]
    prefix = _common_folder(members)
    names = sorted(name.removeprefix(prefix) for name in members)
    files = Files(where, names, lambda name: archive.read(prefix + name), prefix)
    return _with_archives(files, lambda name: archive.opener(prefix + name), depth)


def _with_archives(files: Files, opener: Callable[[str], Opener], depth: int) -> Files:
    """These files, and those of the archives among them if there are no images; `opener` opens one by its name."""
    paths = [name for name in files.names if is_archive(name)]
    if files.images or not paths or not depth:
        return files
    prefixes = ["" if len(paths) == 1 else str(PurePosixPath(name).with_suffix("")) + "/" for name in paths]
    if len(set(prefixes)) < len(prefixes):
        raise InputError(f"{files.where} contains archives whose names differ in the suffix only: {', '.join(paths)}")
    opened = [_of_archive(opener(name), f"{files.where}/{name}", depth - 1) for name in paths]
    within: dict[str, tuple[Files, str]] = {name: (files, name) for name in files.names}
    for prefix, archive in zip(prefixes, opened, strict=True):
        for each in archive.names:
            # a file outside comes before one of the same name in an archive
            within.setdefault(prefix + each, (archive, each))

    def read(name: str) -> bytes:
        holder, inner = within[name]
        return holder.read_bytes(inner)

    if len(opened) == 1:
        return replace(
            opened[0], where=files.where, names=sorted(within), read_bytes=read, prefix=opened[0].prefix or files.prefix
        )
    archives = tuple(
        prefix + inner for prefix, archive in zip(prefixes, opened, strict=True) for inner in archive.archives or ("",)
    )
    return replace(files, names=sorted(within), read_bytes=read, archives=tuple(each.removesuffix("/") for each in archives))


def _hidden(name: str) -> bool:
    # zips made on macOS contain a metadata file `__MACOSX/._NAME` for every file; caches and trash lie in folders `.NAME`
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in name.split("/"))


def _common_folder(names: Sequence[str]) -> str:
    """The folder, with its `/`, in which all names lie while the files beside it are none; empty if there is none."""
    first = {name.partition("/")[0] for name in names}
    return f"{first.pop()}/" if len(first) == 1 and all("/" in name for name in names) else ""
