"""Output into a pipe whose reader is gone, as after `| head`."""

import os
import select
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO

_STATUS = 141  # what a shell reports of a program that SIGPIPE ended: 128 + 13


@contextmanager
def quiet_end() -> Generator[None, None, None]:
    """Ends the process without a traceback, with status 141, if nobody reads its output any more."""
    try:
        try:
            yield
        except SystemExit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # here, since Python prints a traceback if it fails at exit
    except BrokenPipeError:
        closed = [stream for stream in (sys.stdout, sys.stderr) if _closed(stream)]
        if not closed:
            raise
        # what is still buffered goes nowhere
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in closed:
            os.dup2(nowhere, stream.fileno())
        raise SystemExit(_STATUS) from None


def _closed(stream: TextIO) -> bool:
    """Whether a stream is a pipe without a reader."""
    poll = select.poll()
    poll.register(stream, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))
