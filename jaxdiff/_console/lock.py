"""One run in a folder at a time."""

import fcntl
from contextlib import ExitStack
from pathlib import Path

from jaxdiff.errors import InputError


def lock(file: Path, activity: str, held: ExitStack) -> None:
    """Locks the folder of a file against other runs, until `held` is closed or this process ends in any way.

    Arguments:
        file: a permanent file in the folder; it is not changed.
        activity: what another run would be doing, for the error: "being trained".
        held: the stack that holds the lock.

    Raises:
        InputError: another run holds the lock.
    """
    # opened for writing, which NFS requires for a lock
    opened = held.enter_context(open(file, "r+"))  # noqa: SIM115
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"--out {file.parent} is {activity} by another process; wait for it or stop it") from error
