"""What `evaluate speed` times, and in which order."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evaluate import speed_jaxdiff
from evaluate.speed_pytorch import FRAMEWORK, GPU_MODES, Baseline
from evaluate.speed_work import Work
from evaluate.timing import Contestant

TASKS = {
    "sampling": "draw a batch",
    "training": "training steps: noising, forward, backward, clipping, AdamW, moving average",
    "switching": "draw a batch with attribute switching",
    "safe": "draw a batch with the safe denoiser",
    "search": "find tau: `search_direct` beside the authors' procedure",
    "job": "weights from a file, tau, images by attribute switching at it",
}


@dataclass(frozen=True)
class Race:
    """Contestants that do the same.

    Arguments:
        task, dtype: what they do, in which precision.
        contestants: the more important ones first.
        images: that a run draws or trains on; None where it is not told by images.
        flops: matrix operations of a run as each framework does it, by its name; empty where they differ by contestant.
    """

    task: str
    dtype: str
    contestants: tuple[Contestant, ...]
    images: int | None = None
    flops: Mapping[str, int] = field(default_factory=dict)


def races(
    work: Work, baseline: Baseline, tasks: Sequence[str], dtypes: Sequence[str], modes: Sequence[str], folder: Path
) -> Iterator[Callable[[str | None], Race]]:
    """The races, the more important ones first: each is a function of PyTorch's best mode so far, None at first.

    Sampling and training are run by every mode, in every precision. The other tasks follow in the first one, in PyTorch's best
    mode of sampling alone, which needs no other compilation for them.

    Arguments:
        work: the work.
        baseline: PyTorch at it.
        tasks, dtypes, modes: what is asked for.
        folder: for the weights of the whole job.
    """
    device = baseline.device
    modes = [mode for mode in modes if device == "cuda" or mode not in GPU_MODES]

    def ours(mode: str, prepare: Callable) -> Contestant:
        return speed_jaxdiff.contestant(mode, prepare, device)

    def every_mode(task: str, dtype: str) -> Race:
        makers = {
            "sampling": (speed_jaxdiff.sampling, baseline.sampling),
            "training": (speed_jaxdiff.training, baseline.training),
        }
        jaxdiff, pytorch = makers[task]
        contestants = (ours("jit", jaxdiff(work, dtype)), *(baseline.contestant(mode, pytorch(dtype, mode)) for mode in modes))
        if task == "sampling":
            images, passes, of = work.batch, work.batch * work.steps, "pass_flops"
        else:
            images = passes = work.train_batch * work.train_steps
            of = "train_flops"
        flops = {speed_jaxdiff.FRAMEWORK: passes * getattr(work, of), FRAMEWORK: passes * getattr(baseline, of)}
        return Race(task, dtype, contestants, images, flops)

    def best_mode(task: str, dtype: str, mode: str) -> Race:
        if task in ("switching", "safe"):
            plain = ours("plain", speed_jaxdiff.sampling(work, dtype))
            method = ours(task, speed_jaxdiff.sampling(work, dtype, task))
            theirs = baseline.contestant(mode, baseline.sampling(dtype, mode, task))
            passes = work.batch * work.steps
            flops = {speed_jaxdiff.FRAMEWORK: passes * work.pass_flops, FRAMEWORK: passes * baseline.pass_flops}
            return Race(task, dtype, (method, theirs, plain), work.batch, flops)
        if task == "search":
            searches = ours("search_direct", speed_jaxdiff.search(work, dtype)), baseline.search(dtype, mode)
            return Race(task, dtype, (searches[0], baseline.contestant(f"{mode}, authors'", searches[1])))
        jobs = speed_jaxdiff.job(work, dtype, folder), baseline.job(dtype, mode, folder)
        return Race(task, dtype, (ours("jit", jobs[0]), baseline.contestant(mode, jobs[1])), work.count)

    for dtype in dtypes:
        for task in ("sampling", "training"):
            if task in tasks:
                yield lambda _, task=task, dtype=dtype: every_mode(task, dtype)
    for task in TASKS:
        if task in tasks and task not in ("sampling", "training"):
            yield lambda best, task=task: best_mode(task, dtypes[0], best or modes[0])
