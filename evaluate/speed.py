"""`jaxdiff evaluate speed`: comparison with PyTorch, with the same weights on the same machine."""

import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxdiff._console import plots
from jaxdiff._console.output import claimed
from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError

from . import speed_jaxdiff, speed_pytorch, speed_report, speed_series, speed_text
from .machine_load import cores
from .options.speed import TASKS_OF, Speed
from .processor import processor
from .provenance import provenance
from .speed_checks import Check, Checks, best_rates, disturbances, idle_load, judged, matrix_rates, require_quiet
from .speed_comparisons import comparisons
from .speed_framework import Variant, benchmark
from .speed_jaxdiff import Jaxdiff
from .speed_pytorch import PyTorch
from .speed_series_workload import SERIES, SeriesWorkload
from .speed_text_workload import PIPELINES, TextWorkload
from .speed_workload import NETWORKS, Workload
from .timing import Benchmark, best, time_alternately
from .worker import Worker
from .writing import finite, write_json, write_text

PASS_ERROR, RUN_ERROR = 1e-3, 1e-2  # relative errors above which the two networks are considered different


def speed(options: Speed) -> dict[str, Any]:
    """Compares, times, prints the tables and writes the report."""
    with claimed(options.out):
        return _run(options)


def _run(options: Speed) -> dict[str, Any]:
    start_time = time.perf_counter()
    # known at once; checked again, with the rates of matrix products, when both frameworks are ready
    require_quiet([Check("before the start", idle_load([os.getpid()]))], options.busy)
    # both frameworks share the GPU; JAX reads this variable when it first uses a device
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    sizes = {
        "batch": options.batch_size, "steps": options.steps, "train_batch": options.train_batch_size,
        "train_steps": options.train_steps, "search_batch": options.search_batch_size,
        "authors_batch": options.authors_batch_size, "authors_steps": options.authors_steps, "count": options.count,
        "seed": options.seed,
    }  # fmt: skip
    builders: tuple[tuple[Any, ...], ...]
    match options.kind:
        case "text":
            workload: Workload = TextWorkload(PIPELINES[options.network], **sizes)
            builders = ((speed_text.build_pytorch,), (speed_text.build_jaxdiff,))
        case "series":
            workload = SeriesWorkload(SERIES[options.network], **sizes)
            build = speed_series.build_jaxdiff
            builders = ((speed_series.build_pytorch,), (build, False), (build, True))
        case "images":
            workload = Workload(NETWORKS[options.network], **sizes)
            builders = ((speed_pytorch.build,), (speed_jaxdiff.build, False), (speed_jaxdiff.build, True))
    with ExitStack() as stack:

        def worker(build: Callable[..., Any], *more: Any) -> Worker:
            return Worker(build, options.network, sizes, *more)

        def start(*builders: tuple[Any, ...]) -> list[Worker]:
            with ThreadPoolExecutor() as threads:
                return list(threads.map(lambda each: stack.enter_context(worker(*each)), builders))

        pytorch, jaxdiff, *trainers = start(*builders)
        device = _device(options.device, pytorch.call("sees_gpu"), jaxdiff.call("sees_gpu"))
        left_out = (*speed_pytorch.GPU_MODES * (device != "cuda"), *speed_pytorch.CHANNELS_LAST * (options.kind == "series"))
        modes = [mode for mode in options.modes if mode not in left_out]
        if not modes:
            raise InputError(f"--modes takes one that runs here, got {' '.join(options.modes) or 'none'}")
        others = start(*builders[:1] * (len(modes) - 1)) if device == "cuda" else [pytorch] * (len(modes) - 1)
        # a text-to-image pipeline is not trained
        trainer = trainers[0] if trainers else jaxdiff
        processes = _Processes(jaxdiff, trainer, dict(zip(modes, (pytorch, *others), strict=True)), concurrent=device == "cuda")
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for process in (jaxdiff, *trainers, *processes.pytorch):
            process.call("set_up", device, folder)
        exported = jaxdiff.call("exported")
        for process in processes.pytorch:
            process.call("load_weights", *exported)
        report = _measure(options, workload, processes, device, modes, start_time)
    plots.speed(options.out / "speed.png", report["comparisons"], _title(report))
    console.print(f"wrote {options.out}/speed.json, speed.md and speed.png", highlight=False)
    return report


