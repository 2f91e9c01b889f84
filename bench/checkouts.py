"""Commits checked out into a temporary folder, of which nothing is left."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jaxdiff.errors import InputError

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


def resolved(repository: Path, commit: str, option: str) -> str:
    """The full hash of a commit. Raises `InputError`, which names the option, if there is none."""
    try:
        return _git(repository, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").strip()
    except InputError:
        raise InputError(f"{option} takes a commit of {repository}, got {commit!r}") from None


@contextmanager
def checkouts(repository: Path, commits: Sequence[str]) -> Generator[list[Path], None, None]:
    """Checks commits out, each into a folder of its own; at the end, and after an interrupt, they are removed.

    Yields:
        The folders.
    """
    folder = Path(tempfile.mkdtemp(prefix="jaxdiff-checkouts-"))
    paths = [folder / str(index) for index in range(len(commits))]
    try:
        for path, commit in zip(paths, commits, strict=True):
            _git(repository, "worktree", "add", "--quiet", "--detach", str(path), commit)
        yield paths
    finally:
        # a second interrupt must not end this; threads of libraries would take one that this thread alone blocks
        before = {each: signal.signal(each, signal.SIG_IGN) for each in _INTERRUPTS}
        try:
            shutil.rmtree(folder, ignore_errors=True)
            for path in paths:
                # of a folder that is gone git forgets the rest; twice, since an interrupted `add` leaves it locked
                _run(repository, "worktree", "remove", "--force", "--force", str(path))
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _git(repository: Path, *arguments: str) -> str:
    done = _run(repository, *arguments)
    if done.returncode:
        raise InputError(f"`git {arguments[0]}` in {repository} failed: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _run(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # hooks of the user are for the user's own checkouts
    command = ["git", "-C", str(repository), "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InputError("commits are checked out by git, which is not installed") from None
