"""What `evaluate speed` times, and in which order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .speed_jaxdiff import Jaxdiff
from .speed_pytorch import PyTorch
from .speed_side import Entry

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
    """Entries that do the same.

    Arguments:
        task, dtype: what they do, in which precision.
        entries: the more important ones first.
    """

    task: str
    dtype: str
    entries: tuple[Entry, ...]


def races(tasks: Sequence[str], dtypes: Sequence[str], modes: Sequence[str]) -> Iterator[Callable[[str | None], Race]]:
    """The races, the more important ones first: each is a function of PyTorch's best mode so far, None at first.

    Sampling and training are run by every mode, in every precision. The other tasks follow in the first one, in PyTorch's best
    mode of sampling alone, which needs no other compilation for them.

    Arguments:
        tasks, dtypes: what is asked for.
        modes: PyTorch's.
    """

    def every_mode(task: str, dtype: str) -> Race:
        theirs = (Entry(PyTorch.framework, mode, task, dtype, mode) for mode in modes)
        return Race(task, dtype, (Entry(Jaxdiff.framework, "jit", task, dtype), *theirs))

    def best_mode(task: str, dtype: str, mode: str) -> Race:
        ours = {"search": "search_direct", "job": "jit"}.get(task, task)
        theirs = f"{mode}, authors'" if task == "search" else mode
        entries = Entry(Jaxdiff.framework, ours, task, dtype), Entry(PyTorch.framework, theirs, task, dtype, mode)
        plain = (Entry(Jaxdiff.framework, "plain", "sampling", dtype),) if task in ("switching", "safe") else ()
        return Race(task, dtype, entries + plain)

    for dtype in dtypes:
        for task in ("sampling", "training"):
            if task in tasks:
                yield lambda _, task=task, dtype=dtype: every_mode(task, dtype)
    for task in TASKS:
        if task in tasks and task not in ("sampling", "training"):
            yield lambda best, task=task: best_mode(task, dtypes[0], best or modes[0])
