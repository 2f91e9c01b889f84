"""Worker: an object in its own process, results, errors and shutdown."""

import math
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from evaluate.timing import RemoteError, time_limit
from evaluate.worker import Worker
from jaxdiff.errors import InputError


class Counter:
    """The object in the other process."""

    def __init__(self, start: int):
        if start < 0:
            raise InputError(f"start must be at least 0, got {start}")
        self.count = start

    def add(self, number: int) -> int:
        self.count += number
        return self.count

    def process(self) -> int:
        return os.getpid()

    def echo(self, value):
        print("a library prints")
        return value

    def refuse(self) -> None:
        raise InputError("not that")

    def fail(self) -> None:
        raise OwnError

    def sleep(self, seconds: float) -> None:
        with time_limit(seconds):
            time.sleep(60)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class OwnError(Exception):
    """An exception that the caller does not know, of two lines."""

    def __init__(self):
        super().__init__("two parts\nand more")


@pytest.fixture(scope="module")
def counter():
    with Worker(Counter, 5) as worker:
        yield worker


def test_object_keeps_its_state_in_another_process(counter):
    assert [counter.call("add", 2), counter.call("add", 3)] == [7, 10]
    assert counter.call("process") != os.getpid()


@pytest.mark.parametrize(
    "value",
    [None, True, 3, -math.inf, "é\n", [1, [2.5, "x"]], {"a": {"b": [None]}}, np.arange(6, dtype=np.float32).reshape(2, 3)],
)
def test_values_and_arrays_arrive_as_they_were_sent(counter, value):
    got = counter.call("echo", value)
    assert type(got) is type(value)
    np.testing.assert_array_equal(got, value, strict=True) if isinstance(value, np.ndarray) else None
    assert isinstance(value, np.ndarray) or got == value


def test_arrays_within_values_arrive_and_no_file_is_left(counter):
    state = {"a": np.ones((2, 0)), "b": [np.array(3, np.int64), np.float32(0.5)]}
    got = counter.call("echo", [state, (1, 2)])
    assert got[0]["a"].shape == (2, 0) and got[0]["b"][0].dtype == np.int64 and got[0]["b"][1] == 0.5 and got[1] == [1, 2]
    assert not os.listdir(counter._folder.name)


def test_objects_are_not_sent(counter):
    with pytest.raises(ValueError, match="allow_pickle"):
        counter.call("echo", np.array([object()]))
    with pytest.raises(TypeError, match="not JSON serializable"):
        counter.call("echo", object())
    assert counter.call("echo", 1) == 1


def test_errors_are_raised_and_the_object_stays_usable(counter):
    with pytest.raises(InputError, match="^not that$"):
        counter.call("refuse")
    with pytest.raises(RemoteError, match="^OwnError: two parts$"):
        counter.call("fail")
    with pytest.raises(RemoteError, match="^TimeoutError: not ready within 0 s$"):
        counter.call("sleep", 0.1)
    assert counter.call("process") != os.getpid()


def test_error_while_building(monkeypatch):
    started, start = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **how: started.append(start(*given, **how)) or started[-1])
    with pytest.raises(InputError, match="at least 0, got -1"):
        Worker(Counter, -1)
    (process,) = started
    assert process.returncode is not None


def test_end_of_the_process_is_an_error():
    with Worker(Counter, 0) as worker:
        for _ in range(2):
            with pytest.raises(RemoteError, match="its process ended with exit code -9"):
                worker.call("die")


@pytest.mark.parametrize("busy", [False, True])
def test_close_ends_the_process_even_if_busy(busy):
    begun = time.perf_counter()
    with Worker(Counter, 0) as worker:
        process = worker.call("process")
        if busy:
            worker._channel.send(["sleep", [60.0]])
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert time.perf_counter() - begun < 30


def test_a_call_that_nobody_waits_for_ends_without_a_word(capfd):
    with Worker(Counter, 0) as worker:
        worker._channel.send(["pause", [0.5]])
    assert worker._process.returncode == 0 and capfd.readouterr().err == ""
