"""Runs that are killed at random times and restarted until done: their results must equal those of uninterrupted runs."""

import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import evaluations
from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError

LATEST_END = 60  # seconds after a kill within which every process must have ended


@dataclass(frozen=True)
class Kills:
    """Kills runs at random times and restarts them until they are done. Each kill sends SIGKILL or SIGTERM to one process; half
    of the training runs are killed while a checkpoint is being written. The scenarios are training with one process, with two,
    and with one and two in turn, drawing with one process, and with two, four and one in turn, and evaluations with one. Prints
    every restart. The exit status is 1 if a result differs from that of the uninterrupted run, a restart does not resume from
    the newest complete state, an evaluation computes a part twice, or a process does not end.

    Examples:

      python -m bench kills

      python -m bench kills --kills 200 --seed 1 --scenarios two drawing-changing
    """

    kills: int = 51
    """Total number of kills, divided among the scenarios."""
    seed: int = 0
    """Random seed of the times, signals and killed processes."""
    scenarios: tuple[str, ...] = ()
    """Scenarios to run; by default all."""

    def __post_init__(self):
        if self.kills < 1:
            raise InputError(f"--kills must be at least 1, got {self.kills}")


@dataclass(frozen=True)
class Scenario:
    """A run to kill.

    Attributes:
        arguments: command-line arguments of Python, for a run in a folder.
        processes: the number of processes of each start in turn.
        result: the result of a finished run, as arrays by name.
        newest: the message with which a restart must resume, given the folder before it; empty for no message.
        tolerance: the maximum difference between results; 0 requires equality bit for bit.
        begun: what a restart prints when it looks for that message; before, none is expected.
        half: pattern of the files that exist while a checkpoint is being written; empty for none.
    """

    arguments: Callable[[Path], Sequence[Any]]
    processes: tuple[int, ...]
    result: Callable[[Path], dict[str, np.ndarray]]
    newest: Callable[[Path], str]
    tolerance: float = 0.0
    begun: str = "of arrays;"
    half: str = ""


