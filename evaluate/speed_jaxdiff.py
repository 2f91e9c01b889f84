"""jaxdiff's contestants in `evaluate speed`."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np

from evaluate.speed_work import PREDICTION, TAU, Work
from evaluate.timing import Contestant
from jaxdiff import guidance
from jaxdiff.models import layers
from jaxdiff.models.network import Network
from jaxdiff.references import references
from jaxdiff.solvers import sample
from jaxdiff.training import Objective, Optimization, initial_state, train_step

FRAMEWORK = "jaxdiff"
UNSAFE = 512  # images that the safe denoiser keeps away from


class _Memory:
    """JAX's account of a device's memory has one peak, which cannot be forgotten: it is told where it rose."""

    told = 0

    def __call__(self) -> int | None:
        peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
        rose, _Memory.told = peak > _Memory.told, max(peak, _Memory.told)
        return peak if rose else None


def contestant(mode: str, prepare: Callable[[], Callable[[int], Any]], xla_attention: bool = False) -> Contestant:
    """A contestant of jaxdiff; with `xla_attention` its attention is XLA's also where cuDNN's would serve."""
    if not xla_attention:
        return Contestant(FRAMEWORK, mode, prepare, memory=_Memory())

    def context() -> ExitStack:
        stack = ExitStack()
        stack.enter_context(patch.object(layers, "attention_kernel", lambda query: None))
        # the precision is the default's own, but told: programs are kept apart by it, and this one is not to be the other
        stack.enter_context(jax.default_matmul_precision("default"))
        return stack

    def prepared() -> Callable[[int], Any]:
        run = prepare()

        def within(index: int) -> Any:
            with context():
                return run(index)

        return within

    return Contestant(FRAMEWORK, f"{mode}, XLA's attention", prepared, memory=_Memory())


def sampling(work: Work, dtype: str, method: str = "plain") -> Callable[[], Callable[[int], Any]]:
    """Draws a batch: `plain`, with attribute `switching` at tau, or `safe` from random unsafe images."""

    def prepare() -> Callable[[int], Any]:
        denoise, condition = work.denoiser(dtype), jnp.asarray(work.labels(work.batch))
        if method == "switching":
            denoise, condition = guidance.switching(denoise, TAU), (1 - condition, condition)
        if method == "safe":
            denoise = guidance.safe(denoise, work.process, references(work.images(UNSAFE)), strength=0.5)

        def run(index: int) -> Any:
            key = jax.random.key(index)
            x = sample(denoise, work.process, shape=work.shape, condition=condition, solver=work.solver, key=key)
            return jax.block_until_ready(x)

        return run

    return prepare


def training(work: Work, dtype: str) -> Callable[[], Callable[[int], Any]]:
    """Training steps: noising, forward, backward, clipping, AdamW, moving average."""

    def prepare() -> Callable[[int], Any]:
        network = work.in_dtype(dtype)
        optimization, objective = Optimization(), Objective(prediction=PREDICTION)
        state = initial_state(Network(jax.tree.map(jnp.copy, network.weights), network.structure), optimization)
        labels = jnp.asarray(work.labels(work.train_batch))[:, None]
        batch, key = {"image": jnp.asarray(work.images(work.train_batch)), "labels": labels}, jax.random.key(work.seed)

        def run(index: int) -> Any:
            nonlocal state
            for _ in range(work.train_steps):
                state, _ = train_step(state, work.process, batch, key, objective=objective, optimization=optimization)
            return jax.block_until_ready(state)

        return run

    return prepare


def one_pass(work: Work, x: np.ndarray, t: np.ndarray, labels: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """The network's output, products in full precision."""
    with jax.default_matmul_precision("highest"):
        return np.asarray(jax.jit(Network.__call__)(work.in_dtype(dtype), x, t, labels))


def path(work: Work, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last states of a whole run, products in full precision."""
    with jax.default_matmul_precision("highest"):
        x = sample(
            work.denoiser("float32"), work.process, shape=work.shape, condition=work.labels(count), solver=work.solver,
            key=jax.random.key(work.seed), path=True,
        )  # fmt: skip
    return np.asarray(x[0]), np.asarray(x[-1])


def matrix_rate(dtype: str, size: int, repeats: int) -> Callable[[], Callable[[int], Any]]:
    """Products of two square matrices, `repeats` in a row."""

    def prepare() -> Callable[[int], Any]:
        a, b = (jax.random.normal(jax.random.key(i), (size, size), jnp.dtype(dtype)) for i in (0, 1))
        multiply = jax.jit(jnp.matmul)

        def run(index: int) -> Any:
            return jax.block_until_ready([multiply(a, b) for _ in range(repeats)])

        return run

    return prepare
