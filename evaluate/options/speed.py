"""What `jaxdiff evaluate speed` takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxdiff.errors import InputError

NetworkName = Literal["rehearsal", "small", "large", "faces64"]
Dtype = Literal["float32", "bfloat16"]
Mode = Literal["eager", "channels_last", "compile", "compile_channels_last", "reduce_overhead", "max_autotune"]
Task = Literal["sampling", "training", "switching", "safe", "search", "job"]


@dataclass(frozen=True)
class Speed:
    """Times jaxdiff beside PyTorch (diffusers' UNet2DModel and DDIMScheduler) with the same weights, steps and batches.

    First the outputs are compared, of one pass of the network and of a whole run, in full float32: they must agree. Then all
    contestants of a task are timed in turn, building and compiling apart. Each framework has a process of its own, jaxdiff one
    as `sample` sets it up and one as `train` does; on a GPU each mode of PyTorch has one, and all that race against each other
    are built and compiled side by side. PyTorch's best mode is the baseline: "faster" tells how many times faster
    than it a contestant is, the median over rounds of the ratio within a round. "%" is the share of the machine's own rate of
    matrix products, measured here by both frameworks. "GiB" is the peak of memory: on a GPU all that the framework holds, on a
    CPU what a run takes beyond what the process held before. Prints tables, writes speed.json and speed.png.

    For example:

      jaxdiff evaluate speed --out speed

      jaxdiff evaluate speed --network rehearsal --steps 4 --batch-size 2 --train-batch-size 2 --tasks sampling --out speed

      jaxdiff evaluate speed --network faces64 --batch-size 128 --modes eager compile max_autotune --budget 300 --out speed
    """

    out: Path
    """Folder of the report; an older one in it is replaced."""
    network: NetworkName = "small"
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
