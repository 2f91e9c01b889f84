"""Programs that are killed at random times and restarted until done: what they write must equal that of undisturbed runs."""

import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from bench.killed_programs import LATEST_END, ONCE, PROGRAMS, Killed
from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError

HOOK = Path(__file__).parent / "kill_hook"
"""The folder of the `sitecustomize` that kills a process at a file operation."""
KILLED = "killed"
"""Its line before it kills."""
LIMIT = 1200
"""Seconds that no start takes."""


@dataclass(frozen=True)
class Kills:
    """Kills every program that writes at random times, and restarts it until it is done.

    A kill sends SIGKILL or SIGTERM to one process: half of them at a time that is uniform over the run, half just before a
    random one of its file operations (opening a file for writing, renaming, removing, making a folder). Prints every restart,
    and a table. The exit status is 1 if what a program writes differs from an undisturbed run other than in the times that it
    records, if a file is left over, if work that was finished is done twice, if a training does not resume from its newest
    checkpoint, or a process does not end.

    Examples:

      python -m bench kills

      python -m bench kills --kills 30 --seed 1 --programs "train import" "evaluate report"
    """

    kills: int = 100
    """Total number of kills, divided among the programs."""
    seed: int = 0
    """Random seed of the times, signals and killed processes."""
    programs: tuple[str, ...] = ()
    """Programs to kill; by default all."""

    def __post_init__(self):
        if self.kills < 1:
            raise InputError(f"--kills must be at least 1, got {self.kills}")
        if unknown := set(self.programs) - PROGRAMS.keys():
            raise InputError(f"--programs takes {', '.join(PROGRAMS)}, got {', '.join(unknown)}")


@dataclass
class Tally:
    """What became of the kills of a program.

    Attributes:
        seconds: of the undisturbed run, by the number of processes.
        operations: file operations of the undisturbed run.
        runs: runs that were killed, some of them several times, and then ended.
        alike: files that are equal though not byte for byte, see `bench.equal_folders`.
        files: all files of the output.
        kills: how often each kind of kill and each signal.
        failures: what was wrong.
    """

    seconds: dict[int, float] = field(default_factory=dict)
    operations: int = 0
    runs: int = 0
    alike: set[str] = field(default_factory=set)
    files: int = 0
    kills: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """All kills."""
        return self.kills["operation"] + self.kills["time"]


def kills(options: Kills) -> None:
    """Kills the programs, and prints the table."""
    from tests.processes import QUICK

    chosen = options.programs or tuple(PROGRAMS)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder).resolve()
        (work / "inputs").mkdir()
        environment = {
            **QUICK,
            "JAX_COMPILATION_CACHE_DIR": f"{work}/compiled",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
            "XDG_CACHE_HOME": f"{work}/cache",
        }
        for place, name in enumerate(chosen):
            # equal shares, the first programs get the remainder
            count = options.kills // len(chosen) + (place < options.kills % len(chosen))
            trial = Trial(name, work, random.Random(f"{options.seed} {name}"), environment)
            found[name] = trial.run(count)
    _show(found, options)
    if any(tally.failures for tally in found.values()):
        raise SystemExit(1)


def _show(found: dict[str, Tally], options: Kills) -> None:
    """Prints the table, in Markdown."""
    done = sum(tally.count for tally in found.values())
    failures = sum(len(tally.failures) for tally in found.values())
    headings = ("program", "kills", "at an operation", "SIGTERM", "runs", "seconds", "operations", "files", "not byte for byte")
    rows = [headings, ("---", *["---:"] * 7, "---")]
    for name, tally in found.items():
        seconds = ", ".join(f"{took:.0f}" for took in tally.seconds.values())
        counted = (tally.count, tally.kills["operation"], tally.kills["SIGTERM"], tally.runs)
        alike = ", ".join(sorted({Path(file).name for file in tally.alike})) or "-"
        rows.append((name, *map(str, counted), seconds, str(tally.operations), str(tally.files), alike))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    title = f"{done} kills, seed {options.seed}, {os.cpu_count()} cores: {failures} failures"
    console.print(f"{title}\n\n{table}", markup=False, highlight=False, soft_wrap=True)


