"""What both frameworks have in common in `evaluate speed`: each builds and runs its contestants in a process of its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .held_memory import ProcessMemory
from .speed_work import Work
from .timing import Run, at_most


@dataclass(frozen=True)
class Entry:
    """What a contestant does.

    Arguments:
        framework: whose it is.
        name: what tells it from the framework's others.
        task: one of `evaluate.speed_races.TASKS`, or `products`.
        dtype: the precision.
        mode: of PyTorch.
    """

    framework: str
    name: str
    task: str
    dtype: str
    mode: str = ""


class Side(ABC):
    """A framework at the work that both do.

    Arguments:
        work: the work.
    """

    framework: ClassVar[str]

    def __init__(self, work: Work):
        self.work = work
        self._runs: dict[Entry, Run] = {}

    @abstractmethod
    def sees_gpu(self) -> bool:
        """Whether there is a GPU that it can use."""

    def use(self, device: str, folder: Path) -> None:
        """Computes on `cpu` or `cuda` from now on, and keeps weights in this folder, which is there."""
        self.device, self.folder = device, folder
        if device == "cpu":
            memory = ProcessMemory()
            self._forget, self._held = memory.forget, memory
        else:
            self._forget, self._held = self.device_memory()

    @abstractmethod
    def device_memory(self) -> tuple[Callable[[], Any], Callable[[], int | None]]:
        """What begins the account of a GPU's memory anew, and what tells the bytes that were held at the most since."""

    def forget_memory(self) -> None:
        """Begins the account of memory anew."""
        self._forget()

    def held_memory(self) -> int | None:
        """Bytes that were held at the most since; None where that is not known."""
        return self._held()

    def prepare(self, entry: Entry, seconds: float) -> None:
        """Builds what an entry does and runs it once. Raises TimeoutError where that takes longer."""
        with at_most(seconds):
            run = self.built(entry)
            run(0)
        self._runs[entry] = run

    def built(self, entry: Entry) -> Run:
        """What an entry does."""
        match entry.task:
            case "sampling" | "switching" | "safe":
                return self.drawing(entry.dtype, entry.mode, entry.task)
            case "training":
                return self.training(entry.dtype, entry.mode)
            case "search":
                return self.search(entry.dtype, entry.mode)
            case "job":
                return self.job(entry.dtype, entry.mode)
            case "products":
                return self.products(entry.dtype, *self.work.products(self.device))
        raise ValueError(f"no such task: {entry.task!r}")

    def run(self, entry: Entry, index: int) -> float | None:
        """Does a round's work, and tells the seconds that it left out."""
        return self._runs[entry](index)

    def forget_runs(self) -> None:
        """Lets go of all that was built."""
        self._runs.clear()

    def flops(self, task: str) -> int | None:
        """Matrix operations of a run as this framework does it; None where they are not counted."""
        images = self.work.images_of(task)
        if task in ("sampling", "switching", "safe"):
            return images * self.work.steps * self.pass_flops
        return images * self.train_flops if task == "training" else None

    @property
    @abstractmethod
    def pass_flops(self) -> int:
        """Matrix operations of one pass of the network over one image."""

    @property
    @abstractmethod
    def train_flops(self) -> int:
        """Matrix operations of the passes forward and back over one image."""

    @abstractmethod
    def drawing(self, dtype: str, mode: str, method: str) -> Run:
        """Draws a batch: plain `sampling`, with attribute `switching`, or `safe` from random unsafe images."""

    @abstractmethod
    def training(self, dtype: str, mode: str) -> Run:
        """Training steps: noising, forward, backward, clipping, AdamW, moving average."""

    @abstractmethod
    def search(self, dtype: str, mode: str) -> Run:
        """The search for tau."""

    @abstractmethod
    def job(self, dtype: str, mode: str) -> Run:
        """The whole job: weights from a file, tau, then images by attribute switching at it."""

    @abstractmethod
    def products(self, dtype: str, size: int, repeats: int) -> Run:
        """Products of two square matrices, `repeats` in a row."""

    @abstractmethod
    def one_pass(self, x: np.ndarray, t: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The network's output in float32, products in full precision."""
