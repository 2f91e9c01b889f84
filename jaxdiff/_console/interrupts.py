"""Ctrl-C and SIGTERM: the first one ends a program in order, the second at once."""

import os
import select
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE = 10.0
"""Seconds after which an interrupted program is ended within a computation that Python cannot leave."""


_AGAIN = 0  # no signal has this number


class Interrupted(KeyboardInterrupt):
    """The first interrupt of a program; its text says what is kept, and how to go on.

    Arguments:
        number: the signal.
    """

    def __init__(self, number: int):
        kept = _kept[0] if _kept else "nothing was written"
        super().__init__(f"interrupted: {kept}; run the same command again to go on")
        self.status = 128 + number


_kept: list[str] = []


@contextmanager
def keeping(words: str) -> Generator[None, None, None]:
    """Within, an interrupt says with these words what is kept: those of the outermost `keeping`."""
    _kept.append(words)
    try:
        yield
    finally:
        _kept.remove(words)


class Interrupts:
    """The interrupts of this process, while `watched`.

    Attributes:
        first: the first one, if there was any.
        deferred: whether it is only noted, for work that ends by itself.
    """

    def __init__(self) -> None:
        self.first: Interrupted | None = None
        self.deferred = False
        self._expected = 1  # interrupts that do not end the process
        self._closing = threading.Event()
        self._received, self._sent = os.pipe()
        os.set_blocking(self._sent, False)
        self._descriptor = signal.set_wakeup_fd(self._sent, warn_on_full_buffer=False)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._repeat
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        # last, since an interrupt is raised from here on
        self._before = {number: signal.signal(number, self._receive) for number in _not_ignored()}

    def close(self) -> None:
        """Handles the signals as before; after a program, those that came before it end the process at once."""
        self._closing.set()
        sys.unraisablehook = self._hook
        signal.set_wakeup_fd(self._descriptor)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is _end else handler)
        os.close(self._sent)
        self._thread.join()
        os.close(self._received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Runs in the main thread, as soon as that runs Python."""
        if self.first is None:
            self.first = Interrupted(number)
        if self.deferred:
            return
        if _importing(frame):
            os.write(self._sent, bytes([_AGAIN]))
        else:
            raise self.first

    def _repeat(self, unraisable: Any) -> None:
        """Raises an interrupt again that came where no exception can leave, as in a callback of the garbage collector."""
        if isinstance(unraisable.exc_value, Interrupted):
            os.write(self._sent, bytes([_AGAIN]))
        else:
            self._hook(unraisable)

    def _watch(self) -> None:
        """Runs in a thread of its own, since the main thread may be within a long computation."""
        interrupts, remaining = [], None
        while select.select([self._received], [], [], remaining)[0]:
            numbers = os.read(self._received, 64)
            if not numbers:
                return
            interrupts += [number for number in numbers if number in SIGNALS]
            # once the main thread has left the callback or the import
            if _AGAIN in numbers and not self._closing.wait(0.05):
                self._expected += 1
                signal.pthread_kill(threading.main_thread().ident or 0, interrupts[0])
            if len(interrupts) > self._expected:
                os._exit(128 + interrupts[-1])
            if interrupts and not self.deferred:
                remaining, ended = GRACE, Interrupted(interrupts[0])
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{ended}\n".encode(errors="backslashreplace"))
        os._exit(ended.status)


def end_while_importing() -> None:
    """From now on, until the program is `watched`, an interrupt ends the process with a line: nothing has begun."""
    for number in _not_ignored():
        signal.signal(number, _end)


def _end(number: int, _: Any) -> None:
    ended = Interrupted(number)
    with suppress(OSError):
        os.write(2, f"{ended}\n".encode())
    os._exit(ended.status)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported: an exception there may crash a library that is half set up."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _not_ignored() -> list[signal.Signals]:
    """The signals that the caller does not ignore, as a shell does for its background jobs."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


_watched: list[Interrupts] = []


@contextmanager
def watched() -> Generator[Interrupts | None, None, None]:
    """Within, the first interrupt raises `Interrupted` in the main thread, and a second one ends the process at once.

    Does nothing within itself; and in other threads, where signals cannot be handled, yields None.
    """
    if _watched or threading.current_thread() is not threading.main_thread():
        yield _watched[0] if _watched else None
        return
    _watched.append(Interrupts())
    try:
        yield _watched[0]
    finally:
        _watched.pop().close()


@contextmanager
def deferred() -> Generator[Interrupts, None, None]:
    """Within, the first interrupt is only noted, in `first`: the work looks at it, saves and ends. In the main thread."""
    with watched() as interrupts:
        assert interrupts is not None
        interrupts.deferred = True
        try:
            yield interrupts
        finally:
            interrupts.deferred = False


def end_at_once() -> None:
    """From now on an interrupt ends the process at once, without a word: it has nothing left to do."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
