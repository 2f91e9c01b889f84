"""Zips and tars, on disk or within one another, whose files are read one by one where they lie."""

import io
import os
import struct
import tarfile
import threading
import weakref
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from jaxdiff.errors import InputError

MEMORY = 2**31
"""The bytes of archives that may be unpacked into memory because another archive holds them compressed."""

File: TypeAlias = io.BufferedReader | io.BytesIO
Opener: TypeAlias = Callable[[], File]
"""Opens a file for reading, anew at each call."""

_COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
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
    try:
        file = opener()
        try:
            opened = zipfile.ZipFile(file)
        except BaseException:
            file.close()
            raise
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{what} is not a readable zip file: {error}") from error
    weakref.finalize(opened, file.close)  # a ZipFile does not close a file that it was given
    lock = threading.Lock()  # a ZipFile has one file handle, and grain reads from several threads
    members = {each.filename: each for each in opened.infolist() if not each.is_dir()}
    packed = sum(
        each.file_size for name, each in members.items() if is_archive(name) and each.compress_type != zipfile.ZIP_STORED
    )

    def read(name: str) -> bytes:
        with lock:
            return opened.read(name)

    def inner(name: str) -> Opener:
        member = members[name]
        if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1:  # the flag says that it is encrypted
            return partial(_section, opener, _start(opener, member, what), member.file_size)
        if packed > MEMORY:
            raise InputError(
                f"{name} is compressed within {what}, and such archives take {packed:,} bytes of memory, more than {MEMORY:,}; "
                f"unpack {what}"
            )
        try:
            return partial(io.BytesIO, read(name))
        except (OSError, RuntimeError, zipfile.BadZipFile) as error:
            raise InputError(f"{name} of {what} cannot be read: {error}") from error

    return Archive(list(members), read, inner)


def _start(opener: Opener, member: zipfile.ZipInfo, what: str) -> int:
    """The place of a member's bytes: the extra field of its header may differ from that in the zip's directory."""
    with opener() as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size:
            raise InputError(f"{what} is not a readable zip file: it ends before {member.filename}")
        return member.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(header))


def _tar(opener: Opener, what: str) -> Archive:
    """A tar, read at the offsets of its members."""
    try:
        with opener() as file, tarfile.open(fileobj=file, mode="r:") as opened:
            # of files with the same name the last counts, as when unpacking
            places = {
                each.name.removeprefix("./"): (each.offset_data, each.size)
                for each in opened
                if each.isreg() and not each.issparse()
            }
            file.seek(opened.offset)
            # tarfile takes a tar that is cut off in or before a header for a shorter one
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"it has no end-of-archive block after {len(places)} files; it may be cut off")
            end = file.seek(0, os.SEEK_END)
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{what} is not a readable tar file: {error}") from error

    def inner(name: str) -> Opener:
        offset, size = places[name]
        return partial(_section, opener, offset, size)

    def read(name: str) -> bytes:
        offset, size = places[name]
        if offset + size > end:  # a lying header would otherwise reserve any amount of memory
            raise OSError("the archive ends within it")
        with opener() as file:
            file.seek(offset)
            return file.read(size)

    return Archive(list(places), read, inner)


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
