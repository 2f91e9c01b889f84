"""Output into a pipe whose reader may go away, as `| head` does."""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def surviving_output() -> Generator[None, None, None]:
    """Within, output that nobody reads any more is discarded instead of raising `BrokenPipeError`, so that the work goes on."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_Output, streams)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams


def replace_standard_error(stream: Any) -> None:
    """Makes Python print errors and progress to another stream from now on."""
    if isinstance(sys.stderr, _Output):
        sys.stderr.replace(stream)
    else:
        sys.stderr = stream


class _Output:
    """An output stream that discards what follows once its reader is gone."""

    def __init__(self, stream: Any):
        self._stream = stream

    def replace(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
