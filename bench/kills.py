"""Trainings and drawings that are killed at random times, and started again until done: they must end as if undisturbed."""

import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError

LATEST_END = 60  # seconds after a kill within which every process must have ended


@dataclass(frozen=True)
class Kills:
    """Kills runs at random times, by SIGKILL or SIGTERM, one process of each, half of the trainings while a checkpoint is being
    written, and starts them again until they are done: trainings of one process, of two, and of one and two in turn; drawings
    by one process, and by two, four and one in turn. Prints every restart. Exits with 1 where an end is not that of the
    undisturbed run, a restart does not go on from the newest complete state, or a process does not end.

    Examples:

      python -m bench kills

      python -m bench kills --kills 200 --seed 1 --scenarios two drawing-changing
    """

    kills: int = 51
    """Kills in all, divided among the scenarios."""
    seed: int = 0
    """Of the times, signals and victims."""
    scenarios: tuple[str, ...] = ()
    """Which; by default all."""

    def __post_init__(self):
        if self.kills < 1:
            raise InputError(f"--kills must be at least 1, got {self.kills}")


@dataclass(frozen=True)
class Scenario:
    """What is run, and killed.

    Attributes:
        arguments: of Python, for a run in a folder.
        processes: how many there are, of each start in turn.
        result: what a finished run has left, by name.
        newest: what a restart must say that it goes on from, given the folder before it; empty where it says nothing.
        tolerance: how far numbers of the result may lie apart: 0 where runs must be the same bit for bit.
        half: the names of files that are there while something long is being written; empty where nothing is.
    """

    arguments: Callable[[Path], Sequence[Any]]
    processes: tuple[int, ...]
    result: Callable[[Path], dict[str, np.ndarray]]
    newest: Callable[[Path], str]
    tolerance: float = 0.0
    half: str = ""


