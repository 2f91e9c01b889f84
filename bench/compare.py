"""Speed of two commits of jaxdiff, timed in turn on the same machine."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from bench.checkouts import checkouts, resolved
from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.terminal import console, progress, working
from jaxdiff.bounds import Bounds, Size
from jaxdiff.errors import InputError

REPOSITORY = Path(__file__).parents[1]
NAMES = ("base", "head")
Task = Literal["sampling", "training"]


@dataclass(frozen=True)
class Compare(CheckedOptions):
    """Checks two commits out into a temporary folder, runs the tasks of `jaxdiff evaluate speed` of each in processes of its
    own, on the CPU, in turn, and prints how many times faster the second is. The machine must be as quiet as for that command.

    Examples:

      python -m bench compare --base HEAD~10

      python -m bench compare --base main --head my-branch --network large --batch-size 8 --train-batch-size 8
    """

    base: str
    """Commit to compare with."""
    head: str = "HEAD"
    """Commit to compare. What is not committed is not timed."""
    network: Literal["rehearsal", "small", "large"] = "small"
    """Network of `jaxdiff evaluate speed`."""
    tasks: tuple[Task, ...] = ("sampling", "training")
    """Tasks to time."""
    steps: Size = 10
    """Number of DDIM steps."""
    batch_size: Size = 16
    """Images per sampling batch."""
    train_batch_size: Size = 16
    """Images per training step."""
    train_steps: Size = 3
    """Training steps per timing."""
    rounds: Annotated[int, Bounds(least=3)] = 9
    """Timings of each commit."""
    busy: bool = False
    """Time on a busy machine too, and print no ratios, which would not be valid."""


def compare(options: Compare) -> None:
    """Times both commits, and prints a table for each task. The exit status is 1 if the machine became busy."""
    given = dict(zip(NAMES, (options.base, options.head), strict=True))
    commits = [resolved(REPOSITORY, commit, f"--{name}") for name, commit in given.items()]
    from evaluate.speed_checks import Check, idle_load, require_quiet

    require_quiet([Check("before the start", idle_load([os.getpid()]))], options.busy)
    with checkouts(REPOSITORY, commits) as folders, ExitStack() as stack:
        with working("starting both commits"):
            processes = {task: _started(options, task, commits, folders, stack) for task in options.tasks}
        disturbed = _timed(options, processes, commits)
    if disturbed and not options.busy:
        raise SystemExit(1)


def _started(options: Compare, task: str, commits: Sequence[str], folders: Sequence[Path], stack: ExitStack) -> list[Any]:
    """A process of each commit, set up for a task. Raises `InputError` if a commit lacks the workload, or they differ."""
    from evaluate import speed_jaxdiff
    from evaluate.machine_load import cores
    from evaluate.timing import RemoteError
    from evaluate.worker import Worker

    sizes = {
        "batch": options.batch_size, "steps": options.steps, "train_batch": options.train_batch_size,
        "train_steps": options.train_steps, "search_batch": 1, "authors_batch": 1, "authors_steps": 10, "count": 1, "seed": 0,
    }  # fmt: skip
    environment = {"JAX_PLATFORMS": "cpu", "PJRT_NPROC": str(len(cores()))}
    processes, parameters = [], []
    for name, commit, folder in zip(NAMES, commits, folders, strict=True):
        try:
            given = (speed_jaxdiff.build, options.network, sizes, task == "training")
            processes.append(stack.enter_context(Worker(*given, root=folder, environment=environment)))
            processes[-1].call("set_up", "cpu", str(folder))
            parameters.append(processes[-1].call("size")[0])
        except RemoteError as error:
            raise InputError(f"--{name} {commit[:9]} cannot run this workload: {error}") from None
    if len(set(parameters)) > 1:
        raise InputError(f"the network {options.network} has {parameters[0]} weights in --base, and {parameters[1]} in --head")
    return processes


def _timed(options: Compare, processes: Mapping[str, Sequence[Any]], commits: Sequence[str]) -> bool:
    """Times the tasks, and prints the tables. Returns whether the machine was busy."""
    from evaluate import speed_report
    from evaluate.machine_load import cores
    from evaluate.processor import processor
    from evaluate.provenance import provenance
    from evaluate.speed_checks import Checks, best_rates, disturbances, judged, matrix_rates, require_quiet
    from evaluate.speed_comparisons import Comparison
    from evaluate.speed_framework import Variant, benchmark
    from evaluate.timing import time_alternately

    def benchmarks(task: str, workers: Sequence[Any]) -> list[Any]:
        variants = [Variant(name, commit[:9], task, "float32") for name, commit in zip(NAMES, commits, strict=True)]
        return [benchmark(worker, variant) for worker, variant in zip(workers, variants, strict=True)]

    report: dict[str, Any] = {
        "processor": {**processor(), "cores": cores()}, "device": "cpu", "versions": provenance(options, "cpu")["versions"],
        "comparisons": [],
    }  # fmt: skip
    every = [os.getpid(), *(worker.identifier for workers in processes.values() for worker in workers)]
    first = next(iter(processes.values()))
    # compared with one another alone, so that their unit does not matter
    checks = Checks(lambda dtype: matrix_rates(benchmarks("products", first), 1.0), every)
    checks.idle("before the runs", ["float32"])
    require_quiet(checks.made, options.busy)
    images = {"sampling": options.batch_size, "training": options.train_batch_size * options.train_steps}
    measured = []
    for task, workers in processes.items():
        made, load = benchmarks(task, workers), checks.load()
        with progress(task, len(made) * (options.rounds + 1)) as advance:
            results = time_alternately(made, options.rounds, advance=advance, around=load)
        judging = checks.after(task, load, ["float32"])
        comparison = Comparison(task, "float32", ())
        measured.append((speed_report.comparison_json(comparison, results, 1.0, images[task], {}), judging))
    # the tables come last: what was measured later may show that the machine was busy earlier
    rates = best_rates(checks.made)
    for comparison, judging in measured:
        report["comparisons"].append(judged(comparison, disturbances(judging, rates), options.busy))
        speed_report.show(report["comparisons"][-1], speed_report.machine(report), console)
    speed_report.show_verdict(report, console)
    if failed := [row for each in report["comparisons"] for row in each["variants"] if row["failure"]]:
        raise InputError(f"{failed[0]['name']} failed: {failed[0]['failure']}")
    return any(each["disturbances"] for each in report["comparisons"])
