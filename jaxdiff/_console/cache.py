"""The cache on this machine: compiled programs, and decoded images of sets that are read again and again.

It is in $XDG_CACHE_HOME/jaxdiff, by default ~/.cache/jaxdiff, which its owner alone can read. What is too old or beyond its
size is removed. No run depends on it: what cannot be read is computed again, and what cannot be written is not kept.
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from jaxdiff.errors import InputError

KINDS = {"programs": "compiled programs", "images": "decoded images of --unsafe and --known-safe, and their latents"}
"""The kinds of cached files, each in a folder of its name."""
MOST = 4 * 2**30
"""Bytes of each kind; the least recently used files beyond are removed."""
DAYS = 30
"""Days after which a file that was not used is removed."""


@dataclass(frozen=True)
class Cached:
    """A cached file.

    Arguments:
        kind: one of `KINDS`.
        file: its path.
        size: its bytes.
        used: when it was last used, in seconds since 1970.
    """

    kind: str
    file: Path
    size: int
    used: float


def folder(kind: str) -> Path:
    """The folder of a kind of cached files."""
    return _root() / kind


def make_private(path: Path) -> None:
    """Creates a folder in the cache, which then only its owner can read. Raises `OSError` if that is not possible."""
    root = _root()
    root.mkdir(parents=True, exist_ok=True)
    if root.stat().st_mode & 0o077:
        root.chmod(0o700)
    path.mkdir(parents=True, exist_ok=True)


def files(kind: str) -> list[Cached]:
    """The cached files of a kind, the most recently used first."""
    found = []
    with suppress(OSError):
        # version 0.1.0 kept decoded images beside the folders of the kinds
        earlier = _root().glob("*.npy") if kind == "images" else ()
        for file in chain(folder(kind).rglob("*"), earlier):
            with suppress(OSError):  # another process may remove it
                if file.is_file():
                    stat = file.stat()
                    found.append(Cached(kind, file, stat.st_size, max(stat.st_atime, stat.st_mtime)))
    return sorted(found, key=lambda each: -each.used)


def remove(cached: Sequence[Cached]) -> tuple[int, int]:
    """Removes cached files, and returns the number and the bytes of those that were there.

    Raises:
        InputError: a file cannot be removed.
    """
    count = size = 0
    for each in cached:
        try:
            each.file.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"cannot remove {each.file}: {error.strerror or error}") from error
        count, size = count + 1, size + each.size
    for kind in KINDS:
        for path in sorted([folder(kind), *folder(kind).rglob("*")], reverse=True):
            with suppress(OSError):  # only empty folders are removed
                path.rmdir()
    return count, size


def trim(kind: str, most: int | None = None) -> None:
    """Removes the files of a kind that were not used for `DAYS` days, and the least recently used beyond `most` bytes."""
    most = MOST if most is None else most
    kept, oldest = 0, time.time() - DAYS * 24 * 3600
    for each in files(kind):
        kept += each.size
        if kept > most or each.used < oldest:
            with suppress(OSError):
                each.file.unlink(missing_ok=True)


def _root() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxdiff"
