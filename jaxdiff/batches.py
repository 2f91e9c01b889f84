"""Batched evaluation: functions of a fixed number of rows applied to any number, over all processes and devices."""

from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdiff import parallel


def in_batches(function: Callable[..., Any], images: Any, size: int, *, advance: Callable[[int], None] | None = None) -> Any:
    """Applies a function of `size` rows to N rows; the last batch is padded with its first row, so that one program serves.

    Batches are distributed over the processes of a run, and within each over its devices, and the results gathered. Each batch
    is computed by one program on one device, so that the results do not depend on the number of either and are the same in
    every process. Every process must call it, with the same arguments and outside of `jax.set_mesh`.

    Arguments:
        function: from `size` rows to an array or a pytree of arrays with a leading axis of rows.
        images: N rows, at least one: images (N, H, W, C), or a pytree of arrays.
        size: rows a batch.
        advance: called with the number of rows done since the last call, assuming that all processes are equally fast.

    Returns:
        The results for all N rows, as float32 on the host.
    """
    count = len(jax.tree.leaves(images)[0])
    starts = range(0, count, size)
    processes = jax.process_count()
    devices, running, results = jax.local_devices(), deque(), []

    def fetch():
        start, result = running.popleft()
        results.append(jax.tree.map(lambda rows: np.asarray(rows, np.float32)[: count - start], result))
        if advance:
            advance(sum(min(size, count - first) for first in starts[start // size : start // size + processes]))

    own = starts[jax.process_index() :: processes]
    # a process without batches of its own evaluates the first, for the structure of the result
    for number, start in enumerate(own or starts[:1]):
        rows = start + np.arange(size)
        batch = jax.tree.map(lambda leaf, rows=rows: leaf[np.where(rows < count, rows, rows[0])], images)
        running.append((start, function(jax.device_put(batch, devices[number % len(devices)]))))
        if len(running) == len(devices):
            fetch()
    while running:
        fetch()
    structure = jax.tree.structure(results[0])
    leaves = [np.concatenate(parts) if own else parts[0][:0] for parts in zip(*map(jax.tree.leaves, results), strict=True)]
    computed = np.concatenate(
        [np.arange(start, min(start + size, count)) for first in range(processes) for start in starts[first::processes]]
    )
    in_order = np.argsort(computed)
    return structure.unflatten(
        [np.concatenate(parts)[in_order] for parts in zip(*parallel.exchange_arrays(leaves), strict=True)]
    )
