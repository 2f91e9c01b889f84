"""Options of `jaxdiff evaluate speed`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff.bounds import Bounds, Count, Seed, Size
from jaxdiff.errors import InputError

from .checks import require_folder

NetworkName = Literal["rehearsal", "small", "large", "faces64", "sd-quarter", "sd-rehearsal", "etth", "series-rehearsal"]
Kind = Literal["images", "text", "series"]
Dtype = Literal["float32", "bfloat16"]
Mode = Literal["eager", "channels_last", "compile", "compile_channels_last", "reduce_overhead", "max_autotune"]
Task = Literal["sampling", "training", "switching", "safe", "interval", "search", "job"]

TASKS_OF: dict[Kind, tuple[Task, ...]] = {
    "images": ("sampling", "training", "switching", "safe", "search", "job"),
    "text": ("sampling", "interval"),
    "series": ("sampling", "training"),
}
"""The tasks of each kind of network: of labelled images, text-to-image, and of time series."""


@dataclass(frozen=True)
class Speed(CheckedOptions):
    """Compares the speed of jaxdiff and PyTorch (diffusers' UNet2DModel and DDIMScheduler; for time series a network of
    PyTorch's layers and the same sampler) with equal weights, steps and batches.

    First the outputs of one network evaluation and of a whole run are compared in full float32: they must agree. Then the
    variants of each task are timed in alternation, without compilation. Each framework runs in its own process; jaxdiff in
    one set up as by `sample` and one as by `train`, PyTorch on a GPU in one per mode. The baseline is PyTorch's fastest mode.
    Columns: "faster" is the speed-up over the baseline, the median over rounds of the ratio within a round; "%" the share of
    the machine's measured rate of matrix products; "GiB" the peak memory, on a GPU of the framework, on a CPU in addition to
    what the process held before. Prints tables, and writes speed.json, speed.md and speed.png.

    The machine must be quiet: other processes may use at most 0.2 cores, and each framework's rate of matrix products, measured
    alone before the runs and after each task, must not fall below 0.8 of its best in the run. Otherwise nothing is timed, or,
    if the disturbance comes later, its tasks are reported without ratios. Both frameworks use the same cores, those of the
    command, with a thread for each.

    For example:

      jaxdiff evaluate speed --out speed

      jaxdiff evaluate speed --network rehearsal --steps 4 --batch-size 2 --train-batch-size 2 --tasks sampling --out speed

      jaxdiff evaluate speed --network etth --steps 40 --batch-size 1000 --train-batch-size 128 --out speed

      jaxdiff evaluate speed --network faces64 --batch-size 128 --modes eager compile max_autotune --budget 300 --out speed
    """

    out: Path
    """Output folder of the report; an existing report is replaced."""
    network: NetworkName = "small"
    """rehearsal: 8x8, a quick test. small: 32x32, 32 channels. large: DDPM's CIFAR-10 network, 128 channels. faces64: the
    preset, 64x64. sd-quarter: text-to-image, Stable Diffusion 1.5 with a quarter of its channels, 256x256. sd-rehearsal: a
    quick test of that, 64x64. etth: time series, the preset's bridge of 24 rows of seven columns; its images are windows.
    series-rehearsal: a quick test of that."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Device; auto: a GPU if both frameworks find one."""
    dtypes: tuple[Dtype, ...] = ()
    """Precisions, in order of importance; by default bfloat16 and float32 (with TF32) on a GPU, float32 on a CPU."""
    modes: tuple[Mode, ...] = ("eager", "compile", "channels_last", "compile_channels_last")
    """PyTorch modes, in order of importance. channels_last: the memory format for tensor cores. compile: torch.compile. GPU
    only: reduce_overhead (CUDA graphs) and max_autotune (kernel autotuning, which takes minutes)."""
    tasks: tuple[Task, ...] = ()
    """Tasks to time; by default all of the network: sampling and interval for text-to-image, sampling and training for
    series. interval: guidance between two noise levels alone, compared with guidance at every step. search: find tau, with
    `search_direct` and with the authors' procedure in PyTorch. job: load weights, find tau, draw images."""
    steps: Size = 50
    """Number of steps: of DDIM, a divisor of 1000, or of the sampler of bridges."""
    batch_size: Size = 32
    """Images per sampling batch."""
    train_batch_size: Size = 32
    """Images per training step."""
    train_steps: Size = 5
    """Training steps per timing."""
    search_batch_size: Size = 64
    """Noise samples in jaxdiff's search."""
    authors_batch_size: Size = 256
    """Noise samples in the authors' procedure."""
    authors_steps: Annotated[int, Bounds(least=10, most=1000)] = 1000
    """Steps of the authors' procedure to run, in [10, 1000]; its time is extrapolated to 1000 steps."""
    count: Count = 256
    """Images drawn in the task job."""
    rounds: Size = 7
    """Timings per variant."""
    compare_runs: bool = True
    """Compare the outputs of a whole run, not only of one network evaluation; needs one more compilation."""
    budget: Annotated[float, Bounds(above=0, infinite=True)] = float("inf")
    """Time budget in seconds, after which no new measurement starts; skipped variants are reported."""
    compile_limit: Annotated[float, Bounds(above=0, infinite=True)] = 600.0
    """Time limit in seconds for building, compiling and first running a PyTorch mode."""
    busy: bool = False
    """Time on a busy machine too, and report no ratios, which would not be valid."""
    seed: Seed = 0
    """Random seed of weights, noise and images."""

    def __post_init__(self):
        super().__post_init__()
        if self.kind != "series" and 1000 % self.steps:
            raise InputError(f"--steps must divide 1000, so that both frameworks have the same times; got {self.steps}")
        if unknown := [task for task in self.tasks if task not in TASKS_OF[self.kind]]:
            raise InputError(f"--tasks of --network {self.network} are {', '.join(TASKS_OF[self.kind])}; got {unknown[0]}")
        require_folder(self.out)

    @property
    def kind(self) -> Kind:
        """What the network draws: labelled images, images of prompts, or time series."""
        if self.network.startswith("sd-"):
            return "text"
        return "series" if self.network in ("etth", "series-rehearsal") else "images"
