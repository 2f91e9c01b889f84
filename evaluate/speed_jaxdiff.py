"""jaxdiff in `evaluate speed`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff import guidance, model
from jaxdiff.fairness import Transition, search_direct
from jaxdiff.interop import unet2d
from jaxdiff.models.network import Network
from jaxdiff.references import references
from jaxdiff.solvers import sample
from jaxdiff.training import Optimization, initial_state, train_step

from .machine_load import PROC
from .provenance import devices
from .speed_framework import Framework, start
from .speed_workload import NETWORKS, STRENGTH, TAU, UNSAFE, Workload
from .timing import Run


def build(network: str, sizes: Mapping[str, int], training: bool) -> "Jaxdiff":
    """Builds jaxdiff in its own process; for sizes see `Workload`.

    Networks of images are set up alike for training and for the rest; those of series are not, see `evaluate.speed_series`.
    """
    start()
    return Jaxdiff(Workload(NETWORKS[network], **sizes))


class Jaxdiff(Framework):
    """jaxdiff, which does the tasks of the workload."""

    name = "jaxdiff"

    def sees_gpu(self) -> bool:
        return jax.default_backend() == "gpu"

    def threads(self) -> int | None:
        """Those of XLA's pool, by their names."""
        names = [file.read_text() for file in PROC.glob("self/task/*/comm")]
        return sum("XLAEigen" in name for name in names) or None

    def set_up(self, device: str, folder: str) -> None:
        super().set_up(device, folder)
        jax.config.update("jax_default_device", jax.devices("gpu" if device == "cuda" else "cpu")[0])

    def device_memory(self) -> tuple[Callable[[], Any], Callable[[], int | None]]:
        # JAX cannot reset its peak, so the peak of a run is known only if it rises
        peak_before = 0

        def memory() -> int | None:
            nonlocal peak_before
            peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
            rose, peak_before = peak > peak_before, max(peak, peak_before)
            return peak if rose else None

        return lambda: None, memory

    def devices(self) -> str:
        """The devices, for the provenance of a report."""
        return devices()

    def size(self) -> tuple[int, int]:
        """The number of weights, and of matrix operations of one pass of the network over one image."""
        return self.workload.parameters, self.workload.pass_flops

    def exported(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings and weights of diffusers' network that computes the same."""
        return unet2d.exported(self.workload.config, self.workload.network)

    @property
    def pass_flops(self) -> int:
        return self.workload.pass_flops

    @property
    def train_flops(self) -> int:
        return self.workload.train_flops

    def drawing(self, dtype: str, mode: str, method: str) -> Run:
        workload = self.workload
        denoise, condition = workload.denoiser(dtype), jnp.asarray(workload.labels(workload.batch))
        if method == "switching":
            denoise, condition = guidance.switching(denoise, TAU), (1 - condition, condition)
        if method == "safe":
            unsafe = references(workload.images(UNSAFE))
            policy = workload.model(dtype).policy
            denoise = policy.guided(guidance.safe(denoise, workload.process, unsafe, strength=STRENGTH))

        def run(index: int) -> None:
            jax.block_until_ready(self._drawn(denoise, condition, index))

        return run

    def _drawn(self, denoise: Callable, condition: Any, seed: int, **more: Any) -> Any:
        workload, key = self.workload, jax.random.key(seed)
        return sample(
            denoise, workload.process, shape=workload.shape, condition=condition, solver=workload.solver, key=key, **more
        )

    def training(self, dtype: str, mode: str) -> Run:
        workload = self.workload
        network, optimization, objective = workload.in_dtype(dtype), Optimization(), workload.objective
        # each step donates the state, but the weights are shared
        state = initial_state(Network(jax.tree.map(jnp.copy, network.weights), network.structure), optimization)
        batch, key = workload.training_batch(), jax.random.key(workload.seed)

        def run(index: int) -> None:
            nonlocal state
            for _ in range(workload.train_steps):
                state, _ = train_step(state, workload.process, batch, key, objective=objective, optimization=optimization)
            jax.block_until_ready(state)

        return run

    def search(self, dtype: str, mode: str) -> Run:
        """The search for tau with default options and the solver of sampling."""
        denoise = self.workload.denoiser(dtype)

        def run(index: int) -> None:
            self._searched(denoise, index)

        return run

    def _searched(self, denoise: Callable, seed: int) -> Transition:
        workload = self.workload
        return search_direct(
            denoise, workload.process, conditions=(0, 1), shape=workload.shape, solver=workload.solver,
            key=jax.random.key(seed), batch=workload.search_batch,
        )  # fmt: skip

    def job(self, dtype: str, mode: str) -> Run:
        workload, folder = self.workload, self.folder / self.name
        model.save(folder, workload.model(dtype))

        def run(index: int) -> None:
            loaded = model.load(folder)
            found = self._searched(loaded.denoise, index)
            ends = workload.labels(workload.batch)
            fair = guidance.switching(loaded.denoise, found.tau)
            for low in workload.batches():
                np.asarray(self._drawn(fair, (1 - ends, ends), index, indices=low + np.arange(workload.batch)))

        return run

    def products(self, dtype: str, size: int, repeats: int) -> Run:
        a, b = (jax.random.normal(jax.random.key(i), (size, size), jnp.dtype(dtype)) for i in (0, 1))
        multiply = jax.jit(jnp.matmul)

        def run(index: int) -> None:
            jax.block_until_ready([multiply(a, b) for _ in range(repeats)])

        return run

    def one_pass(self, x: np.ndarray, t: np.ndarray, labels: np.ndarray) -> np.ndarray:
        with jax.default_matmul_precision("highest"):
            return np.asarray(jax.jit(Network.__call__)(self.workload.in_dtype("float32"), x, t, labels))

    def run_ends(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last states of a whole run in float32, products in full precision."""
        workload = self.workload
        with jax.default_matmul_precision("highest"):
            x = self._drawn(workload.denoiser("float32"), workload.labels(count), workload.seed, path=True)
        return np.asarray(x[0]), np.asarray(x[-1])
