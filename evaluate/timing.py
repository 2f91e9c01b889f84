"""Timing in turn: every contestant once a round, so that what slows the machine for a while slows all of them."""

import math
import signal
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

ROUNDS_AT_LEAST = 3  # once compiled, a contestant is timed this often even where the budget is used up

Run = Callable[[int], float | None]
"""Does the work of a round, by its number, and returns when it is done: the seconds of what it left out because it is known
to be like what it did, or None where it did all."""


def _unknown() -> None:
    return None


@dataclass(frozen=True)
class Contestant:
    """What is timed.

    Arguments:
        framework, mode: its name.
        prepare: builds it and runs it once, in at most so many seconds, and returns what does the work of a round.
        limit: seconds that this may take; only Python can be interrupted so.
        memory: bytes that it held at the most since `forget`, None where that is not known.
        forget: begins the account of memory anew.
        lane: contestants of one lane are prepared one after another, those of different lanes side by side.
    """

    framework: str
    mode: str
    prepare: Callable[[float], Run]
    limit: float = math.inf
    memory: Callable[[], int | None] = _unknown
    forget: Callable[[], Any] = _unknown
    lane: Hashable = None

    @property
    def name(self) -> str:
        """Framework and mode."""
        return f"{self.framework}, {self.mode}"


@dataclass
class Timed:
    """What came of a contestant.

    Attributes:
        contestant: who.
        warm_up: seconds of building, compiling and the first run; None where it came to no end.
        seconds: of each round.
        memory: bytes at the most in the first round; None where not known.
        failure: why there are no seconds, in a line.
    """

    contestant: Contestant
    warm_up: float | None = None
    seconds: list[float] = field(default_factory=list)
    memory: int | None = None
    failure: str | None = None


def race(
    contestants: Sequence[Contestant],
    rounds: int,
    *,
    deadline: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
    advance: Callable[..., Any] = lambda n=1, note="": None,
) -> list[Timed]:
    """Prepares the contestants, those of different lanes side by side, then times them in turn.

    A contestant that fails is told and left out. After the deadline none is prepared, and rounds end once there are
    `ROUNDS_AT_LEAST`.

    Arguments:
        contestants: the more important ones first.
        rounds: how often each is timed, at least 1.
        deadline: on `clock`.
        clock: seconds.
        advance: called with what was done, as of `console.terminal.progress`.
    """
    results = [Timed(contestant) for contestant in contestants]

    def prepared(lane: Hashable) -> list[tuple[int, Run]]:
        runs = []
        for index, result in enumerate(results):
            if result.contestant.lane == lane:
                if run := _prepared(result, deadline, clock):
                    runs.append((index, run))
                advance(1 if run else rounds + 1, result.contestant.name)
        return runs

    lanes = dict.fromkeys(contestant.lane for contestant in contestants)
    threads = ThreadPoolExecutor()
    try:
        # the thread that asks prepares what is one lane: only there can it be interrupted
        runs = sum((threads.map if len(lanes) > 1 else map)(prepared, lanes), [])
    finally:
        # who interrupts does not wait for compilers: their processes are ended by who began them
        threads.shutdown(wait=False, cancel_futures=True)
    running = [(results[index], run) for index, run in sorted(runs, key=itemgetter(0))]
    for index in range(1, rounds + 1):
        if index > ROUNDS_AT_LEAST and clock() >= deadline:
            break
        for result, run in running:
            if index == 1:
                result.contestant.forget()
            begun = clock()
            left_out = run(index)
            result.seconds.append(clock() - begun + (left_out or 0.0))
            if index == 1:
                result.memory = result.contestant.memory()
            advance(1, result.contestant.name)
    return results


def _prepared(result: Timed, deadline: float, clock: Callable[[], float]) -> Run | None:
    """What is to be timed, after its first run; None, and the failure told, where it came to no end."""
    begun = clock()
    if begun >= deadline:
        result.failure = "left out: the budget was used up"
        return None
    # what cannot be interrupted has no limit, and the deadline is none to it
    limit = result.contestant.limit
    try:
        run = result.contestant.prepare(min(limit, deadline - begun) if limit < math.inf else math.inf)
    except Exception as error:  # whatever a compiler raises is the contestant's own failure
        result.failure = failure(error)
        return None
    result.warm_up = clock() - begun
    return run


class Failed(Exception):
    """What went wrong in another process, in a line."""


def failure(error: Exception) -> str:
    """What went wrong, in a line."""
    if isinstance(error, Failed):
        return str(error)
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Ends what is inside by a TimeoutError after this many seconds."""
    if seconds == math.inf:
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(f"not ready within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles (interpolated linearly), and how many there are."""
    low, high = np.percentile(values, [25, 75])
    return {"median": statistics.median(values), "low": float(low), "high": float(high), "count": len(values)}


def ratio(reference: Sequence[float], own: Sequence[float]) -> dict[str, float]:
    """How many times faster than the reference, round by round: above 1 is faster."""
    return summary([before / after for before, after in zip(reference, own, strict=False)])


def best(results: Sequence[Timed], framework: str) -> Timed | None:
    """The contestant of a framework with the smallest median; None where none was timed."""
    timed = [result for result in results if result.contestant.framework == framework and result.seconds]
    return min(timed, key=lambda result: statistics.median(result.seconds), default=None)
