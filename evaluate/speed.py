"""`python -m evaluate speed`: jaxdiff beside PyTorch, the same weights on the same machine."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from console import plots
from console.terminal import console, progress
from evaluate import speed_jaxdiff, speed_pytorch
from evaluate.provenance import provenance
from evaluate.speed_work import NETWORKS, Work
from evaluate.timing import Contestant, Timed, best, race, ratio, summary
from evaluate.writing import finite, print_tables, whole, write_json
from jaxdiff.errors import InputError

PASS_ERROR, PATH_ERROR = 1e-3, 1e-2  # relative errors above which the two networks are not one
Mode = Literal["eager", "channels_last", "compile", "reduce_overhead", "max_autotune"]


@dataclass(frozen=True)
class Speed:
    """Times jaxdiff beside PyTorch (diffusers' UNet2DModel and DDIMScheduler) with the same weights, steps and batches.

    First the outputs are compared, of one pass of the network and of a whole run, in full float32: they must agree. Then
    sampling, a training step, switching and the safe denoiser are timed, all contestants in turn, building and compiling apart.
    The best of PyTorch's modes is the baseline: the ratio tells how many times faster than it a contestant is, round by round.
    The share is of the machine's own rate of matrix products in this precision, measured here, the better of both frameworks.
    Prints tables, writes speed.json and speed.png.

    For example:

      python -m evaluate speed --network rehearsal --steps 2 --batch-size 2 --train-batch-size 2 --rounds 3 --out speed

      python -m evaluate speed --network faces64 --batch-size 128 --modes eager channels_last compile max_autotune --out speed
    """

    out: Path
    """Folder of the report; older ones in it are replaced."""
    network: Literal["rehearsal", "small", "large", "faces64"] = "small"
    """rehearsal, small (32 channels) and large (128): 16x16, 32x32 and 32x32. faces64: the preset, 64x64."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a GPU if both frameworks see one."""
    dtypes: tuple[Literal["float32", "bfloat16"], ...] = ()
    """Precisions, the more important ones first; by default bfloat16 and float32 on a GPU (there with TF32, as users of either
    framework run it), float32 on a CPU."""
    modes: tuple[Mode, ...] = ("eager", "channels_last", "compile")
    """PyTorch's modes, the more important ones first."""
    tasks: tuple[Literal["sampling", "training", "methods"], ...] = ("sampling", "training", "methods")
    """methods: switching and the safe denoiser beside plain sampling, in jaxdiff."""
    steps: int = 50
    """Steps of DDIM, a divisor of 1000."""
    batch_size: int = 32
    """Images drawn at once."""
    train_batch_size: int = 32
    """Images of a training step."""
    train_steps: int = 5
    """Training steps that are timed together."""
    compare_runs: bool = True
    """Compare outputs of a whole run too, not of one pass only: a compilation more."""
    rounds: int = 7
    """How often each contestant is timed."""
    budget: float = float("inf")
    """Seconds after which nothing new is begun; the tables tell what was left out."""
    compile_limit: float = 300.0
    """Seconds that a mode of PyTorch may take for building, compiling and its first run."""
    seed: int = 0
    """Seed of weights, noise and images."""

    def __post_init__(self):
        for name in ("steps", "batch_size", "train_batch_size", "train_steps", "rounds"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        for name in ("budget", "compile_limit"):
            if not getattr(self, name) > 0:
                raise InputError(f"--{name.replace('_', '-')} must be above 0, got {getattr(self, name)}")
        if 1000 % self.steps:
            raise InputError(f"--steps must divide 1000, so that both frameworks have the same times; got {self.steps}")
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out must be a folder, got {self.out}")


@dataclass(frozen=True)
class Race:
    """Contestants that do the same.

    Arguments:
        task, dtype: what they do, in which precision.
        images: images that a run draws or trains on.
        flops: matrix operations of a run.
        contestants: the more important ones first.
    """

    task: str
    dtype: str
    images: int
    flops: int
    contestants: list[Contestant]


def speed(options: Speed) -> dict[str, Any]:
    """Compares, times, prints the tables and writes the report."""
    begun = time.perf_counter()
    # both frameworks share the card
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    device = _device(options)
    options.out.mkdir(parents=True, exist_ok=True)
    work = Work(
        NETWORKS[options.network], options.batch_size, options.steps, options.train_batch_size, options.train_steps,
        options.seed,
    )  # fmt: skip
    with jax.default_device(jax.devices("cpu" if device == "cpu" else "gpu")[0]):
        told = _measure(options, work, device, begun)
    write_json(options.out / "speed.json", finite(told))
    whole(options.out / "speed.png", lambda path: plots.speed(path, told["races"], _title(told)))
    console.print(f"wrote {options.out}/speed.json and speed.png", highlight=False)
    return told


def _device(options: Speed) -> str:
    """`cpu` or `cuda`."""
    both = speed_pytorch.has_gpu() and jax.default_backend() == "gpu"
    if options.device == "gpu" and not both:
        raise InputError(
            f"--device gpu needs a GPU in both frameworks; JAX has {jax.default_backend()!r}, "
            f"PyTorch has {'one' if speed_pytorch.has_gpu() else 'none'}"
        )
    return "cuda" if both and options.device != "cpu" else "cpu"


def _measure(options: Speed, work: Work, device: str, begun: float) -> dict[str, Any]:
    deadline = begun + options.budget
    dtypes = options.dtypes or (("bfloat16", "float32") if device == "cuda" else ("float32",))
    agreement = _compare(work, device, options.compare_runs)
    speed_pytorch.allow_tf32(True)
    rates = {dtype: _matrix_rate(dtype, device) for dtype in dtypes}
    _show_rates(agreement, rates)
    told = {
        "network": {"name": options.network, "parameters": work.parameters, "flops_per_image": work.pass_flops},
        "device": device,
        "agreement": agreement,
        "matrix_rate": rates,
        "races": [],
        **provenance(options),
    }
    told["versions"] |= speed_pytorch.versions()
    for each in _races(options, work, dtypes, device):
        with progress(f"{each.task}, {each.dtype}", len(each.contestants) * (options.rounds + 1)) as advance:
            results = race(each.contestants, options.rounds, deadline=deadline, advance=advance)
        told["races"].append(_told(each, results, max(rates[each.dtype].values())))
        _show(told["races"][-1])
        # what is measured stays measured, whatever comes
        write_json(options.out / "speed.json", finite(told))
    told["seconds"] = round(time.perf_counter() - begun, 1)
    return told


def _compare(work: Work, device: str, runs: bool) -> dict[str, float]:
    """Relative errors of PyTorch's outputs, in full float32. Raises `InputError` where the networks are not one."""
    rng, count = np.random.default_rng(work.seed), 4
    x = rng.standard_normal((count, *work.shape), np.float32)
    t, labels = np.linspace(0.01, 1.0, count, dtype=np.float32), work.labels(count)
    ours, theirs = speed_jaxdiff.one_pass(work, x, t, labels), speed_pytorch.one_pass(work, x, t, labels, device)
    found = {"pass": _agreeing("pass", ours, theirs, PASS_ERROR)}
    if runs:
        start, end = speed_jaxdiff.path(work, count)
        found["run"] = _agreeing("run", end, speed_pytorch.path_end(work, start, device), PATH_ERROR)
    return found


def _agreeing(name: str, ours: np.ndarray, theirs: np.ndarray, limit: float) -> float:
    """The norm of the difference, relative to that of `ours`. Raises `InputError` above the limit."""
    error = float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))
    if not error <= limit:
        raise InputError(f"PyTorch's output of a {name} differs by {error:.1e} of it; at most {limit:g} is the same network")
    return error


