"""Ctrl-C and SIGTERM: the first one ends a program in order, the second at once."""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
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
        self._stopped = threading.Event()
        self._received, self._sent = os.pipe()
        os.set_blocking(self._sent, False)
        # a signal that the caller ignores, as a shell does for its background jobs, stays ignored
        handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._receive) for number in handled}
        self._descriptor = signal.set_wakeup_fd(self._sent, warn_on_full_buffer=False)
        self._hook, sys.unraisablehook = sys.unraisablehook, self._repeat
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Handles the signals as before."""
        sys.unraisablehook = self._hook
        signal.set_wakeup_fd(self._descriptor)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._sent)
        self._thread.join()
        os.close(self._received)

    def _receive(self, number: int, _: Any) -> None:
        """Runs in the main thread, as soon as that runs Python."""
        if self.first is None:
            self.first = Interrupted(number)
        if not self.deferred:
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
            if _AGAIN in numbers:
                # once the main thread has left the callback
                time.sleep(0.05)
                self._expected += 1
                signal.pthread_kill(threading.main_thread().ident or 0, interrupts[0])
            if len(interrupts) > self._expected:
                os._exit(128 + interrupts[-1])
            if interrupts and not self.deferred:
                remaining, ended = GRACE, Interrupted(interrupts[0])
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{ended}\n".encode(errors="backslashreplace"))
        os._exit(ended.status)


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
