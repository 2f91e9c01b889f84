"""One run in a folder at a time."""

import fcntl
import os
import platform
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

from jaxdiff.errors import InputError
from jaxdiff.writing import LOCK


def lock(folder: Path, activity: str, held: ExitStack, *, out: Path | None = None) -> None:
    """Locks a folder against other runs, until `held` is closed or this process ends in any way.

    The locked file in the folder, `LOCK`, names the process that holds the lock, which the kernel releases however that ends.
    Creates the folder if it is absent; one that is still empty in the end is removed again.

    Arguments:
        folder: the folder.
        activity: what another run would be doing, for the error: "being trained".
        held: the stack that holds the lock.
        out: what --out names, for errors; by default the folder.

    Raises:
        InputError: another run holds the lock, or the folder cannot be written.
    """
    out = out or folder
    try:
        created = [each for each in (folder, *folder.parents) if not each.exists()]
        opened = _locked(folder)
    except OSError as error:
        raise InputError(f"cannot write --out {out}: {error.strerror or error}") from error
    if isinstance(opened, str):
        by = f"another process{f' ({opened})' if opened else ''}"
        raise InputError(f"--out {out} is {activity} by {by}; wait for it or stop it")

    def release():
        # what cannot be removed does no harm: the lock ends with the open file
        with opened, suppress(OSError):
            (folder / LOCK).unlink()
        with suppress(OSError):
            for each in created:
                each.rmdir()

    held.callback(release)


def _locked(folder: Path) -> IO[str] | str:
    """The locked file, or who holds the lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            # opened for writing, which NFS requires for a lock
            opened = open(folder / LOCK, "a+")  # noqa: SIM115
        except FileNotFoundError:  # a run that ends has just removed the folder
            continue
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with opened:
                opened.seek(0)
                return opened.read()
        # a run that ends removes its file, whose lock then protects nothing
        if _is_at(opened, folder / LOCK):
            opened.truncate(0)
            opened.write(f"{os.getpid()} on {platform.node()}")
            opened.flush()
            return opened
        opened.close()


def _is_at(opened: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened.fileno()), path.stat())
    except FileNotFoundError:
        return False
