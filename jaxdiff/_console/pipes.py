"""Output that cannot be written: a pipe whose reader has gone, as of `| head`, a full disk, a closed terminal."""

import errno
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def surviving_output() -> Generator[None, None, None]:
    """Within, output that cannot be written is discarded instead of raising an error, so that the work goes on.

    Characters that the encoding of the output lacks are written as escapes.
    """
    _open_standard_streams()
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


def _open_standard_streams() -> None:
    """Opens streams that the caller has closed, so that no file that is opened later takes their place."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (until the process ends)


class _Output:
    """An output stream that discards what follows once it cannot be written."""

    def __init__(self, stream: Any):
        self._stream = stream

    def replace(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._attempt(lambda: self._stream.write(text))
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            self._attempt(lambda: self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding)))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            if error.errno != errno.EPIPE and self is sys.stdout:
                reason = error.strerror or error
                sys.stderr.write(f"standard output cannot be written, and is discarded from here on: {reason}\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
