"""Worker: an object in its own process, results, errors and shutdown."""

import os
import signal
import time
from multiprocessing import active_children

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

    def refuse(self) -> None:
        raise InputError("not that")

    def fail(self) -> None:
        raise UnbuildableError(1, 2)

    def sleep(self, seconds: float) -> None:
        with time_limit(seconds):
            time.sleep(60)

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class UnbuildableError(Exception):
    """An exception that cannot be unpickled."""

    def __init__(self, first, second):
        super().__init__("two parts\nand more")


@pytest.fixture(scope="module")
def counter():
    with Worker(Counter, 5) as worker:
        yield worker


def test_object_keeps_its_state_in_another_process(counter):
    assert [counter.call("add", 2), counter.call("add", 3)] == [7, 10]
    assert counter.call("process") != os.getpid()


def test_errors_are_raised_and_the_object_stays_usable(counter):
    with pytest.raises(InputError, match="^not that$"):
        counter.call("refuse")
    with pytest.raises(RemoteError, match="^UnbuildableError: two parts$"):
        counter.call("fail")
    with pytest.raises(RemoteError, match="^TimeoutError: not ready within 0 s$"):
        counter.call("sleep", 0.1)
    assert counter.call("process") != os.getpid()


def test_error_while_building():
    before = set(active_children())
    with pytest.raises(InputError, match="at least 0, got -1"):
        Worker(Counter, -1)
    assert set(active_children()) == before


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
            worker._connection.send(("sleep", (60.0,)))
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert time.perf_counter() - begun < 30
