"""Functions of a fixed number of images, applied to any number."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped


def in_batches(
    function: Callable[[Shaped[np.ndarray, "b h w c"]], Any], images: Shaped[np.ndarray, "n h w c"], size: int
) -> Any:
    """A function of `size` images applied to N: the last batch is filled up with its first image, so that one program does.

    Arguments:
        function: of `size` images, to an array or a pytree of arrays whose leading axis is the images'.
        images: (N, H, W, C), at least one.
        size: images at once.

    Returns:
        What the function gives, of all N images, as float32 on the host.
    """
    answers = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        filled = np.concatenate([batch, np.repeat(batch[:1], size - len(batch), axis=0)])
        answers.append(jax.tree.map(partial(np.asarray, dtype=np.float32), function(filled)))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(images)], *answers)
