"""An object in its own process, whose settings, threads and memory are separate from the caller's."""

import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

from jaxdiff.errors import InputError

from .timing import RemoteError, error_line

_PATIENCE = 3.0  # seconds that a process has to end by itself


class Worker:
    """An object in another process; close it at the end, or use it in a `with` statement.

    Arguments:
        build: creates the object in that process; a function or class at the top level of a module.
        arguments: arguments of `build`, which are copied.

    Raises:
        InputError, RemoteError: building failed; see `call`.
    """

    def __init__(self, build: Callable[..., Any], *arguments: Any):
        # spawned, since a forked process may hold locks of threads that it does not have
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        # an interrupt from the terminal reaches both processes, and the caller ends this one
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other.close()
        try:
            self._request(build, arguments)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the object and returns its result.

        Raises:
            InputError: raised by the method.
            RemoteError: the method raised another error, or the process has ended; the message is one line.
        """
        return self._request(method, arguments)

    def close(self) -> None:
        """Ends the process within seconds, even if it is busy."""
        self._connection.close()
        self._process.join(_PATIENCE)
        # does nothing if the process has ended
        self._process.terminate()
        self._process.join()

    def _request(self, *message: Any) -> Any:
        try:
            self._connection.send(message)
            error, value = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise RemoteError(f"its process ended with exit code {self._process.exitcode}") from None
        if error is not None:
            raise error(value)
        return value


def _serve(connection: Any) -> None:
    target = None
    while True:
        try:
            request, arguments = connection.recv()
        except EOFError:
            return
        try:
            if target is None:
                target, value = request(*arguments), None
            else:
                value = getattr(target, request)(*arguments)
            reply = None, value
        except InputError as error:
            reply = InputError, str(error)
        except Exception as error:  # the caller may not be able to unpickle its class
            reply = RemoteError, error_line(error)
        connection.send(reply)
