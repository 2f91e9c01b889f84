"""Values of many images, computed in blocks that are kept once they are finished."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32

from jaxdiff.batches import in_batches
from jaxdiff.finished import Finished, Part, checksum, key_of, once

BATCHES = 4
"""Batches of each device in a block."""
Block = Part[Float32[np.ndarray, " block"]]
"""The values of a block, for `jaxdiff.finished.run_all`."""


def blocks(finished: Finished, kind: str, about: Any, function: Callable, rows: Any, size: int) -> Iterator[Block]:
    """The blocks of rows to which a function is applied; their results, concatenated, are those of `in_batches`.

    Arguments:
        finished: where the values are kept.
        kind: what the values are, for the key.
        about: all that the function depends on, for the key.
        function, rows, size: as in `in_batches`; the function returns a value for each row.
    """
    count = len(jax.tree.leaves(rows)[0])
    given, block = checksum((about, rows, size)), size * BATCHES * jax.device_count()

    def run(key: str, start: int) -> np.ndarray:
        own = jax.tree.map(lambda leaf: leaf[start : start + block], rows)
        return once(finished, key, lambda: {"values": in_batches(function, own, size)})["values"]

    for start in range(0, count, block):
        key = key_of(kind, given, start, min(start + block, count))
        yield f"from image {start}", key, partial(run, key, start)
