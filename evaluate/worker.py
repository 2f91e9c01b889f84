"""An object in its own process, whose settings, threads and memory are separate from the caller's.

The two processes send one another JSON, a line each way for each call, and arrays as files in a folder of theirs: what is
received is data, and names no code but the methods of the one object.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxdiff.errors import InputError

from .timing import RemoteError, error_line

_PATIENCE = 3.0  # seconds that a process has to end by itself
_ARRAY = "array in file"
"""The key of what stands for an array in a message."""
_ERRORS: dict[str, type[Exception]] = {"input": InputError, "other": RemoteError}


class Worker:
    """An object in another process; close it at the end, or use it in a `with` statement.

    Arguments and results are numbers, texts, booleans, None, NumPy arrays, and lists and dictionaries of these.

    Arguments:
        build: creates the object in that process; a function or class at the top level of a module.
        arguments: arguments of `build`.
        root: a folder with other versions of the caller's modules, this one among them, which are used there.
        environment: variables to set there.

    Raises:
        InputError, RemoteError: building failed; see `call`.
    """

    def __init__(
        self, build: Callable[..., Any], *arguments: Any, root: Path | None = None, environment: Mapping[str, str] | None = None
    ):
        self._folder = tempfile.TemporaryDirectory(prefix="jaxdiff-worker-")
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        command = [sys.executable, "-m", __name__, build.__module__, build.__qualname__]
        # modules are found there as they are here; those of another root before all that is installed
        path = str(root) if root else os.pathsep.join(each or os.getcwd() for each in sys.path)
        # an interrupt from the terminal reaches both processes, and the caller ends this one
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = subprocess.Popen(
                [*command, str(theirs_in), str(theirs_out), self._folder.name],
                pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, cwd=root,
                env={**os.environ, **(environment or {}), "PYTHONPATH": path},
            )  # fmt: skip
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(theirs_in)
            os.close(theirs_out)
        self._channel = _Channel(ours_in, ours_out, Path(self._folder.name), "caller")
        try:
            self._request("", *arguments)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    @property
    def identifier(self) -> int:
        """The identifier of the process."""
        return self._process.pid

    def call(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the object and returns its result, in which tuples are lists.

        Raises:
            InputError: raised by the method.
            RemoteError: the method raised another error, or the process has ended; the message is one line.
        """
        return self._request(method, *arguments)

    def close(self) -> None:
        """Ends the process within seconds, even if it is busy."""
        self._channel.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()
        self._folder.cleanup()

    def _request(self, method: str, *arguments: Any) -> Any:
        try:
            self._channel.send([method, arguments])
            error, value = self._channel.receive()
        except (EOFError, OSError):
            raise RemoteError(f"its process ended with exit code {self._process.wait()}") from None
        if error is not None:
            raise _ERRORS[error](value)
        return value


class _Channel:
    """One end of the pipes between two processes.

    Arguments:
        received, sent: the descriptors that it reads and writes.
        folder: where both ends put arrays.
        name: of this end, for the names of its files.
    """

    def __init__(self, received: int, sent: int, folder: Path, name: str):
        self._received: IO[str] = open(received, encoding="utf-8")  # noqa: SIM115 (until `close`)
        self._sent: IO[str] = open(sent, "w", encoding="utf-8")  # noqa: SIM115
        self._folder, self._name, self._arrays = folder, name, 0

    def send(self, message: Any) -> None:
        """Sends a message. Raises `OSError` if the other end is closed."""
        self._sent.write(json.dumps(self._packed(message)) + "\n")
        self._sent.flush()

    def receive(self) -> Any:
        """The next message. Raises `EOFError` if the other end is closed."""
        if not (line := self._received.readline()):
            raise EOFError
        return self._unpacked(json.loads(line))

    def close(self) -> None:
        """Closes this end."""
        self._received.close()
        with suppress(OSError):  # what was not read is lost
            self._sent.close()

    def _packed(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            name = f"{self._name}-{self._arrays}.npy"
            self._arrays += 1
            np.save(self._folder / name, value, allow_pickle=False)
            return {_ARRAY: name}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, Mapping):
            return {key: self._packed(item) for key, item in value.items()}
        return [self._packed(item) for item in value] if isinstance(value, list | tuple) else value

    def _unpacked(self, value: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {_ARRAY}:
            file = self._folder / value[_ARRAY]
            array = np.load(file, allow_pickle=False)
            file.unlink()
            return array
        if isinstance(value, dict):
            return {key: self._unpacked(item) for key, item in value.items()}
        return [self._unpacked(item) for item in value] if isinstance(value, list) else value


def _serve(build: Callable[..., Any], channel: _Channel) -> None:
    """Creates the object, at the first message, and calls its methods until the other end is closed."""
    target = None
    while True:
        try:
            method, arguments = channel.receive()
        except EOFError:
            return
        try:
            if target is None:
                target, value = build(*arguments), None
            else:
                value = getattr(target, method)(*arguments)
            reply = None, value
        except InputError as error:
            reply = "input", str(error)
        except Exception as error:
            reply = "other", error_line(error)
        try:
            channel.send(reply)
        except BrokenPipeError:  # nobody waits for it
            return


def _main(module: str, name: str, received: str, sent: str, folder: str) -> None:
    build = importlib.import_module(module)
    for part in name.split("."):
        build = getattr(build, part)
    _serve(build, _Channel(int(received), int(sent), Path(folder), "worker"))


if __name__ == "__main__":
    _main(*sys.argv[1:])
