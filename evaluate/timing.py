"""Alternating timing: every benchmark runs once per round, so that temporary slowdowns of the machine affect all of them."""

import math
import signal
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

MIN_ROUNDS = 3  # a prepared benchmark is timed at least this often, even after the deadline

Run = Callable[[int], float | None]
"""Runs one round, given its number; returns the estimated seconds of the steps that it skipped, or None if it skipped none."""


def _unknown() -> None:
    return None


@dataclass(frozen=True)
class Benchmark:
    """What is timed.

    Arguments:
        framework, mode: parts of its name.
        prepare: builds it and runs it once, within the given number of seconds; returns the function that runs a round.
        limit: time limit of `prepare` in seconds; only Python code can be interrupted.
        memory: returns the peak memory in bytes since the last reset; None if unknown.
        reset_memory: resets the peak memory.
        group: benchmarks of one group are prepared in sequence, those of different groups concurrently.
    """

    framework: str
    mode: str
    prepare: Callable[[float], Run]
    limit: float = math.inf
    memory: Callable[[], int | None] = _unknown
    reset_memory: Callable[[], Any] = _unknown
    group: Hashable = None

    @property
    def name(self) -> str:
        """Framework and mode."""
        return f"{self.framework}, {self.mode}"


@dataclass
class Timing:
    """The result of a benchmark.

    Attributes:
        benchmark: the benchmark.
        warm_up: seconds of building, compiling and the first run; None if they failed.
        seconds: seconds of each round.
        memory: peak memory of the first round in bytes; None if unknown.
        failure: why there are no timings, in one line.
    """

    benchmark: Benchmark
    warm_up: float | None = None
    seconds: list[float] = field(default_factory=list)
    memory: int | None = None
    failure: str | None = None


def time_alternately(
    benchmarks: Sequence[Benchmark],
    rounds: int,
    *,
    deadline: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
    advance: Callable[..., Any] = lambda n=1, note="": None,
    around: AbstractContextManager = nullcontext(),  # noqa: B008 (has no state)
) -> list[Timing]:
    """Prepares the benchmarks, those of different groups concurrently, then times them in alternation.

    A benchmark that fails is reported and skipped. After the deadline none is prepared, and timing ends once
    `MIN_ROUNDS` rounds are done.

    Arguments:
        benchmarks: the benchmarks, in order of importance.
        rounds: number of timings of each, at least 1.
        deadline: latest time, by `clock`, at which a measurement starts.
        clock: returns the time in seconds.
        advance: advances the progress bar, see `jaxdiff._console.terminal.progress`.
        around: entered around each timed run, outside its time.
    """
    results = [Timing(benchmark) for benchmark in benchmarks]

    def prepared(group: Hashable) -> list[tuple[int, Run]]:
        runs = []
        for index, result in enumerate(results):
            if result.benchmark.group == group:
                if run := _prepared(result, deadline, clock):
                    runs.append((index, run))
                advance(1 if run else rounds + 1, result.benchmark.name)
        return runs

    groups = dict.fromkeys(benchmark.group for benchmark in benchmarks)
    threads = ThreadPoolExecutor()
    try:
        # a single group is prepared in the main thread, where it can be interrupted
        runs = sum((threads.map if len(groups) > 1 else map)(prepared, groups), [])
    finally:
        # after an interrupt do not wait for compilers; the caller ends their processes
        threads.shutdown(wait=False, cancel_futures=True)
    running = [(results[index], run) for index, run in sorted(runs, key=itemgetter(0))]
    for index in range(1, rounds + 1):
        if index > MIN_ROUNDS and clock() >= deadline:
            break
        for result, run in running:
            if index == 1:
                result.benchmark.reset_memory()
            with around:
                begun = clock()
                skipped_seconds = run(index)
                result.seconds.append(clock() - begun + (skipped_seconds or 0.0))
            if index == 1:
                result.memory = result.benchmark.memory()
            advance(1, result.benchmark.name)
    return results


def _prepared(result: Timing, deadline: float, clock: Callable[[], float]) -> Run | None:
    """The function to time, after its first run; None if it failed, with the reason in `result.failure`."""
    begun = clock()
    if begun >= deadline:
        result.failure = "skipped: the time budget was used up"
        return None
    # without a limit the benchmark cannot be interrupted, so the deadline does not apply
    limit = result.benchmark.limit
    try:
        run = result.benchmark.prepare(min(limit, deadline - begun) if limit < math.inf else math.inf)
    except Exception as error:  # an error of a compiler is reported as the failure of the benchmark
        result.failure = error_line(error)
        return None
    result.warm_up = clock() - begun
    return run


class RemoteError(Exception):
    """An error in another process; the message is one line."""


def error_line(error: Exception) -> str:
    """An error as one line."""
    if isinstance(error, RemoteError):
        return str(error)
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in the `with` block after this many seconds."""
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
    """Median, quartiles (interpolated linearly) and number of values."""
    low, high = np.percentile(values, [25, 75])
    return {"median": statistics.median(values), "low": float(low), "high": float(high), "count": len(values)}


def ratio(reference: Sequence[float], own: Sequence[float]) -> dict[str, float]:
    """The speed-up over the reference, from the ratios of each round: above 1 is faster."""
    return summary([before / after for before, after in zip(reference, own, strict=False)])


def best(results: Sequence[Timing], framework: str) -> Timing | None:
    """The benchmark of a framework with the smallest median; None if none was timed."""
    timed = [result for result in results if result.benchmark.framework == framework and result.seconds]
    return min(timed, key=lambda result: statistics.median(result.seconds), default=None)