def _device(given: str, pytorch_sees: bool, jax_sees: bool) -> str:
    """Returns `cpu` or `cuda`. Raises `InputError` if a GPU is required but a framework finds none."""
    both = pytorch_sees and jax_sees
    if given == "gpu" and not both:
        found = {True: "a GPU", False: "none"}
        raise InputError(
            f"--device gpu needs a GPU that both frameworks find; JAX finds {found[jax_sees]}, PyTorch {found[pytorch_sees]}"
        )
    return "cuda" if both and given != "cpu" else "cpu"


@dataclass(frozen=True)
class _Processes:
    """The processes in which the frameworks run.

    Arguments:
        jaxdiff, trainer: jaxdiff, and jaxdiff for training, whose peak memory is then its own.
        by_mode: PyTorch, by mode; on a CPU one process for all modes.
        concurrent: whether they compile at the same time; not on a CPU, which compilers and benchmarks would share.
    """

    jaxdiff: Worker
    trainer: Worker
    by_mode: dict[str, Worker]
    concurrent: bool

    @property
    def identifiers(self) -> list[int]:
        """The identifiers of all our processes, this one included."""
        return [os.getpid(), *(process.identifier for process in {self.jaxdiff, self.trainer, *self.pytorch})]

    @property
    def pytorch(self) -> list[Worker]:
        return list(dict.fromkeys(self.by_mode.values()))

    def of(self, variant: Variant) -> Worker:
        if variant.framework == PyTorch.name:
            return self.by_mode[variant.mode]
        return self.trainer if variant.task == "training" else self.jaxdiff


def _measure(
    options: Speed, workload: Workload, processes: _Processes, device: str, modes: Sequence[str], start_time: float
) -> dict[str, Any]:
    jaxdiff, pytorch = processes.jaxdiff, processes.pytorch[0]
    threads = _pinning(processes, device)
    dtypes = options.dtypes or (("bfloat16", "float32") if device == "cuda" else ("float32",))
    agreement = _compare(workload, jaxdiff, pytorch, options.compare_runs)
    for process in processes.pytorch:
        process.call("allow_tf32", True)
    checks = Checks(lambda dtype: _matrix_rates(dtype, processes, workload.products(device)), processes.identifiers)
    checks.idle("before the runs", dtypes)
    require_quiet(checks.made, options.busy)
    parameters, operations = jaxdiff.call("size")
    report = {
        "network": {"name": options.network, "parameters": parameters, "flops_per_image": operations},
        "device": device,
        "agreement": agreement,
        "processor": {**processor(), "cores": cores(), "threads": threads},
        "matrix_rate": best_rates(checks.made),
        "comparisons": [],
        "checks": [check.json() for check in checks.made],
        **provenance(options, jaxdiff.call("devices")),
    }
    report["versions"] |= pytorch.call("versions")
    speed_report.show_start(report, console)
    mode, measured, judges = None, [], []
    for comparison_in in comparisons(options.tasks or TASKS_OF[options.kind], dtypes, modes):
        each = comparison_in(mode)
        name, load = f"{each.task}, {each.dtype}", checks.load()
        benchmarks = [_benchmark(processes, variant, options.compile_limit) for variant in each.variants]
        deadline = start_time + options.budget
        with progress(name, len(benchmarks) * (options.rounds + 1)) as advance:
            results = time_alternately(benchmarks, options.rounds, deadline=deadline, advance=advance, around=load)
        if each.task == "sampling" and mode is None and (fastest := best(results, PyTorch.name)):
            mode = fastest.benchmark.mode
        one_of_each = {variant.framework: processes.of(variant) for variant in reversed(each.variants)}
        flops = {framework: process.call("flops", each.task) for framework, process in one_of_each.items()}
        for process in {processes.of(variant) for variant in each.variants}:
            process.call("clear_runs")
        judges.append(checks.after(name, load, [each.dtype]))
        rates = best_rates(checks.made)
        rate = max(rates[each.dtype].values())
        measured.append(speed_report.comparison_json(each, results, rate, workload.images_of(each.task), flops))
        # a better rate found later may show that an earlier comparison was disturbed
        report["comparisons"] = [
            judged(comparison, disturbances(judge, rates), options.busy)
            for comparison, judge in zip(measured, judges, strict=True)
        ]
        report |= {"matrix_rate": rates, "checks": [check.json() for check in checks.made]}
        report["seconds"] = round(time.perf_counter() - start_time, 1)
        # saved after each comparison, so that an interruption loses no results
        write_json(options.out / "speed.json", finite(report))
        write_text(options.out / "speed.md", speed_report.markdown_report(report))
        speed_report.show(report["comparisons"][-1], speed_report.machine(report), console)
    speed_report.show_verdict(report, console)
    return report


