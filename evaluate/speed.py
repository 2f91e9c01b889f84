"""`python -m evaluate speed`: jaxdiff beside PyTorch, the same weights on the same machine."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from console import plots
from console.terminal import console, progress
from evaluate import speed_jaxdiff, speed_pytorch, speed_report
from evaluate.provenance import provenance
from evaluate.speed_pytorch import Baseline
from evaluate.speed_races import races
from evaluate.speed_work import NETWORKS, Work
from evaluate.timing import Contestant, best, race
from evaluate.writing import finite, whole, write_json
from jaxdiff.errors import InputError

PASS_ERROR, RUN_ERROR = 1e-3, 1e-2  # relative errors above which the two networks are not one
Dtype = Literal["float32", "bfloat16"]
Mode = Literal["eager", "channels_last", "compile", "compile_channels_last", "reduce_overhead", "max_autotune"]
Task = Literal["sampling", "training", "switching", "safe", "search", "job"]


@dataclass(frozen=True)
class Speed:
    """Times jaxdiff beside PyTorch (diffusers' UNet2DModel and DDIMScheduler) with the same weights, steps and batches.

    First the outputs are compared, of one pass of the network and of a whole run, in full float32: they must agree. Then all
    contestants of a task are timed in turn, building and compiling apart. PyTorch's best mode is the baseline: "faster" tells
    how many times faster than it a contestant is, the median over rounds of the ratio within a round. "%" is the share of the
    machine's own rate of matrix products, measured here by both frameworks. "GiB" is the peak of memory: on a GPU all that the
    framework holds, on a CPU what a run takes beyond what the process held before. Prints tables, writes speed.json and
    speed.png.

    For example:

      python -m evaluate speed --out speed

      python -m evaluate speed --network rehearsal --steps 4 --batch-size 2 --train-batch-size 2 --tasks sampling --out speed

      python -m evaluate speed --network faces64 --batch-size 128 --modes eager compile max_autotune --budget 300 --out speed
    """

    out: Path
    """Folder of the report; an older one in it is replaced."""
    network: Literal["rehearsal", "small", "large", "faces64"] = "small"
    """rehearsal: 8x8. small: 32x32, 32 channels. large: DDPM's of CIFAR-10, 128 channels. faces64: the preset's, 64x64."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a GPU if both frameworks see one."""
    dtypes: tuple[Dtype, ...] = ()
    """Precisions, the more important ones first; by default bfloat16 and float32 on a GPU (there with TF32, as users of either
    framework run it), float32 on a CPU."""
    modes: tuple[Mode, ...] = ("eager", "compile", "channels_last", "compile_channels_last")
    """PyTorch's modes, the more important ones first. channels_last: the memory format that tensor cores like. compile:
    torch.compile; on a GPU also with CUDA graphs (reduce_overhead), or with kernels tried out (max_autotune), for minutes."""
    tasks: tuple[Task, ...] = ("sampling", "training", "switching", "safe", "search", "job")
    """search: tau, by `search_direct` and by the authors' procedure in PyTorch. job: weights from a file, tau, images at it."""
    steps: int = 50
    """Steps of DDIM, a divisor of 1000."""
    batch_size: int = 32
    """Images drawn at once."""
    train_batch_size: int = 32
    """Images of a training step."""
    train_steps: int = 5
    """Training steps that are timed together."""
    search_batch_size: int = 64
    """Noises of jaxdiff's search."""
    authors_batch_size: int = 256
    """Noises of the authors' procedure."""
    authors_steps: int = 1000
    """Of its 1000 steps, those that are run; the others are taken to last as long."""
    count: int = 256
    """Images of the whole job."""
    rounds: int = 7
    """How often each contestant is timed."""
    compare_runs: bool = True
    """Compare outputs of a whole run too, not of one pass only: a compilation more."""
    budget: float = float("inf")
    """Seconds after which nothing new is begun; what was left out is told."""
    compile_limit: float = 600.0
    """Seconds that a mode of PyTorch may take for building, compiling and its first run."""
    seed: int = 0
    """Seed of weights, noise and images."""

    def __post_init__(self):
        positive = (
            "steps", "batch_size", "train_batch_size", "train_steps", "search_batch_size", "authors_batch_size", "count",
            "rounds",
        )  # fmt: skip
        for name in positive:
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        for name in ("budget", "compile_limit"):
            if not getattr(self, name) > 0:
                raise InputError(f"--{name.replace('_', '-')} must be above 0, got {getattr(self, name)}")
        if 1000 % self.steps:
            raise InputError(f"--steps must divide 1000, so that both frameworks have the same times; got {self.steps}")
        if not 10 <= self.authors_steps <= 1000:
            raise InputError(f"--authors-steps must lie in [10, 1000], got {self.authors_steps}")
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out must be a folder, got {self.out}")


def speed(options: Speed) -> dict[str, Any]:
    """Compares, times, prints the tables and writes the report."""
    begun = time.perf_counter()
    # both frameworks share the card; JAX reads it when it first uses a device
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    torch, _ = speed_pytorch.libraries()
    device = _device(options.device, torch.cuda.is_available(), jax.default_backend())
    if device == "cpu" and set(options.modes) <= set(speed_pytorch.GPU_MODES):
        raise InputError(f"--modes takes one that runs on a CPU too, got {' '.join(options.modes) or 'none'}")
    work = Work(
        NETWORKS[options.network], options.batch_size, options.steps, options.train_batch_size, options.train_steps,
        options.search_batch_size, options.authors_batch_size, options.authors_steps, options.count, options.seed,
    )  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    with jax.default_device(jax.devices("gpu" if device == "cuda" else "cpu")[0]):
        told = _measure(options, work, Baseline(work, device, options.compile_limit), begun)
    whole(options.out / "speed.png", lambda path: plots.speed(path, told["races"], _title(told)))
    console.print(f"wrote {options.out}/speed.json and speed.png", highlight=False)
    return told


def _device(asked: str, pytorch_has_gpu: bool, jax_backend: str) -> str:
    """`cpu` or `cuda`. Raises `InputError` where a GPU is asked for that one of them does not see."""
    both = pytorch_has_gpu and jax_backend == "gpu"
    if asked == "gpu" and not both:
        seen = "a" if pytorch_has_gpu else "no"
        raise InputError(f"--device gpu takes a GPU that both see; JAX runs on {jax_backend!r}, PyTorch sees {seen} GPU")
    return "cuda" if both and asked != "cpu" else "cpu"


def _measure(options: Speed, work: Work, baseline: Baseline, begun: float) -> dict[str, Any]:
    dtypes = options.dtypes or (("bfloat16", "float32") if baseline.device == "cuda" else ("float32",))
    agreement = _compare(work, baseline, options.compare_runs)
    baseline.allow_tf32(True)
    rates = {dtype: _matrix_rate(dtype, baseline) for dtype in dtypes}
    speed_report.show_rates(agreement, rates, console)
    told = {
        "network": {"name": options.network, "parameters": work.parameters, "flops_per_image": work.pass_flops},
        "device": baseline.device,
        "agreement": agreement,
        "matrix_rate": rates,
        "races": [],
        **provenance(options),
    }
    told["versions"] |= {library.__name__: library.__version__ for library in speed_pytorch.libraries()}
    mode = None
    with tempfile.TemporaryDirectory() as folder:
        for lay_out in races(work, baseline, options.tasks, dtypes, options.modes, Path(folder)):
            each = lay_out(mode)
            with progress(f"{each.task}, {each.dtype}", len(each.contestants) * (options.rounds + 1)) as advance:
                results = race(each.contestants, options.rounds, deadline=begun + options.budget, advance=advance)
            if each.task == "sampling" and mode is None and (fastest := best(results, speed_pytorch.FRAMEWORK)):
                mode = fastest.contestant.mode
            told["races"].append(speed_report.told(each, results, max(rates[each.dtype].values())))
            speed_report.show(told["races"][-1], console)
            told["seconds"] = round(time.perf_counter() - begun, 1)
            # what is measured stays measured, whatever comes
            write_json(options.out / "speed.json", finite(told))
    return told


def _compare(work: Work, baseline: Baseline, runs: bool) -> dict[str, float]:
    """Relative errors of PyTorch's outputs, in full float32. Raises `InputError` where the networks are not one."""
    rng, count = np.random.default_rng(work.seed), 4
    x = rng.standard_normal((count, *work.shape), np.float32)
    t, labels = np.linspace(0.01, 1.0, count, dtype=np.float32), work.labels(count)
    found = {"pass": _agreeing("pass", speed_jaxdiff.one_pass(work, x, t, labels), baseline.one_pass(x, t, labels), PASS_ERROR)}
    if runs:
        start, end = speed_jaxdiff.run_ends(work, count)
        found["run"] = _agreeing("run", end, baseline.run_end(start), RUN_ERROR)
    return found


def _agreeing(name: str, ours: np.ndarray, theirs: np.ndarray, limit: float) -> float:
    """The norm of the difference, relative to that of `ours`. Raises `InputError` above the limit."""
    error = float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))
    if not error <= limit:
        raise InputError(f"PyTorch's output of a {name} differs by {error:.1e} of it; at most {limit:g} is the same network")
    return error


def _matrix_rate(dtype: str, baseline: Baseline) -> dict[str, float]:
    """The best rate of square products by each framework, in operations a second."""
    size, repeats = (8192, 10) if baseline.device == "cuda" else (2048, 2)
    makers: dict[str, Callable] = {
        speed_jaxdiff.FRAMEWORK: speed_jaxdiff.matrix_rate(dtype, size, repeats),
        speed_pytorch.FRAMEWORK: baseline.matrix_rate(dtype, size, repeats),
    }
    results = race([Contestant(name, dtype, maker) for name, maker in makers.items()], 7)
    return {result.contestant.framework: 2 * size**3 * repeats / min(result.seconds) for result in results}


def _title(told: dict[str, Any]) -> str:
    options = told["options"]
    return (
        f"{options['network']} ({told['network']['parameters'] / 1e6:.1f} M parameters), DDIM {options['steps']}, "
        f"batch {options['batch_size']}; {told['machine']}"
    )
