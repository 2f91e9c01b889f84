"""jaxdiff's contestants in `evaluate speed`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evaluate.held_memory import ProcessMemory
from evaluate.speed_work import PREDICTION, STRENGTH, TAU, UNSAFE, Work
from evaluate.timing import Contestant, Run
from jaxdiff import guidance, model
from jaxdiff.fairness import Transition, search_direct
from jaxdiff.models.network import Network
from jaxdiff.references import references
from jaxdiff.solvers import sample
from jaxdiff.training import Objective, Optimization, initial_state, train_step

FRAMEWORK = "jaxdiff"


class _DeviceMemory:
    """JAX's account of a device's memory has one peak, which cannot be forgotten: it is told where it rose."""

    told = 0

    def __call__(self) -> int | None:
        peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
        rose, _DeviceMemory.told = peak > _DeviceMemory.told, max(peak, _DeviceMemory.told)
        return peak if rose else None


def contestant(mode: str, prepare: Callable[[], Run], device: str) -> Contestant:
    """A contestant, on `cpu` or `cuda`."""
    if device == "cpu":
        memory = ProcessMemory()
        return Contestant(FRAMEWORK, mode, prepare, memory=memory, forget=memory.forget)
    return Contestant(FRAMEWORK, mode, prepare, memory=_DeviceMemory())


def sampling(work: Work, dtype: str, method: str = "plain") -> Callable[[], Run]:
    """Draws a batch: `plain`, with attribute `switching`, or `safe` from random unsafe images."""

    def prepare() -> Run:
        denoise, condition = work.denoiser(dtype), jnp.asarray(work.labels(work.batch))
        if method == "switching":
            denoise, condition = guidance.switching(denoise, TAU), (1 - condition, condition)
        if method == "safe":
            unsafe = references(work.images(UNSAFE))
            denoise = guidance.clipped(guidance.safe(denoise, work.process, unsafe, strength=STRENGTH))

        def run(index: int) -> None:
            jax.block_until_ready(_drawn(work, denoise, condition, index))

        return run

    return prepare


def _drawn(work: Work, denoise: Callable, condition: Any, seed: int, **more: Any) -> Any:
    key = jax.random.key(seed)
    return sample(denoise, work.process, shape=work.shape, condition=condition, solver=work.solver, key=key, **more)


def search(work: Work, dtype: str) -> Callable[[], Run]:
    """The search for tau, at its defaults, with the solver of the drawing."""

    def prepare() -> Run:
        denoise = work.denoiser(dtype)

        def run(index: int) -> None:
            _searched(work, denoise, index)

        return run

    return prepare


def _searched(work: Work, denoise: Callable, seed: int) -> Transition:
    return search_direct(
        denoise, work.process, conditions=(0, 1), shape=work.shape, solver=work.solver, key=jax.random.key(seed),
        batch=work.search_batch,
    )  # fmt: skip


def job(work: Work, dtype: str, folder: Path) -> Callable[[], Run]:
    """The whole job: a model from its file, tau, then images by attribute switching at it."""

    def prepare() -> Run:
        model.save(folder, work.model(dtype))

        def run(index: int) -> None:
            loaded = model.load(folder)
            found = _searched(work, loaded.denoise, index)
            ends = work.labels(work.batch)
            fair = guidance.switching(loaded.denoise, found.tau)
            for low in work.batches():
                np.asarray(_drawn(work, fair, (1 - ends, ends), index, indices=low + np.arange(work.batch)))

        return run

    return prepare


def training(work: Work, dtype: str) -> Callable[[], Run]:
    """Training steps: noising, forward, backward, clipping, AdamW, moving average."""

    def prepare() -> Run:
        network = work.in_dtype(dtype)
        optimization, objective = Optimization(), Objective(prediction=PREDICTION)
        # the state is given away at each step, and the weights are others' too
        state = initial_state(Network(jax.tree.map(jnp.copy, network.weights), network.structure), optimization)
        labels = jnp.asarray(work.labels(work.train_batch))[:, None]
        batch, key = {"image": jnp.asarray(work.images(work.train_batch)), "labels": labels}, jax.random.key(work.seed)

        def run(index: int) -> None:
            nonlocal state
            for _ in range(work.train_steps):
                state, _ = train_step(state, work.process, batch, key, objective=objective, optimization=optimization)
            jax.block_until_ready(state)

        return run

    return prepare


def one_pass(work: Work, x: np.ndarray, t: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The network's output in float32, products in full precision."""
    with jax.default_matmul_precision("highest"):
        return np.asarray(jax.jit(Network.__call__)(work.in_dtype("float32"), x, t, labels))


def run_ends(work: Work, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last states of a whole run in float32, products in full precision."""
    with jax.default_matmul_precision("highest"):
        x = _drawn(work, work.denoiser("float32"), work.labels(count), work.seed, path=True)
    return np.asarray(x[0]), np.asarray(x[-1])


def matrix_rate(dtype: str, size: int, repeats: int) -> Callable[[], Run]:
    """Products of two square matrices, `repeats` in a row."""

    def prepare() -> Run:
        a, b = (jax.random.normal(jax.random.key(i), (size, size), jnp.dtype(dtype)) for i in (0, 1))
        multiply = jax.jit(jnp.matmul)

        def run(index: int) -> None:
            jax.block_until_ready([multiply(a, b) for _ in range(repeats)])

        return run

    return prepare
