"""An object in a process of its own: what one does to its process, its threads and its memory does not reach the other."""

import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

from jaxdiff.errors import InputError

from .timing import Failed, failure

_PATIENCE = 3.0  # seconds that a process is given to end of itself


class Worker:
    """An object that lives in another process; close it in the end, or use it in a `with` statement.

    Arguments:
        build: makes the object there, a function or class of a module.
        arguments: given to it; what they hold is copied.

    Raises:
        InputError, Failed: as `call`, of building.
    """

    def __init__(self, build: Callable[..., Any], *arguments: Any):
        # a fresh process: one that was forked may hold locks of threads that it has not
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()
        try:
            self._ask(build, arguments)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """What the object's method returns.

        Raises:
            InputError: the method did.
            Failed: it raised something else, or its process has ended; the message is one line.
        """
        return self._ask(method, arguments)

    def close(self) -> None:
        """Ends the process: within seconds, whatever it does."""
        self._connection.close()
        self._process.join(_PATIENCE)
        # does nothing where it has ended of itself
        self._process.terminate()
        self._process.join()

    def _ask(self, *message: Any) -> Any:
        try:
            self._connection.send(message)
            error, value = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise Failed(f"its process ended with exit code {self._process.exitcode}") from None
        if error is not None:
            raise error(value)
        return value


def _serve(connection: Any) -> None:
    # an interrupt from the terminal reaches both processes, and the other one ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target = None
    while True:
        try:
            asked, arguments = connection.recv()
        except EOFError:
            return
        try:
            if target is None:
                target, value = asked(*arguments), None
            else:
                value = getattr(target, asked)(*arguments)
            reply = None, value
        except InputError as error:
            reply = InputError, str(error)
        except Exception as error:  # of classes that the other process may not be able to build
            reply = Failed, failure(error)
        connection.send(reply)
