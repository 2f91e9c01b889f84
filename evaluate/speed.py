"""`jaxdiff evaluate speed`: comparison with PyTorch, with the same weights on the same machine."""

import math
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff._console import plots
from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError

from . import speed_jaxdiff, speed_pytorch, speed_report
from .options.speed import Speed
from .speed_jaxdiff import Jaxdiff
from .speed_pytorch import PyTorch
from .speed_races import races
from .speed_side import Entry
from .speed_work import NETWORKS, Work
from .timing import Contestant, Run, best, race
from .worker import Worker
from .writing import finite, whole, write_json

PASS_ERROR, RUN_ERROR = 1e-3, 1e-2  # relative errors above which the two networks are not one


def speed(options: Speed) -> dict[str, Any]:
    """Compares, times, prints the tables and writes the report."""
    begun = time.perf_counter()
    # both frameworks share the card; JAX reads it when it first uses a device
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    work = Work(
        NETWORKS[options.network], options.batch_size, options.steps, options.train_batch_size, options.train_steps,
        options.search_batch_size, options.authors_batch_size, options.authors_steps, options.count, options.seed,
    )  # fmt: skip
    with ExitStack() as processes:

        def start(*asked: tuple[Any, ...]) -> list[Worker]:
            with ThreadPoolExecutor() as threads:
                return list(threads.map(lambda each: processes.enter_context(Worker(each[0], work, *each[1:])), asked))

        pytorch, jaxdiff, trainer = start((speed_pytorch.begin,), (speed_jaxdiff.begin, False), (speed_jaxdiff.begin, True))
        device = _device(options.device, pytorch.call("sees_gpu"), jaxdiff.call("sees_gpu"))
        modes = [mode for mode in options.modes if device == "cuda" or mode not in speed_pytorch.GPU_MODES]
        if not modes:
            raise InputError(f"--modes takes one that runs on a CPU too, got {' '.join(options.modes) or 'none'}")
        options.out.mkdir(parents=True, exist_ok=True)
        others = start(*[(speed_pytorch.begin,)] * (len(modes) - 1)) if device == "cuda" else [pytorch] * (len(modes) - 1)
        sides = _Sides(jaxdiff, trainer, dict(zip(modes, (pytorch, *others), strict=True)), side_by_side=device == "cuda")
        folder = Path(processes.enter_context(tempfile.TemporaryDirectory()))
        for side in (jaxdiff, trainer, *sides.pytorch):
            side.call("use", device, folder)
        exported = jaxdiff.call("exported")
        for side in sides.pytorch:
            side.call("take", *exported)
        told = _measure(options, work, sides, device, modes, begun)
    whole(options.out / "speed.png", lambda path: plots.speed(path, told["races"], _title(told)))
    console.print(f"wrote {options.out}/speed.json and speed.png", highlight=False)
    return told


def _device(asked: str, pytorch_sees: bool, jax_sees: bool) -> str:
    """`cpu` or `cuda`. Raises `InputError` where a GPU is asked for that one of them does not see."""
    both = pytorch_sees and jax_sees
    if asked == "gpu" and not both:
        seen = {True: "a GPU", False: "none"}
        raise InputError(f"--device gpu takes a GPU that both see; JAX sees {seen[jax_sees]}, PyTorch {seen[pytorch_sees]}")
    return "cuda" if both and asked != "cpu" else "cpu"


@dataclass(frozen=True)
class _Sides:
    """The processes.

    Arguments:
        jaxdiff, trainer: set up as `sample` and as `train` set up theirs.
        by_mode: PyTorch's, on a CPU one for all modes.
        side_by_side: whether they compile at the same time: not where compilers and contestants share the processor.
    """

    jaxdiff: Worker
    trainer: Worker
    by_mode: dict[str, Worker]
    side_by_side: bool

    @property
    def pytorch(self) -> list[Worker]:
        return list(dict.fromkeys(self.by_mode.values()))

    def of(self, entry: Entry) -> Worker:
        if entry.framework == PyTorch.framework:
            return self.by_mode[entry.mode]
        return self.trainer if entry.task == "training" else self.jaxdiff