def _training(steps: int) -> Callable[[Path], Sequence[Any]]:
    # who is killed while the others wait for it never arrives
    often = ("--save-minutes", 0.005, "--log-every", 5, "--preview-every", 0, "--arrival-seconds", LATEST_END // 2)
    return lambda out: ("-m", "tests.small_training", "--steps", steps, "--out", out / "run", *often)


def _weights(out: Path) -> dict[str, np.ndarray]:
    from jaxdiff.weight_file import MODEL, read

    return read(out / "run", MODEL).arrays


def _function(out: Path) -> dict[str, np.ndarray]:
    """What the model makes of some noise: of weights that differ by rounding, some have no influence and drift apart."""
    import jax.numpy as jnp

    from jaxdiff.model import load

    model, rng = load(out / "run"), np.random.default_rng(0)
    noise = rng.standard_normal((8, *model.shape), np.float32)
    return {"denoised": np.asarray(model.denoise(jnp.asarray(noise), 0.6, model.conditions.encode(np.arange(8) % 2)))}


def _newest_checkpoint(out: Path) -> str:
    steps = [int(entry.name) for entry in (out / "run" / "checkpoints").glob("*") if entry.name.isdecimal()]
    return f"resuming from step {max(steps)}" if steps else ""


def _drawing(out: Path) -> Sequence[Any]:
    sampled = ("--model", Path("checkpoints/embedded").absolute(), "--solver", "ddim", "--steps", 4, "--count", 2048)
    return ("-m", "sample", "draw", *sampled, "--out", out / "set", "--arrival-seconds", LATEST_END // 2)


def _levels(out: Path) -> dict[str, np.ndarray]:
    """All images, and how many files of shards there are, and of shards half-written."""
    from jaxdiff.sampleset import SampleSet

    drawn, files = SampleSet.open(out / "set"), [len(list((out / "set").glob(name))) for name in ("shard-*.npz", "*.partial")]
    return {"levels": np.stack([drawn.image(i) for i in range(len(drawn))]), "files": np.array(files)}


CHECKPOINT = "*.orbax-checkpoint-tmp*"
SCENARIOS = {
    "one": Scenario(_training(300), (1,), _weights, _newest_checkpoint, half=CHECKPOINT),
    "two": Scenario(_training(20), (2,), _weights, _newest_checkpoint, half=CHECKPOINT),
    "changing": Scenario(_training(40), (1, 2), _function, _newest_checkpoint, tolerance=1e-5, half=CHECKPOINT),
    "drawing": Scenario(_drawing, (1,), _levels, lambda out: ""),
    # a level of 255, where programs of other shapes round otherwise
    "drawing-changing": Scenario(_drawing, (2, 4, 1), _levels, lambda out: "", tolerance=1.0),
}


def kills(options: Kills) -> None:
    """Runs, kills and compares."""
    if unknown := set(options.scenarios) - SCENARIOS.keys():
        raise InputError(f"--scenarios takes {', '.join(SCENARIOS)}, got {', '.join(unknown)}")
    chosen = options.scenarios or tuple(SCENARIOS)
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
            "JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        }
        for place, name in enumerate(chosen):
            # each gets its share, the first ones what is left over
            count = options.kills // len(chosen) + (place < options.kills % len(chosen))
            failures += _suffer(name, count, Path(folder) / name, random.Random(f"{options.seed} {name}"), environment)
    console.print(f"{options.kills} kills of {', '.join(chosen)}, seed {options.seed}: {len(failures)} failures")
    for failure in failures:
        console.print(f"  {failure}")
    if failures:
        raise SystemExit(1)


def _suffer(name: str, count: int, folder: Path, rng: random.Random, environment: dict[str, str]) -> list[str]:
    """Kills runs of a scenario so often, the last of which is left to its end; tells what went wrong."""
    from tests.processes import run

    scenario, failures, done, runs = SCENARIOS[name], [], 0, 0
    lasted = {}
    for number in sorted(set(scenario.processes), reverse=True):
        # twice, since the first compiles
        for repeat in range(2):
            whole = folder / f"undisturbed-{number}-{repeat}"
            whole.mkdir(parents=True)
            ended = run(scenario.arguments(whole), number, timeout=600, **environment)
            if any(one.code for one in ended):
                return [f"{name}: the undisturbed run fails:\n{ended[0].output}"]
            lasted[number] = max(one.seconds for one in ended)
    expected = scenario.result(whole)
    console.print(f"{name}: undisturbed {', '.join(f'{took:.1f} s in {number}' for number, took in lasted.items())}")
    while done < count:
        out = folder / f"killed-{runs}"
        out.mkdir()
        starts, over = 0, False
        while not over:
            processes = scenario.processes[starts % len(scenario.processes)]
            wait = rng.uniform(0, lasted[processes]) if done < count else None
            begun = time.monotonic()
            told, killed, over, wrong = _start(scenario, out, processes, wait, rng, environment)
            if over:
                # the machine may be less busy, or more, than it was
                lasted[processes] = time.monotonic() - begun
            console.print(f"{name} {runs}.{starts}: {told}", soft_wrap=True)
            failures += [f"{name} {runs}.{starts}: {each}" for each in wrong]
            if wrong:
                return failures
            done, starts = done + killed, starts + 1
        failures += [f"{name} {runs}: {each}" for each in _differing(scenario.result(out), expected, scenario.tolerance)]
        runs += 1
    console.print(f"{name}: {done} kills over {runs} runs, each with the end of the undisturbed one")
    return failures


def _start(scenario, out, processes, wait, rng, environment) -> tuple[str, bool, bool, list[str]]:
    """Starts the processes, and after so many seconds kills one.

    Returns:
        What happened, whether one was killed, whether the run is over, and what is wrong.
    """
    from tests.processes import started

    newest, wrong, act = scenario.newest(out), [], "not killed"
    victim, number = rng.randrange(processes), rng.choice((signal.SIGKILL, signal.SIGTERM))
    since = time.time()
    writing, delay = bool(scenario.half) and rng.random() < 0.5, rng.uniform(0, 0.1)
    with started(scenario.arguments(out), processes, **environment) as running:
        alive = lambda: all(process.popen.poll() is None for process in running)  # noqa: E731
        begun = time.monotonic()
        while wait is not None and alive() and time.monotonic() < begun + wait:
            time.sleep(0.01)
        while wait is not None and writing and alive() and not _writing(out, scenario.half, since):
            time.sleep(0.002)
        killed = wait is not None and alive()
        if killed:
            time.sleep(delay if writing else 0)
            half = _writing(out, scenario.half, since)
            running[victim].send(number)
            act = f"{number.name} to process {victim} of {processes} after {time.monotonic() - begun:.1f} s"
            act += " while a checkpoint was written" if half else ""
        limit = LATEST_END if killed else 600
        try:
            ended = [process.end(limit) for process in running]
        except AssertionError as hanging:
            return act, killed, False, [f"{act}: {hanging}"]
    codes = [one.code for one in ended]
    over = all(code == 0 for code in codes)
    output = ended[0].output
    if newest and "of arrays;" in output and newest not in output:
        wrong.append(f"{act}: did not say {newest!r}:\n{output}")
    if not killed and not over:
        wrong.append(f"ended with {codes} though nothing was killed:\n{output}")
    return f"{newest or 'from the start'}; {act}; ended with {codes}", killed, over, wrong


def _writing(out: Path, half: str, since: float) -> bool:
    """Whether something is being written that was begun after a time: what an earlier kill has left does not count."""
    try:
        return bool(half) and any(file.stat().st_mtime > since for file in out.rglob(half))
    except FileNotFoundError:  # it was completed at this very moment
        return False


def _differing(result: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> list[str]:
    """In what a result is not the expected one."""
    if result.keys() != expected.keys():
        return [f"has {sorted(result)} in place of {sorted(expected)}"]
    apart = {name: float(np.abs(result[name].astype(np.float64) - expected[name]).max()) for name in expected}
    return [f"{name} is {far} apart" for name, far in apart.items() if far > tolerance]
