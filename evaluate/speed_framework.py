"""The interface of both frameworks in `evaluate speed`; each builds and runs its variants in its own process.

What the methods that the program calls take and return can be sent to a `Worker`.
"""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from jaxdiff._console.device import prepare

from .machine_load import cores
from .process_memory import ProcessMemory
from .speed_workload import Workload
from .timing import Benchmark, Run, time_limit
from .worker import Worker


def start(trains_series: bool = False) -> None:
    """Prepares the process of a framework, see `jaxdiff._console.device.prepare`; JAX uses a thread for each of its cores.

    PyTorch's process keeps freed memory as jaxdiff's does: on a CPU this makes PyTorch faster too.
    """
    prepare(trains_series)
    os.environ["PJRT_NPROC"] = str(len(cores()))


@dataclass(frozen=True)
class Variant:
    """One way to do a task.

    Arguments:
        framework: name of the framework.
        name: name among the variants of the framework.
        task: one of `evaluate.speed_comparisons.TASKS`, or `products`.
        dtype: the precision.
        mode: the PyTorch mode.
    """

    framework: str
    name: str
    task: str
    dtype: str
    mode: str = ""


def benchmark(process: Worker, variant: Variant, limit: float = math.inf, group: Hashable = None) -> Benchmark:
    """The benchmark of a variant of the framework in a process; for the others see `Benchmark`."""

    def prepare(seconds: float) -> Run:
        process.call("prepare", asdict(variant), seconds)
        return lambda index: process.call("run", asdict(variant), index)

    memory, reset_memory = (partial(process.call, method) for method in ("peak_memory", "reset_peak_memory"))
    return Benchmark(variant.framework, variant.name, prepare, limit, memory, reset_memory, group)


class Framework(ABC):
    """A framework, which does the tasks of the workload.

    Arguments:
        workload: the workload.
    """

    name: ClassVar[str]

    def __init__(self, workload: Workload):
        self.workload = workload
        self._runs: dict[Variant, Run] = {}

    @abstractmethod
    def sees_gpu(self) -> bool:
        """Whether the framework finds a GPU."""

    @abstractmethod
    def threads(self) -> int | None:
        """The number of threads that compute on a CPU; None if unknown."""

    def pinning(self) -> dict[str, Any]:
        """The cores that the process may use, and its `threads`."""
        return {"cores": list(cores()), "threads": self.threads()}

    def set_up(self, device: str, folder: str) -> None:
        """Sets the device, `cpu` or `cuda`, and an existing folder for weights."""
        self.device, self.folder = device, Path(folder)
        if device == "cpu":
            memory = ProcessMemory()
            self._reset_memory, self._peak_memory = memory.reset, memory
        else:
            self._reset_memory, self._peak_memory = self.device_memory()

    @abstractmethod
    def device_memory(self) -> tuple[Callable[[], Any], Callable[[], int | None]]:
        """Two functions: one resets the peak memory of the GPU, the other returns the peak in bytes since then."""

    def reset_peak_memory(self) -> None:
        """Resets the peak memory."""
        self._reset_memory()

    def peak_memory(self) -> int | None:
        """The peak memory in bytes since the last reset; None if unknown."""
        return self._peak_memory()

    def prepare(self, variant: Mapping[str, str], seconds: float) -> None:
        """Builds a variant, given by its fields, and runs it once. Raises TimeoutError if that takes more than `seconds`."""
        with time_limit(seconds):
            run = self.build_run(Variant(**variant))
            run(0)
        self._runs[Variant(**variant)] = run

    def build_run(self, variant: Variant) -> Run:
        """Returns a function that runs a variant."""
        match variant.task:
            case "sampling" | "switching" | "safe" | "interval":
                return self.drawing(variant.dtype, variant.mode, variant.task)
            case "training":
                return self.training(variant.dtype, variant.mode)
            case "search":
                return self.search(variant.dtype, variant.mode)
            case "job":
                return self.job(variant.dtype, variant.mode)
            case "products":
                return self.products(variant.dtype, *self.workload.products(self.device))
        raise ValueError(f"no such task: {variant.task!r}")

    def run(self, variant: Mapping[str, str], index: int) -> float | None:
        """Runs a prepared variant once; returns the estimated seconds of the steps that it skipped, if any."""
        return self._runs[Variant(**variant)](index)

    def clear_runs(self) -> None:
        """Releases all prepared variants."""
        self._runs.clear()

    def flops(self, task: str) -> int | None:
        """Matrix operations of a run in this framework; None if they are not counted."""
        images = self.workload.images_of(task)
        if task in ("sampling", "switching", "safe"):
            return images * self.workload.solver.evaluations * self.pass_flops
        return images * self.train_flops if task == "training" else None

    @property
    @abstractmethod
    def pass_flops(self) -> int:
        """Matrix operations of one pass of the network over one image."""

    @property
    @abstractmethod
    def train_flops(self) -> int:
        """Matrix operations of a forward and a backward pass over one image."""

    @abstractmethod
    def drawing(self, dtype: str, mode: str, method: str) -> Run:
        """Draws a batch: `sampling`, `switching` (of attributes), or `safe` (the safe denoiser, with random unsafe images)."""

    @abstractmethod
    def training(self, dtype: str, mode: str) -> Run:
        """Training steps: noising, forward, backward, clipping, AdamW, moving average."""

    @abstractmethod
    def search(self, dtype: str, mode: str) -> Run:
        """The search for tau."""

    @abstractmethod
    def job(self, dtype: str, mode: str) -> Run:
        """The whole job: loads weights from a file, finds tau, and draws images by attribute switching at tau."""

    @abstractmethod
    def products(self, dtype: str, size: int, repeats: int) -> Run:
        """Multiplies two square matrices `repeats` times."""

    @abstractmethod
    def one_pass(self, x: np.ndarray, t: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The network's output in float32, products in full precision."""