class Trial:
    """The kills of one program.

    Arguments:
        name: the program.
        work: a folder for its files.
        rng: decides about the kills.
        environment: variables of its processes.
    """

    def __init__(self, name: str, work: Path, rng: random.Random, environment: dict[str, str]):
        self._name, self._rng, self._environment = name, rng, environment
        self._program: Killed = PROGRAMS[name]
        own = work / name.replace(" ", "-")
        # every run writes to one path, since reports name it
        self._own, self._out, self._expected = own, own / "out", own / "undisturbed"
        self._logs: list[Path] = []
        own.mkdir()
        self._command = self._program.command(work / "inputs", self._out)
        self.tally = Tally()

    def run(self, count: int) -> Tally:
        """Kills the program `count` times; the last run is not killed."""
        self._undisturbed()
        while self.tally.count < count and not self.tally.failures:
            self._logs.clear()
            starts, over = 0, False
            while not over and not self.tally.failures:
                over = self._start(starts, kill=self.tally.count < count)
                starts += 1
            if not self.tally.failures:
                self._compare()
            shutil.rmtree(self._out, ignore_errors=True)
        for failure in self.tally.failures:
            console.print(f"{self._name}: {failure}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"{self._name}: {self.tally.count} kills over {self.tally.runs} runs", highlight=False)
        return self.tally

    def _undisturbed(self) -> None:
        """Runs the program with each number of processes, and keeps the last output."""
        from tests.processes import run

        for number in sorted(set(self._program.processes), reverse=True):
            self._logs.clear()
            shutil.rmtree(self._out, ignore_errors=True)
            ended = run(self._command, number, timeout=LIMIT, **self._hooked(None, signal.SIGKILL, 0))
            if any(one.code != self._program.status for one in ended):
                self.tally.failures.append(f"the undisturbed run fails:\n{ended[0].output}")
                return
            self.tally.seconds[number] = max(one.seconds for one in ended)
            self.tally.operations = len(self._operations())
        self._out.rename(self._expected)
        self.tally.files = sum(file.is_file() for file in self._expected.rglob("*"))
        seconds = ", ".join(f"{took:.1f} s in {number}" for number, took in self.tally.seconds.items())
        console.print(f"{self._name}: undisturbed {seconds}, {self.tally.operations} operations", highlight=False)

    def _start(self, starts: int, *, kill: bool) -> bool:
        """Starts the processes, and kills one of them; returns whether the run is over."""
        from tests.processes import started

        processes = self._program.processes[starts % len(self._program.processes)]
        number, victim = self._rng.choice((signal.SIGKILL, signal.SIGTERM)), self._rng.randrange(processes)
        kind = self._rng.choice(("operation", "time")) if kill else None
        wait = self._rng.uniform(0, self.tally.seconds[processes]) if kind == "time" else LIMIT
        # what was done before is not done again
        left = max(3, self.tally.operations - len(self._operations()))
        at = self._rng.randint(1, left) if kind == "operation" else None
        newest, begun, sent = self._program.newest(self._out), time.monotonic(), False
        with started(self._command, processes, **self._hooked(at, number, victim)) as running:
            while (alive := all(process.popen.poll() is None for process in running)) and time.monotonic() < begun + wait:
                time.sleep(0.02)
            if alive and kind == "time":
                running[victim].send(number)
                sent = True
            try:
                ended = [process.end(LATEST_END) for process in running]
            except AssertionError as hanging:
                self.tally.failures.append(f"{number.name} {'at ' if at else 'after '}{at or wait}: {hanging}")
                return False
        killed = sent or KILLED in _lines(self._logs[-1])
        codes, output = [one.code for one in ended], ended[0].output
        over = all(code == self._program.status for code in codes)
        act = "not killed"
        if killed:
            self.tally.kills.update((kind, number.name))
            act = (
                f"{number.name} to process {victim} of {processes} {f'before operation {at}' if at else f'after {wait:.1f} s'}"
            )
        elif over and not starts:
            # the load of the machine may have changed
            self.tally.seconds[processes] = time.monotonic() - begun
        line = f"{self._name} {self.tally.runs}.{starts}: {newest or 'from the start'}; {act}; ended with {codes}"
        console.print(line, highlight=False, soft_wrap=True)
        if newest and "of arrays;" in output and newest not in output:
            self.tally.failures.append(f"{act}: did not print {newest!r}:\n{output}")
        if not over and not killed:
            self.tally.failures.append(f"ended with {codes} though nothing was killed:\n{output}")
        return over

    def _compare(self) -> None:
        """Compares the output with that of the undisturbed run."""
        self.tally.runs += 1
        wrong, alike = self._program.equal(self._out, self._expected)
        self.tally.alike.update(alike)
        twice = [f"{path} was written again" for path in _again(self._operations())]
        self.tally.failures += [f"run {self.tally.runs}: {each}" for each in [*wrong, *twice]]

    def _hooked(self, at: int | None, number: int, process: int) -> dict[str, str]:
        """Variables of processes that log their operations, to a new file, and of which one is killed at an operation."""
        self._logs.append(self._own / f"operations-{len(self._logs)}")
        self._logs[-1].unlink(missing_ok=True)
        given = {"folder": str(self._out), "log": str(self._logs[-1]), "at": at, "signal": int(number), "process": process}
        path = os.pathsep.join((str(HOOK), str(Path.cwd())))
        return {**self._environment, "PYTHONPATH": path, "JAXDIFF_BENCH_KILL": json.dumps(given)}

    def _operations(self) -> list[str]:
        """The operations of all starts of this run."""
        return [line for log in self._logs for line in _lines(log)]


def _again(operations: list[str]) -> list[str]:
    """The results of work that were written though they were there."""
    there, again = set(), []
    for kind, _, path in (line.partition(" ") for line in operations):
        if kind == "os.rename" and any(fnmatch(path, pattern) for pattern in ONCE):
            again += [path] * (path in there)
            there.add(path)
        elif kind == "os.remove":
            there.discard(path)
    return again


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []
