"""One run in a folder at a time."""

import fcntl
from contextlib import ExitStack
from pathlib import Path

from jaxdiff.errors import InputError


def lock(file: Path, told: str, held: ExitStack) -> None:
    """Makes sure that no other run works in the folder of a file, until `held` is closed or this process ends, however it does.

    Arguments:
        file: a file of the folder that stays; it is not changed.
        told: what another run would be doing, for the error: "being trained".
        held: what holds the lock.

    Raises:
        InputError: another one does.
    """
    # open for writing, without which NFS gives no lock
    opened = held.enter_context(open(file, "r+"))  # noqa: SIM115
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"--out {file.parent} is {told} by another process; wait, or stop that") from error
