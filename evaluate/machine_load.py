"""What other processes use of the cores that this process may use, from /proc (proc(5))."""

import os
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

PROC = Path("/proc")
LEAST_SECONDS = 0.5
"""Shorter times have too few ticks of /proc/stat, which are of 10 ms."""


def cores() -> tuple[int, ...]:
    """The cores that this process may use; of systems that cannot restrict them, all."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return tuple(sorted(allowed))


class OthersLoad:
    """What processes other than our own use of our cores, while it is entered; times of several entries add up.

    What a host takes from a virtual machine counts as theirs. Interrupts are nobody's: while ours run, most are for ours.

    Arguments:
        own: the process identifiers of our own processes.
        proc: where the system has its files.
        clock: returns the time in seconds.
    """

    def __init__(self, own: Sequence[int] = (), *, proc: Path = PROC, clock: Callable[[], float] = time.monotonic):
        self._own, self._proc, self._clock, self._cores = own, proc, clock, cores()
        self._seconds = self._used = self._counted = 0.0

    def __enter__(self) -> "OthersLoad":
        self._before = self._snapshot()
        return self

    def __exit__(self, *_: object) -> None:
        before, after = self._before, self._snapshot()
        if before is not None and after is not None:
            seconds, busy, idle, own = (late - early for early, late in zip(before, after, strict=True))
            self._seconds, self._used, self._counted = (
                self._seconds + seconds,
                self._used + busy - own,
                self._counted + busy + idle,
            )

    @property
    def load(self) -> float | None:
        """The mean number of cores that others used; None if the system does not tell, or the time was too short."""
        # some virtual machines have the file, but do not count
        if self._seconds < LEAST_SECONDS or self._counted < 0.5 * self._seconds:
            return None
        return max(0.0, self._used / self._seconds)

    def _snapshot(self) -> tuple[float, float, float, float] | None:
        """The time; the seconds that our cores were busy, and idle; those that our processes used."""
        try:
            busy, idle = core_seconds((self._proc / "stat").read_text(), self._cores)
            own = sum(processor_seconds((self._proc / str(process) / "stat").read_text()) for process in self._own)
        except (OSError, ValueError, IndexError):
            return None
        return self._clock(), busy, idle, own


def core_seconds(stat: str, cores: Collection[int]) -> tuple[float, float]:
    """The seconds that processes used cores, and the others, since the start of the system, from the text of /proc/stat."""
    busy = idle = 0
    names = {f"cpu{core}" for core in cores}
    for line in stat.splitlines():
        name, *fields = line.split()
        if name in names:
            # guests, which follow, are in user and nice already
            user, nice, system, *others, steal = (int(field) for field in fields[:8])
            busy, idle = busy + user + nice + system + steal, idle + sum(others)
    return busy / _ticks(), idle / _ticks()


def processor_seconds(stat: str) -> float:
    """The seconds that a process computed, from the text of its /proc/PID/stat."""
    # the name of the program, in parentheses, may have spaces and parentheses
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _ticks()


def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")
