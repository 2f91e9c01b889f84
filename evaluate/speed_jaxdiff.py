"""jaxdiff's side of `evaluate speed`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff import guidance, model
from jaxdiff._console.device import prepare
from jaxdiff.fairness import Transition, search_direct
from jaxdiff.interop import unet2d
from jaxdiff.models.network import Network
from jaxdiff.references import references
from jaxdiff.solvers import sample
from jaxdiff.training import Objective, Optimization, initial_state, train_step

from .provenance import provenance
from .speed_side import Side
from .speed_work import PREDICTION, STRENGTH, TAU, UNSAFE, Work
from .timing import Run


def begin(work: Work, training: bool) -> "Jaxdiff":
    """jaxdiff in a process of its own, set up as `train` sets up its, or as the other programs do."""
    prepare(training)
    return Jaxdiff(work)


class Jaxdiff(Side):
    """jaxdiff at the work that both do."""

    framework = "jaxdiff"

    def sees_gpu(self) -> bool:
        return jax.default_backend() == "gpu"

    def use(self, device: str, folder: Path) -> None:
        super().use(device, folder)
        jax.config.update("jax_default_device", jax.devices("gpu" if device == "cuda" else "cpu")[0])

    def device_memory(self) -> tuple[Callable[[], Any], Callable[[], int | None]]:
        # JAX's account has one peak, which cannot be forgotten: it is told where it rose
        told = 0

        def memory() -> int | None:
            nonlocal told
            peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
            rose, told = peak > told, max(peak, told)
            return peak if rose else None

        return lambda: None, memory

    def provenance(self, options: Any) -> dict[str, Any]:
        """What a report says of where it comes from."""
        return provenance(options)

    def size(self) -> tuple[int, int]:
        """The number of weights, and of matrix operations of one pass of the network over one image."""
        return self.work.parameters, self.work.pass_flops

    def exported(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Settings and weights of diffusers' network that computes the same."""
        return unet2d.exported(self.work.config, self.work.network)

    @property
    def pass_flops(self) -> int:
        return self.work.pass_flops

    @property
    def train_flops(self) -> int:
        return self.work.train_flops

    def drawing(self, dtype: str, mode: str, method: str) -> Run:
        work = self.work
        denoise, condition = work.denoiser(dtype), jnp.asarray(work.labels(work.batch))
        if method == "switching":
            denoise, condition = guidance.switching(denoise, TAU), (1 - condition, condition)
        if method == "safe":
            unsafe = references(work.images(UNSAFE))
            policy = work.model(dtype).space.policy
            denoise = policy.guided(guidance.safe(denoise, work.process, unsafe, strength=STRENGTH))

        def run(index: int) -> None:
            jax.block_until_ready(self._drawn(denoise, condition, index))

        return run

    def _drawn(self, denoise: Callable, condition: Any, seed: int, **more: Any) -> Any:
        work, key = self.work, jax.random.key(seed)
        return sample(denoise, work.process, shape=work.shape, condition=condition, solver=work.solver, key=key, **more)

    def training(self, dtype: str, mode: str) -> Run:
        work = self.work
        network, optimization, objective = work.in_dtype(dtype), Optimization(), Objective(prediction=PREDICTION)
        # the state is given away at each step, and the weights are others' too
        state = initial_state(Network(jax.tree.map(jnp.copy, network.weights), network.structure), optimization)
        labels = jnp.asarray(work.labels(work.train_batch))[:, None]
        batch, key = {"x0": jnp.asarray(work.images(work.train_batch)), "labels": labels}, jax.random.key(work.seed)

        def run(index: int) -> None:
            nonlocal state
            for _ in range(work.train_steps):
                state, _ = train_step(state, work.process, batch, key, objective=objective, optimization=optimization)
            jax.block_until_ready(state)

        return run

    def search(self, dtype: str, mode: str) -> Run:
        """The search for tau at its defaults, with the solver of the drawing."""
        denoise = self.work.denoiser(dtype)

        def run(index: int) -> None:
            self._searched(denoise, index)

        return run

    def _searched(self, denoise: Callable, seed: int) -> Transition:
        work = self.work
        return search_direct(
            denoise, work.process, conditions=(0, 1), shape=work.shape, solver=work.solver, key=jax.random.key(seed),
            batch=work.search_batch,
        )  # fmt: skip

    def job(self, dtype: str, mode: str) -> Run:
        work, folder = self.work, self.folder / self.framework
        model.save(folder, work.model(dtype))

        def run(index: int) -> None:
            loaded = model.load(folder)
            found = self._searched(loaded.denoise, index)
            ends = work.labels(work.batch)
            fair = guidance.switching(loaded.denoise, found.tau)
            for low in work.batches():
                np.asarray(self._drawn(fair, (1 - ends, ends), index, indices=low + np.arange(work.batch)))

        return run

    def products(self, dtype: str, size: int, repeats: int) -> Run:
        a, b = (jax.random.normal(jax.random.key(i), (size, size), jnp.dtype(dtype)) for i in (0, 1))
        multiply = jax.jit(jnp.matmul)

        def run(index: int) -> None:
            jax.block_until_ready([multiply(a, b) for _ in range(repeats)])

        return run

    def one_pass(self, x: np.ndarray, t: np.ndarray, labels: np.ndarray) -> np.ndarray:
        with jax.default_matmul_precision("highest"):
            return np.asarray(jax.jit(Network.__call__)(self.work.in_dtype("float32"), x, t, labels))

    def run_ends(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first and the last states of a whole run in float32, products in full precision."""
        work = self.work
        with jax.default_matmul_precision("highest"):
            x = self._drawn(work.denoiser("float32"), work.labels(count), work.seed, path=True)
        return np.asarray(x[0]), np.asarray(x[-1])
