"""What is tried of each reader: damaged files are read right or refused with an `InputError` that names them, in bounded time
and memory."""

import ctypes
import re
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from jaxdiff.errors import InputError
from tests.fuzzing.damage import damaged

SECONDS = 60.0
"""The most seconds an input may take; a thousand times what a valid one takes, for a machine that is busy."""
MEMORY = 2**30
"""The most bytes that reading an input may add to the process."""


@dataclass(frozen=True)
class Target:
    """A reader that is tried.

    Attributes:
        write: writes valid files into a folder, the smallest that have every part, and returns what is read.
        read: reads it and checks that what it returns is well formed, by assertions.
        examples: four times as many as the damaged inputs that the tests try; `make fuzz` tries many more.
        files: a pattern of the files that are damaged.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    examples: int = 40
    files: str = "*"


@dataclass
class Tally:
    """What came of the inputs of a reader.

    Attributes:
        read: inputs that were read.
        refused: inputs that were refused.
        slowest: the most seconds an input took.
        peak: the most bytes an input added to the process.
    """

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    peak: int = 0


class TooLong(BaseException):
    """An input takes longer than `SECONDS`; no reader may catch it."""


def fuzz(target: Target, tally: Tally, *, examples: int, seed: int | None = None) -> None:
    """Tries a reader with damaged inputs.

    Arguments:
        target: the reader.
        tally: what came of the inputs is added to it.
        examples: how many inputs.
        seed: of the inputs; None takes the same at every call.

    Raises:
        AssertionError, or what the reader raised: it failed. The smallest damage that was found is in its notes.
    """
    folder = Path(tempfile.mkdtemp(prefix="jaxdiff-fuzzing-")).resolve()
    try:
        path = target.write(folder)
        target.read(path)  # what is damaged is valid
        files = [file for file in sorted(folder.rglob(target.files)) if file.is_file()]
        contents = {file: file.read_bytes() for file in files}

        @hypothesis.settings(
            max_examples=examples, derandomize=seed is None, database=None, deadline=None, report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        )  # fmt: skip
        @hypothesis.given(st.data())
        def one(data: st.DataObject) -> None:
            file = data.draw(st.sampled_from(files))
            hypothesis.note(f"damaged: {file.relative_to(folder)}")
            file.write_bytes(data.draw(_damaged(contents[file], file.name)).content)
            try:
                attempt(target.read, path, tally)
            finally:
                file.write_bytes(contents[file])

        (one if seed is None else hypothesis.seed(seed)(one))()
    finally:
        shutil.rmtree(folder)


def attempt(read: Callable[[Path], Any], path: Path, tally: Tally) -> None:
    """Reads a damaged input: it must be read, or be refused by an error with its name, within the bounds."""
    before, started = _reset_peak(), time.monotonic()
    try:
        with _time_limit(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("error")
            # of Pillow, which reads on: the pixels are whole where the data beside them are not
            warnings.filterwarnings("ignore", module=r"PIL\.")
            read(path)
    except InputError as error:
        assert path.name in str(error), f"the error does not name {path.name}: {error}"
        assert "\x00" not in str(error) and len(str(error)) < 5000, f"the error is no message: {str(error)[:200]!r}"
        cause: BaseException | None = error
        while cause is not None:
            # all files are small: memory that they do not need was asked for
            assert not isinstance(cause, MemoryError), f"memory ran out before the size was checked: {error}"
            assert not isinstance(cause, TypeCheckError), f"a wrong type was passed on: {cause}"
            cause = cause.__cause__ or cause.__context__
        tally.refused += 1
    else:
        tally.read += 1
    tally.slowest = max(tally.slowest, time.monotonic() - started)
    added = _peak() - before
    tally.peak = max(tally.peak, added)
    assert added <= MEMORY, f"reading took {added:,} bytes, more than {MEMORY:,}"


class _Content:
    """Drawn bytes, which are too long to print; the notes say how they came about."""

    def __init__(self, content: bytes):
        self.content = content

    def __repr__(self) -> str:
        return f"{len(self.content)} bytes"


@st.composite
def _damaged(draw: st.DrawFn, content: bytes, name: str) -> _Content:
    return _Content(draw(damaged(content, name)))


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooLong(f"reading takes longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _reset_peak() -> int:
    """Has the kernel forget the peak of the process's memory; returns the bytes it takes now, 0 where there is no /proc."""
    if not _CLEAR.exists():
        return 0
    with suppress(OSError, AttributeError):  # of glibc: freed memory that is kept would be used again unseen
        ctypes.CDLL(None).malloc_trim(0)
    _CLEAR.write_text("5")
    return _peak()


def _peak() -> int:
    """The peak of the process's memory, in bytes; 0 where there is no /proc."""
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text()) if _CLEAR.exists() else None
    return int(found[1]) * 1024 if found else 0
