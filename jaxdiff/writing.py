"""Files and folders that are written whole or not at all."""

import hashlib
import os
import re
import shutil
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from safetensors import SafetensorError

from jaxdiff.errors import InputError

PARTIAL = ".partial"
"""The suffix of what is being written. A killed run leaves it behind, and the next run replaces it."""

LOCK = ".lock"
"""The file by which a program locks a folder that it writes."""


@contextmanager
def whole(path: str | os.PathLike, *, folder: bool = False, private: bool = False) -> Generator[Path, None, None]:
    """A temporary path beside a file, at which the file is written; it replaces the file at the end, and is removed on failure.

    The content reaches the disk before the name does, so that a crash of the machine leaves the old file or the new one. What
    an earlier run left at the temporary path is removed first. Two processes must not write one file at a time, unless it is
    `private`.

    Arguments:
        path: the file; its folder is created if absent.
        folder: writes a folder instead, which replaces an empty folder or none: the temporary path is a new folder.
        private: a file that the owner alone can read, with a temporary path for each process: of a cache.

    Yields:
        The temporary path.

    Raises:
        InputError: the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}{f'.{os.getpid()}' if private else ''}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(partial)
        if folder:
            partial.mkdir()
        elif private:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield partial
        for each in sorted(partial.rglob("*")) if folder else ():
            _sync(each)
        _sync(partial)
        os.replace(partial, path)
        _sync(path.parent)
    except BaseException as error:
        with suppress(OSError):
            remove(partial)
        if not isinstance(error, OSError | SafetensorError):
            raise
        raise unwritable(path, error) from error


def file_name(text: str, most: int = 100) -> str:
    """A text as part of a file name: with `%` and the code for what a path or a file system gives a meaning, and cut to `most`
    bytes, which a checksum then ends."""
    name = re.sub(r"[\x00-\x1f\x7f/\\:*?\"<>|%\ud800-\udfff]", lambda found: f"%{ord(found[0]):02X}", text)
    if len(encoded := name.encode()) <= most:
        return name
    return (
        encoded[: most - 9].decode(errors="ignore") + "-" + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    )


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8, see `whole`."""
    with whole(path) as partial:
        # the name of a file may have bytes that are no text
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def other_files(folder: Path, *files: str) -> list[str]:
    """The names in a folder other than these, and than what a run leaves that is killed while it writes them."""
    own = {LOCK, *files, *(f"{file}{PARTIAL}" for file in files)}
    return sorted(each.name for each in folder.iterdir() if each.name not in own) if folder.exists() else []


def require_room(folder: Path, size: int, what: str, kept: str = "") -> None:
    """Raises `InputError` if the disk of a folder has less free space than `size` bytes, which `what` takes."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(f"{what} takes {size} bytes, {folder} has {free} free{f'; {kept}' if kept else ''}")


def remove(path: Path) -> None:
    """Removes a file, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def unwritable(path: Path, error: Exception) -> InputError:
    """The `InputError` for a file that cannot be written: its name and the reason."""
    return InputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}")


def _sync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk; folders only where the file system can."""
    opened = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError) if path.is_dir() else nullcontext():
            os.fsync(opened)
    finally:
        os.close(opened)
