"""Training batches from a source: shuffled, flipped, repeated for ever, and resumable at any batch."""

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
    """An endless iterator over batches `{"x0": float32 (B, *shape), "labels": int32 (B, A)}` of what a process runs on.

    Every epoch visits each element once, in an order of its own; batches run on across epochs, so none is short. Batch k is
    a function of (source, batch_size, seed, flip, k) alone: `start=k`, or `get_state()` and `set_state()` of the
    iterator, go on exactly where a run stopped.

    Arguments:
        source: where the images come from, each as a user sees it in the space.
        space: what the process runs on.
        batch_size: of the whole batch, over all shards; at most the number of elements.
        seed: of order and flips, within 0 and 2^32 - 1.
        flip: of images, mirrors each left to right with probability 1/2, drawn anew in every epoch.
        start: the first batch's number.
        shard: `(i, n)` gives the i-th of n equal parts of each batch, for host i of n; one after another the parts are
            what one host alone gets, so that a position, or a run, holds for any number of hosts.
        threads: that read, decode and assemble batches ahead.

    Raises:
        InputError: a batch larger than the source, or other arguments out of range.
    """
    index, count = shard
    if not 1 <= batch_size <= len(source):
        raise InputError(f"`batch_size` must be within 1 and the {len(source)} images of {source.name}, got {batch_size}")
    if not 0 <= index < count or batch_size % count:
        raise InputError(f"`shard` must be (i, n) with 0 <= i < n and n dividing batch_size {batch_size}, got {shard}")
    if not 0 <= seed < 2**32:
        raise InputError(f"`seed` must be within 0 and 2^32 - 1, got {seed}")
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