def _matrix_rate(dtype: str, device: str) -> dict[str, float]:
    """The best rate of square products by each framework, in operations a second."""
    size, repeats = (8192, 10) if device == "cuda" else (2048, 2)
    makers: dict[str, Callable] = {
        speed_jaxdiff.FRAMEWORK: speed_jaxdiff.matrix_rate(dtype, size, repeats),
        speed_pytorch.FRAMEWORK: speed_pytorch.matrix_rate(dtype, size, repeats, device),
    }
    results = race([Contestant(name, dtype, maker) for name, maker in makers.items()], 5)
    return {result.contestant.framework: 2 * size**3 * repeats / min(result.seconds) for result in results if result.seconds}


def _races(options: Speed, work: Work, dtypes: tuple[str, ...], device: str) -> list[Race]:
    """What is timed, the more important ones first."""
    modes = [mode for mode in options.modes if device == "cuda" or mode not in speed_pytorch.GPU_MODES]
    found = []
    for dtype in dtypes:
        for task, makers in (
            ("sampling", (speed_jaxdiff.sampling, speed_pytorch.sampling)),
            ("training", (speed_jaxdiff.training, speed_pytorch.training)),
        ):
            if task not in options.tasks:
                continue
            ours, theirs = makers
            contestants = [speed_jaxdiff.contestant("jit", ours(work, dtype))]
            contestants += [
                speed_pytorch.contestant(mode, theirs(work, dtype, mode, device), device, options.compile_limit)
                for mode in modes
            ]
            if task == "sampling" and device == "cuda" and dtype == "bfloat16":
                contestants.append(speed_jaxdiff.contestant("jit", ours(work, dtype), xla_attention=True))
            images, flops = {
                "sampling": (work.batch, work.batch * work.steps * work.pass_flops),
                "training": (work.train_batch * work.train_steps, work.train_batch * work.train_steps * work.train_flops),
            }[task]
            found.append(Race(task, dtype, images, flops, contestants))
    if "methods" in options.tasks:
        methods = [
            speed_jaxdiff.contestant(method, speed_jaxdiff.sampling(work, dtypes[0], method))
            for method in ("plain", "switching", "safe")
        ]
        found.append(Race("methods", dtypes[0], work.batch, work.batch * work.steps * work.pass_flops, methods))
    return found


