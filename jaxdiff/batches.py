"""Functions of a fixed number of rows, applied to any number, by all processes and devices of a run."""

import pickle
from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdiff import parallel


def in_batches(function: Callable[..., Any], images: Any, size: int, *, advance: Callable[[int], None] | None = None) -> Any:
    """A function of `size` rows applied to N: the last batch is filled up with its first row, so that one program does.

    Whole batches are dealt to the processes of a run, and within each to its devices, and the answers exchanged: so each batch
    is computed by one program on one device, and the answers are the same on any number of either, and in every process.
    Every process calls it, alike and outside of `jax.set_mesh`.

    Arguments:
        function: of `size` rows, to an array or a pytree of arrays whose leading axis is the rows'.
        images: arrays of N rows, at least one: images (N, H, W, C), or a pytree.
        size: rows at once.
        advance: told how many rows are done more, each process taking the others to be as quick.

    Returns:
        What the function gives, of all N rows, as float32 on the host.
    """
    count = len(jax.tree.leaves(images)[0])
    starts = range(0, count, size)
    processes = jax.process_count()
    devices, running, answers = jax.local_devices(), deque(), []

    def fetch():
        start, answer = running.popleft()
        answers.append(jax.tree.map(lambda rows: np.asarray(rows, np.float32)[: count - start], answer))
        if advance:
            advance(sum(min(size, count - first) for first in starts[start // size : start // size + processes]))

    for number, start in enumerate(starts[jax.process_index() :: processes]):
        rows = start + np.arange(size)
        batch = jax.tree.map(lambda leaf, rows=rows: leaf[np.where(rows < count, rows, rows[0])], images)
        running.append((start, function(jax.device_put(batch, devices[number % len(devices)]))))
        if len(running) == len(devices):
            fetch()
    while running:
        fetch()
    told = [pickle.loads(each) for each in parallel.exchange(pickle.dumps(answers))]
    in_order = [told[number % processes][number // processes] for number in range(len(starts))]
    return jax.tree.map(lambda *parts: np.concatenate(parts), *in_order)
