"""Timing in turn: every contestant once a round, so that what slows the machine for a while slows all of them."""

import math
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ROUNDS_AT_LEAST = 3  # once compiled, a contestant is timed this often even where the budget is used up


@dataclass(frozen=True)
class Contestant:
    """What is timed.

    Arguments:
        framework, mode: its name.
        prepare: builds it and gives `run(round)`, which returns when the work is done.
        limit: seconds that building, compiling and the first run may take; only Python can be interrupted so.
        memory: bytes that it held at the most since `forget`, None where that is not known.
        forget: begins the account of memory anew.
    """

    framework: str
    mode: str
    prepare: Callable[[], Callable[[int], Any]]
    limit: float = math.inf
    memory: Callable[[], int | None] = lambda: None
    forget: Callable[[], Any] = lambda: None

    @property
    def name(self) -> str:
        """Framework and mode."""
        return f"{self.framework}, {self.mode}"


@dataclass
class Timed:
    """What came of a contestant.

    Attributes:
        contestant: who.
        warm_up: seconds of building, compiling and the first run; None where it was not begun.
        seconds: of each round.
        memory: bytes at the most, of the second run on; None where not known.
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
    """Prepares the contestants, then times them in turn.

    A contestant that fails is told and left out. After the deadline none is prepared, and rounds end once there are
    `ROUNDS_AT_LEAST`.

    Arguments:
        contestants: the more important ones first.
        rounds: how often each is timed, at least 1.
        deadline: on `clock`.
        clock: seconds.
        advance: called with what was done, as of `console.terminal.progress`.
    """
    results, running = [], []
    for contestant in contestants:
        result = Timed(contestant)
        results.append(result)
        begun = clock()
        if begun >= deadline:
            result.failure = "left out: the budget was used up"
            advance(rounds + 1, contestant.name)
            continue
        try:
            with _at_most(min(contestant.limit, deadline - begun) if contestant.limit < math.inf else math.inf):
                run = contestant.prepare()
                run(0)
        except Exception as error:  # whatever a compiler raises is the contestant's own failure
            result.failure = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            advance(rounds + 1, contestant.name)
            continue
        result.warm_up = clock() - begun
        running.append((result, run))
        advance(1, contestant.name)
    for index in range(1, rounds + 1):
        if index > ROUNDS_AT_LEAST and clock() >= deadline:
            break
        for result, run in running:
            if index == 1:
                result.contestant.forget()
            begun = clock()
            run(index)
            result.seconds.append(clock() - begun)
            if index == 1:
                result.memory = result.contestant.memory()
            advance(1, result.contestant.name)
    return results


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
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
    """Median and quartiles (interpolated linearly)."""
    low, high = np.percentile(values, [25, 75])
    return {"median": statistics.median(values), "low": float(low), "high": float(high), "count": len(values)}


def ratio(reference: Sequence[float], own: Sequence[float]) -> dict[str, float]:
    """How many times faster than the reference, round by round: above 1 is faster."""
    return summary([before / after for before, after in zip(reference, own, strict=False)])


def best(results: Sequence[Timed], framework: str) -> Timed | None:
    """The contestant of a framework with the smallest median; None where none was timed."""
    timed = [result for result in results if result.contestant.framework == framework and result.seconds]
    return min(timed, key=lambda result: statistics.median(result.seconds), default=None)
