"""The comparisons of `evaluate speed`, and their order."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .speed_framework import Variant
from .speed_jaxdiff import Jaxdiff
from .speed_pytorch import PyTorch

TASKS = {
    "sampling": "draw a batch",
    "training": "training steps: noising, forward, backward, clipping, AdamW, moving average",
    "switching": "draw a batch with attribute switching",
    "safe": "draw a batch with the safe denoiser",
    "interval": "draw a batch with guidance between two noise levels alone",
    "search": "find tau: `search_direct` and the authors' procedure",
    "job": "load weights from a file, find tau, draw images by attribute switching at tau",
}


@dataclass(frozen=True)
class Comparison:
    """Variants that do the same task in the same precision.

    Arguments:
        task, dtype: the task and the precision.
        variants: the variants, in order of importance.
    """

    task: str
    dtype: str
    variants: tuple[Variant, ...]


def comparisons(
    tasks: Sequence[str], dtypes: Sequence[str], modes: Sequence[str]
) -> Iterator[Callable[[str | None], Comparison]]:
    """The comparisons in order of importance, each as a function of PyTorch's fastest mode so far, None at first.

    Sampling and training are timed in every mode and precision. The other tasks follow in the first precision, and only in
    PyTorch's fastest mode of sampling, which is compiled already.

    Arguments:
        tasks, dtypes: the chosen tasks and precisions.
        modes: the PyTorch modes.
    """

    def every_mode(task: str, dtype: str) -> Comparison:
        theirs = (Variant(PyTorch.name, mode, task, dtype, mode) for mode in modes)
        return Comparison(task, dtype, (Variant(Jaxdiff.name, "jit", task, dtype), *theirs))

    def best_mode(task: str, dtype: str, mode: str) -> Comparison:
        ours = {"search": "search_direct", "job": "jit"}.get(task, task)
        theirs = f"{mode}, authors'" if task == "search" else mode
        if task == "interval":  # diffusers has none
            return Comparison(
                task, dtype, (Variant(Jaxdiff.name, "plain", "sampling", dtype), Variant(Jaxdiff.name, task, task, dtype))
            )
        variants = Variant(Jaxdiff.name, ours, task, dtype), Variant(PyTorch.name, theirs, task, dtype, mode)
        plain = (Variant(Jaxdiff.name, "plain", "sampling", dtype),) if task in ("switching", "safe") else ()
        return Comparison(task, dtype, variants + plain)

    for dtype in dtypes:
        for task in ("sampling", "training"):
            if task in tasks:
                yield lambda _, task=task, dtype=dtype: every_mode(task, dtype)
    for task in TASKS:
        if task in tasks and task not in ("sampling", "training"):
            yield lambda best, task=task: best_mode(task, dtypes[0], best or modes[0])
