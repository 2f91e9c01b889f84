"""Where a program writes: tried before the work, and its own while it works."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from jaxdiff import parallel
from jaxdiff._console.interrupts import keeping
from jaxdiff._console.lock import lock
from jaxdiff.errors import InputError
from jaxdiff.writing import require_room

LEAST = 2**20
"""Bytes that every program needs."""
BESIDE = ".parts"
"""The suffix of the folder beside an output that holds its lock, and finished parts of it."""


@contextmanager
def claimed(
    out: Path, *, whole: bool = False, file: bool = False, activity: str = "being written", room: int = LEAST
) -> Generator[Path, None, None]:
    """Tries an output, before the work, and locks it against other runs. Every process calls it; for arguments see `claim`.

    Yields:
        The locked folder.

    Raises:
        InputError: in every process, see `claim`.
    """
    with ExitStack() as held:
        parallel.run_on_first(lambda: claim(out, held, whole=whole, file=file, activity=activity, room=room))
        with keeping(f"nothing was written to {out}" if whole else f"what is finished is kept in {out}"):
            yield locked_folder(out, whole or file)


def claim(
    out: Path,
    held: ExitStack,
    *,
    whole: bool = False,
    file: bool = False,
    activity: str = "being written",
    room: int = LEAST,
) -> None:
    """As `claimed`, in this process.

    Arguments:
        out: the output folder, created if absent; removed again if it is still empty in the end.
        held: the stack that holds the lock.
        whole: the output is written whole at the end, and the lock is beside it.
        file: as `whole`, of a file that is written in parts, which are kept beside it.
        activity: what another run would be doing, for its error.
        room: bytes that it takes, if known.

    Raises:
        InputError: another run works on it, it cannot be written, or its disk has too little space.
    """
    folder = locked_folder(out, whole or file)
    if file and out.is_dir():
        raise InputError(f"cannot write --out {out}: it is a folder, not a file")
    if not file and out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; it takes a folder")
    if folder != out:
        held.callback(remove_empty, folder)
    lock(folder, activity, held, out=out)
    require_room(folder, room, f"--out {out}")


def locked_folder(out: Path, beside: bool) -> Path:
    """The folder whose lock is that of an output: itself, or one beside it."""
    return out.with_name(out.name + BESIDE) if beside else out


def remove_empty(folder: Path) -> None:
    """Removes a folder if it is empty."""
    with suppress(OSError):
        folder.rmdir()