def _told(each: Race, results: list[Timed], rate: float) -> dict[str, Any]:
    """A race, JSON-ready."""
    baseline = best(results, speed_pytorch.FRAMEWORK) or next((result for result in results if result.seconds), None)
    rows = []
    for result in results:
        row = {
            "name": result.contestant.name,
            "framework": result.contestant.framework,
            "warm_up_seconds": result.warm_up,
            "failure": result.failure,
            "peak_bytes": result.memory,
            "round_seconds": result.seconds,
        }
        if result.seconds:
            row["seconds"] = summary(result.seconds)
            row["images_per_second"] = each.images / row["seconds"]["median"]
            row["ratio"] = ratio(baseline.seconds, result.seconds)
            row["flops_per_second"] = each.flops / row["seconds"]["median"]
            row["share_of_matrix_rate"] = row["flops_per_second"] / rate
        rows.append(row)
    return {
        "task": each.task,
        "dtype": each.dtype,
        "images": each.images,
        "flops": each.flops,
        "baseline": baseline.contestant.name if baseline else None,
        "contestants": rows,
    }


def _show_rates(agreement: dict[str, float], rates: dict[str, dict[str, float]]) -> None:
    errors = ", ".join(f"a {name} {error:.1e}" for name, error in agreement.items())
    console.print(f"relative error of PyTorch's output, full float32: {errors}", highlight=False)
    rows = [(dtype, *(f"{1e-12 * by[name]:.2f}" for name in by)) for dtype, by in rates.items()]
    print_tables([("matrix products, TFLOP/s", ("dtype", *next(iter(rates.values()))), rows)], console)


def _show(told: dict[str, Any]) -> None:
    rows, failures = [], []
    for row in told["contestants"]:
        if row["failure"]:
            failures.append(f"{row['name']}: {row['failure']}")
        if "seconds" not in row:
            continue
        taken, faster = row["seconds"], row["ratio"]
        rows.append(
            (
                row["name"],
                f"{row['warm_up_seconds']:.1f}",
                f"{taken['median']:.3f}",
                f"{row['images_per_second']:.1f}",
                f"{faster['median']:.2f} [{faster['low']:.2f}, {faster['high']:.2f}]",
                f"{100 * row['share_of_matrix_rate']:.0f}",
                "-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**30:.1f}",
            )
        )
    title = f"{told['task']}, {told['dtype']}; times faster than {told['baseline']}"
    header = ("contestant", "warm-up", "s", "img/s", "faster", "%", "GiB")
    if rows:
        print_tables([(title, header, rows)], console)
    for failure in failures:
        console.print(failure, highlight=False, markup=False, soft_wrap=True)


def _title(told: dict[str, Any]) -> str:
    options = told["options"]
    return (
        f"{options['network']} ({told['network']['parameters'] / 1e6:.1f} M parameters), DDIM {options['steps']}, "
        f"batch {options['batch_size']}; {told['machine']}"
    )
