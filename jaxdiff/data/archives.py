"""Zips and tars, on disk or within one another, whose files are read one by one where they lie.

Nothing is unpacked to the disk. Archives with paths that lead out of them, or with two files of one name, are refused all the
same: programs differ in what they take them for.
"""

import io
import os
import re
import struct
import tarfile
import threading
import weakref
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from jaxdiff.boundary import reading, require_size
from jaxdiff.errors import InputError

MEMORY = 2**31
"""The bytes of archives that may be unpacked into memory because another archive holds them compressed."""
MEMBERS = 10**7
"""The most files of an archive; each takes half a kilobyte of memory."""

File: TypeAlias = io.BufferedReader | io.BytesIO
Opener: TypeAlias = Callable[[], File]
"""Opens a file for reading, anew at each call."""

_COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ENCRYPTED = 1  # of the flags of a file in a zip
_OUTSIDE = re.compile(r"[/\\]|[A-Za-z]:[/\\]|(.*[/\\])?\.\.([/\\].*)?$", re.DOTALL)  # absolute, or with `..`
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a file in a zip, up to the lengths of its name and its extra field


@dataclass(frozen=True)
class Archive:
    """An opened archive.

    Attributes:
        names: the files in it.
        read: the bytes of a file by its name; thread-safe.
        opener: opens a file in it, which is itself an archive. Raises `InputError` if it is compressed and too large.
    """

    names: Sequence[str]
    read: Callable[[str], bytes]
    opener: Callable[[str], Opener]


def is_archive(name: str) -> bool:
    """Whether a file of this name is a zip or a tar."""
    return name.lower().endswith((".zip", ".tar", *_COMPRESSED_TARS))


def open_archive(opener: Opener, what: str) -> Archive:
    """Opens a zip or a tar.

    Arguments:
        opener: opens its file.
        what: its name in error messages; its suffix says which kind it is.

    Raises:
        InputError: the archive is damaged, or is a compressed tar, whose files cannot be read one by one.
    """
    if what.lower().endswith(_COMPRESSED_TARS):
        base = what.rpartition("/")[2]
        raise InputError(f"{what} is a compressed tar, whose files cannot be read one by one; unpack it: tar -xf {base}")
    return _zip(opener, what) if what.lower().endswith(".zip") else _tar(opener, what)


def _zip(opener: Opener, what: str) -> Archive:
    with reading(what):
        file = opener()
        try:
            opened = zipfile.ZipFile(file)
        except BaseException:
            file.close()
            raise
        weakref.finalize(opened, file.close)  # a ZipFile does not close a file that it was given
        whole = file.seek(0, os.SEEK_END)
    _require_names((each.filename for each in opened.infolist()), what)
    lock = threading.Lock()  # a ZipFile has one file handle, and grain reads from several threads
    members = {each.filename: each for each in opened.infolist() if not each.filename.endswith("/")}
    packed = sum(
        each.file_size for name, each in members.items() if is_archive(name) and each.compress_type != zipfile.ZIP_STORED
    )

    def read(name: str) -> bytes:
        member, place = members[name], f"{what}/{name}"
        if member.flag_bits & _ENCRYPTED:
            raise InputError(f"{place} is encrypted; unpack {what} with its password")
        if member.compress_type not in _METHODS:
            raise InputError(f"{place} is compressed by a method that is not read ({member.compress_type}); unpack {what}")
        # a member that lies about its packed bytes has at most those of the archive
        require_size(member.file_size, place, packed=min(member.compress_size, whole))
        with reading(place), lock:
            return opened.read(name)

    def inner(name: str) -> Opener:
        member = members[name]
        if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & _ENCRYPTED:
            return partial(_section, opener, _start(opener, member, what), member.file_size)
        if packed > MEMORY:
            raise InputError(
                f"{name} is compressed within {what}, and such archives take {packed:,} bytes of memory, more than {MEMORY:,}; "
                f"unpack {what}"
            )
        return partial(io.BytesIO, read(name))

    return Archive(list(members), read, inner)


def _require_names(names: Iterable[str], what: str) -> None:
    """Raises `InputError` unless an archive's files have distinct names that stay within it, and are not too many."""
    seen: set[str] = set()
    for name in names:
        if not name or _OUTSIDE.match(name):
            raise InputError(f"{what} has a file {name!r}, whose path leads out of the archive; pack it again without it")
        if name in seen:
            raise InputError(f"{what} has two files {name!r}; pack it again with one of them")
        seen.add(name)
        if len(seen) > MEMBERS:
            raise InputError(f"{what} has more than {MEMBERS:,} files; unpack it")


def _start(opener: Opener, member: zipfile.ZipInfo, what: str) -> int:
    """The place of a member's bytes: the extra field of its header may differ from that in the zip's directory."""
    with reading(what), opener() as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size:
            raise InputError(f"{what} is damaged: it ends before {member.filename}")
        return member.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(header))


def _tar(opener: Opener, what: str) -> Archive:
    """A tar, read at the offsets of its members."""
    with reading(what), opener() as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        held: Any = _Held(file, end)
        with tarfile.open(fileobj=held, mode="r:") as opened:
            members = [each for each in opened if not each.isdir()]
            file.seek(opened.offset)
            # tarfile takes a tar that is cut off in or before a header for a shorter one
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"it has no end-of-archive block after {len(members)} files; it may be cut off")
    names = [each.name.removeprefix("./") for each in members]
    _require_names(names, what)
    places = {
        name: (each.offset_data, each.size)
        for name, each in zip(names, members, strict=True)
        if each.isreg() and not each.issparse()
    }

    def inner(name: str) -> Opener:
        offset, size = places[name]
        return partial(_section, opener, offset, size)

    def read(name: str) -> bytes:
        offset, size = places[name]
        with reading(f"{what}/{name}"), opener() as file:
            if size < 0 or offset + size > end:  # a lying header would otherwise reserve any amount of memory
                raise InputError(f"{what}/{name} is damaged: the archive ends within it")
            require_size(size, f"{what}/{name}")
            file.seek(offset)
            return file.read(size)

    return Archive(list(places), read, inner)


class _Held:
    """A file for tarfile, which reads as many bytes at once as a header says, of those that there are."""

    def __init__(self, file: File, size: int):
        self._file, self._size = file, size
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int) -> bytes:
        return self._file.read(max(0, min(count, self._size - self.tell())))


def _section(opener: Opener, start: int, size: int) -> File:
    """Opens a part of a file as a file."""
    return io.BufferedReader(_Section(opener(), start, size))


class _Section(io.RawIOBase):
    """The `size` bytes of a file from `start`."""

    def __init__(self, file: File, start: int, size: int):
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
