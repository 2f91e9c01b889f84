"""Training batches from a source: shuffled, flipped, repeated endlessly, and resumable at any batch."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import grain
import numpy as np

from jaxdiff.data.source import Source
from jaxdiff.errors import InputError
from jaxdiff.spaces import Space


def batches(
    source: Source,
    space: Space,
    *,
    batch_size: int,
    seed: int,
    flip: bool = False,
    start: int = 0,
    shard: tuple[int, int] = (0, 1),
    threads: int = 2,
) -> grain.DatasetIterator:
    """An endless iterator over encoded batches `{"x0": float32 (B, *shape), "labels": int32 (B, A)}`.

    Every epoch visits each element once, in a new order; batches continue across epochs, so all have the same size. Batch k
    is a function of (source, batch_size, seed, flip, k) alone: `start=k`, or `get_state()` and `set_state()` of the
    iterator, resume exactly where a run stopped.

    Arguments:
        source: the data, in the form that `space.encode` takes.
        space: the space of the model.
        batch_size: size of the whole batch over all shards; at most the number of elements.
        seed: for the order and the flips, from 0 to 2^32 - 1.
        flip: mirror each image left to right with probability 1/2, independently in every epoch.
        start: the number of the first batch.
        shard: `(i, n)` returns the i-th of n equal parts of each batch, for host i of n. Concatenated, the parts are the
            batch of a single host, so a run can be resumed on another number of hosts.
        threads: number of threads that prepare batches in advance.

    Raises:
        InputError: an argument is out of range, e.g. a batch larger than the source.
    """
    index, count = shard
    if not 1 <= batch_size <= len(source):
        raise InputError(f"`batch_size` must be between 1 and the {len(source)} images of {source.name}, got {batch_size}")
    if not 0 <= index < count or batch_size % count:
        raise InputError(f"`shard` must be (i, n) with 0 <= i < n and n dividing batch_size {batch_size}, got {shard}")
    if not 0 <= seed < 2**32:
        raise InputError(f"`seed` must be between 0 and 2^32 - 1, got {seed}")
    if start < 0 or threads < 1:
        raise InputError(f"`start` must be at least 0 and `threads` at least 1, got {start} and {threads}")
    elements = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    if flip:
        elements = elements.random_map(_flip)
    parts = elements.batch(batch_size // count, drop_remainder=True, batch_fn=partial(_assemble, space))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    iterator = iter(parts.slice(slice(index, None, count)).to_iter_dataset(options))
    if start:
        iterator.set_state({"next_index": start})
    return iterator


def _flip(element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    return {**element, "image": element["image"][:, ::-1]} if rng.integers(2) else element


def _assemble(space: Space, elements: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    x0 = space.encode(np.stack([element["image"] for element in elements]))
    return {"x0": x0, "labels": np.stack([element["labels"] for element in elements])}