def _benchmark(processes: _Processes, variant: Variant, limit: float) -> Benchmark:
    """The benchmark of a variant, in its process."""
    process = processes.of(variant)
    # compilation by XLA cannot be interrupted
    limit = limit if variant.framework == PyTorch.name else math.inf
    return benchmark(process, variant, limit, group=process if processes.concurrent else None)


def _compare(workload: Workload, jaxdiff: Worker, pytorch: Worker, runs: bool) -> dict[str, float]:
    """Relative errors of PyTorch's outputs, in full float32. Raises `InputError` if the networks differ."""
    rng, count = np.random.default_rng(workload.seed), 4
    x = rng.standard_normal((count, *workload.shape), np.float32)
    t, labels = np.linspace(0.01, 1.0, count, dtype=np.float32), workload.labels(count)
    ours, theirs = (process.call("one_pass", x, t, labels) for process in (jaxdiff, pytorch))
    found = {"pass": _agreeing("pass", ours, theirs, PASS_ERROR)}
    if runs:
        start, end = jaxdiff.call("run_ends", count)
        found["run"] = _agreeing("run", end, pytorch.call("run_end", start), RUN_ERROR)
    return found


def _agreeing(name: str, ours: np.ndarray, theirs: np.ndarray, limit: float) -> float:
    """The norm of the difference, relative to that of `ours`. Raises `InputError` above the limit."""
    error = float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))
    if not error <= limit:
        raise InputError(f"PyTorch's output of a {name} has a relative error of {error:.1e}; at most {limit:g} is allowed")
    return error


def _matrix_rates(dtype: str, processes: _Processes, products: tuple[int, int]) -> dict[str, list[float]]:
    """The rates of matrix products by each framework, in operations per second, in each round."""
    size, repeats = products
    modes = {Jaxdiff.name: "", PyTorch.name: next(iter(processes.by_mode))}
    variants = [Variant(framework, dtype, "products", dtype, mode) for framework, mode in modes.items()]
    rates = matrix_rates([_benchmark(processes, variant, math.inf) for variant in variants], 2 * size**3 * repeats)
    for variant in variants:
        processes.of(variant).call("clear_runs")
    return rates


def _pinning(processes: _Processes, device: str) -> dict[str, int | None]:
    """The number of threads of each framework. Raises `InputError` if they or the cores differ."""
    found = {
        name: process.call("pinning")
        for name, process in ((Jaxdiff.name, processes.jaxdiff), (PyTorch.name, processes.pytorch[0]))
    }
    allowed = {tuple(each["cores"]) for each in found.values()}
    threads = {name: each["threads"] for name, each in found.items()}
    if len(allowed) > 1 or (device == "cpu" and len(set(threads.values()) - {None}) > 1):
        told = "; ".join(f"{name} has cores {each['cores']} and {each['threads']} threads" for name, each in found.items())
        raise InputError(
            f"both frameworks must use the same cores and threads: {told}. Unset variables that bind threads (OMP_...)"
        )
    return threads


def _title(report: dict[str, Any]) -> str:
    options = report["options"]
    return (
        f"{options['network']} ({report['network']['parameters'] / 1e6:.1f} M parameters), {options['steps']} steps, "
        f"batch {options['batch_size']}\n{speed_report.machine(report)}"
    )