def _measure(options: Speed, work: Work, sides: _Sides, device: str, modes: Sequence[str], begun: float) -> dict[str, Any]:
    jaxdiff, pytorch = sides.jaxdiff, sides.pytorch[0]
    dtypes = options.dtypes or (("bfloat16", "float32") if device == "cuda" else ("float32",))
    agreement = _compare(work, jaxdiff, pytorch, options.compare_runs)
    for side in sides.pytorch:
        side.call("allow_tf32", True)
    rates = {dtype: _matrix_rate(dtype, sides, work.products(device)) for dtype in dtypes}
    speed_report.show_rates(agreement, rates, console)
    parameters, operations = jaxdiff.call("size")
    told = {
        "network": {"name": options.network, "parameters": parameters, "flops_per_image": operations},
        "device": device,
        "agreement": agreement,
        "matrix_rate": rates,
        "races": [],
        **jaxdiff.call("provenance", options),
    }
    told["versions"] |= pytorch.call("versions")
    mode = None
    for lay_out in races(options.tasks, dtypes, modes):
        each = lay_out(mode)
        contestants = [_contestant(sides, entry, options.compile_limit) for entry in each.entries]
        with progress(f"{each.task}, {each.dtype}", len(contestants) * (options.rounds + 1)) as advance:
            results = race(contestants, options.rounds, deadline=begun + options.budget, advance=advance)
        if each.task == "sampling" and mode is None and (fastest := best(results, PyTorch.framework)):
            mode = fastest.contestant.mode
        one_of_each = {entry.framework: sides.of(entry) for entry in reversed(each.entries)}
        flops = {framework: side.call("flops", each.task) for framework, side in one_of_each.items()}
        rate = max(rates[each.dtype].values())
        told["races"].append(speed_report.told(each, results, rate, work.images_of(each.task), flops))
        speed_report.show(told["races"][-1], console)
        told["seconds"] = round(time.perf_counter() - begun, 1)
        # what is measured stays measured, whatever comes
        write_json(options.out / "speed.json", finite(told))
        for side in {sides.of(entry) for entry in each.entries}:
            side.call("forget_runs")
    return told


def _contestant(sides: _Sides, entry: Entry, limit: float) -> Contestant:
    """A contestant, in its process."""
    side = sides.of(entry)

    def prepare(seconds: float) -> Run:
        side.call("prepare", entry, seconds)
        return lambda index: side.call("run", entry, index)

    # what XLA compiles cannot be interrupted
    limit = limit if entry.framework == PyTorch.framework else math.inf
    memory, forget = (partial(side.call, method) for method in ("held_memory", "forget_memory"))
    return Contestant(entry.framework, entry.name, prepare, limit, memory, forget, lane=side if sides.side_by_side else None)


def _compare(work: Work, jaxdiff: Worker, pytorch: Worker, runs: bool) -> dict[str, float]:
    """Relative errors of PyTorch's outputs, in full float32. Raises `InputError` where the networks are not one."""
    rng, count = np.random.default_rng(work.seed), 4
    x = rng.standard_normal((count, *work.shape), np.float32)
    t, labels = np.linspace(0.01, 1.0, count, dtype=np.float32), work.labels(count)
    ours, theirs = (side.call("one_pass", x, t, labels) for side in (jaxdiff, pytorch))
    found = {"pass": _agreeing("pass", ours, theirs, PASS_ERROR)}
    if runs:
        start, end = jaxdiff.call("run_ends", count)
        found["run"] = _agreeing("run", end, pytorch.call("run_end", start), RUN_ERROR)
    return found


def _agreeing(name: str, ours: np.ndarray, theirs: np.ndarray, limit: float) -> float:
    """The norm of the difference, relative to that of `ours`. Raises `InputError` above the limit."""
    error = float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))
    if not error <= limit:
        raise InputError(f"PyTorch's output of a {name} differs by {error:.1e} of it; at most {limit:g} is the same network")
    return error


def _matrix_rate(dtype: str, sides: _Sides, products: tuple[int, int]) -> dict[str, float]:
    """The best rate of square products by each framework, in operations a second."""
    size, repeats = products
    modes = {Jaxdiff.framework: "", PyTorch.framework: next(iter(sides.by_mode))}
    entries = [Entry(framework, dtype, "products", dtype, mode) for framework, mode in modes.items()]
    results = race([_contestant(sides, entry, math.inf) for entry in entries], 7)
    return {result.contestant.framework: 2 * size**3 * repeats / min(result.seconds) for result in results}


def _title(told: dict[str, Any]) -> str:
    options = told["options"]
    return (
        f"{options['network']} ({told['network']['parameters'] / 1e6:.1f} M parameters), DDIM {options['steps']}, "
        f"batch {options['batch_size']}; {told['machine']}"
    )