def _training(steps: int) -> Callable[[Path], Sequence[Any]]:
    # a process that is killed while the others wait for it never arrives
    often = ("--save-minutes", 0.005, "--log-every", 5, "--preview-every", 0, "--arrival-seconds", LATEST_END // 2)
    return lambda out: ("-m", "tests.small_training", "--steps", steps, "--out", out / "run", *often)


def _weights(out: Path) -> dict[str, np.ndarray]:
    from jaxdiff.weight_file import MODEL, read

    return read(out / "run", MODEL).arrays


def _function(out: Path) -> dict[str, np.ndarray]:
    """The model's output on fixed noise. Weights are not compared, since rounding makes those without influence drift apart."""
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
    """All images, and the numbers of complete and of partly written shard files."""
    from jaxdiff.sampleset import SampleSet

    drawn, files = SampleSet.open(out / "set"), [len(list((out / "set").glob(name))) for name in ("shard-*.npz", "*.partial")]
    return {"levels": np.stack([drawn.image(i) for i in range(len(drawn))]), "files": np.array(files)}


CHECKPOINT = "*.orbax-checkpoint-tmp*"
SCENARIOS = {
    "one": Scenario(_training(300), (1,), _weights, _newest_checkpoint, half=CHECKPOINT),
    "two": Scenario(_training(20), (2,), _weights, _newest_checkpoint, half=CHECKPOINT),
    "changing": Scenario(_training(40), (1, 2), _function, _newest_checkpoint, tolerance=1e-5, half=CHECKPOINT),
    "drawing": Scenario(_drawing, (1,), _levels, lambda out: ""),
    # one of 255 levels, since programs of other shapes round differently
    "drawing-changing": Scenario(_drawing, (2, 4, 1), _levels, lambda out: "", tolerance=1.0),
    **{
        name: Scenario(
            evaluations.evaluating(name), (1,), evaluations.evaluated(name), evaluations.finished(name), begun="resuming:"
        )
        for name in evaluations.COMMANDS
    },
}


def kills(options: Kills) -> None:
    """Runs the scenarios, and compares their results."""
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
            # equal shares, the first scenarios get the remainder
            count = options.kills // len(chosen) + (place < options.kills % len(chosen))
            failures += _run_scenario(name, count, Path(folder) / name, random.Random(f"{options.seed} {name}"), environment)
    console.print(f"{options.kills} kills of {', '.join(chosen)}, seed {options.seed}: {len(failures)} failures")
    for failure in failures:
        console.print(f"  {failure}")
    if failures:
        raise SystemExit(1)


def _run_scenario(name: str, count: int, folder: Path, rng: random.Random, environment: dict[str, str]) -> list[str]:
    """Kills runs of a scenario `count` times; the last run is not killed. Returns the failures."""
    from tests.processes import run

    scenario, failures, done, runs = SCENARIOS[name], [], 0, 0
    durations = {}
    for number in sorted(set(scenario.processes), reverse=True):
        # twice, since the first compiles
        for repeat in range(2):
            whole = folder / f"uninterrupted-{number}-{repeat}"
            whole.mkdir(parents=True)
            ended = run(scenario.arguments(whole), number, timeout=600, **environment)
            if any(one.code for one in ended):
                return [f"{name}: the uninterrupted run fails:\n{ended[0].output}"]
            durations[number] = max(one.seconds for one in ended)
    expected = scenario.result(whole)
    console.print(f"{name}: uninterrupted {', '.join(f'{took:.1f} s in {number}' for number, took in durations.items())}")
    while done < count:
        out = folder / f"killed-{runs}"
        out.mkdir()
        starts, over = 0, False
        while not over:
            processes = scenario.processes[starts % len(scenario.processes)]
            wait = rng.uniform(0, durations[processes]) if done < count else None
            begun = time.monotonic()
            outcome, killed, over, wrong = _start(scenario, out, processes, wait, rng, environment)
            if over:
                # the load of the machine may have changed
                durations[processes] = time.monotonic() - begun
            console.print(f"{name} {runs}.{starts}: {outcome}", soft_wrap=True)
            failures += [f"{name} {runs}.{starts}: {each}" for each in wrong]
            if wrong:
                return failures
            done, starts = done + killed, starts + 1
        failures += [f"{name} {runs}: {each}" for each in _differing(scenario.result(out), expected, scenario.tolerance)]
        runs += 1
    console.print(f"{name}: {done} kills over {runs} runs, all with the result of the uninterrupted run")
    return failures


def _start(scenario, out, processes, wait, rng, environment) -> tuple[str, bool, bool, list[str]]:
    """Starts the processes, and kills one after `wait` seconds; None kills none.

    Returns:
        What happened, whether a process was killed, whether the run is over, and the failures.
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
    if newest and scenario.begun in output and newest not in output:
        wrong.append(f"{act}: did not print {newest!r}:\n{output}")
    if not killed and not over:
        wrong.append(f"ended with {codes} though nothing was killed:\n{output}")
    return f"{newest or 'from the start'}; {act}; ended with {codes}", killed, over, wrong


def _writing(out: Path, half: str, since: float) -> bool:
    """Whether a write that began after `since` is in progress; files left by earlier kills do not count."""
    try:
        return bool(half) and any(file.stat().st_mtime > since for file in out.rglob(half))
    except FileNotFoundError:  # it was completed in the meantime
        return False


def _differing(result: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> list[str]:
    """The differences between a result and the expected one."""
    if result.keys() != expected.keys():
        return [f"has {sorted(result)} instead of {sorted(expected)}"]
    apart = {name: float(np.abs(result[name].astype(np.float64) - expected[name]).max()) for name in expected}
    return [f"{name} differs by {far}" for name, far in apart.items() if far > tolerance]
