"""Images of two sets that were drawn from the same noise: how many keep their attributes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxdiff.fairness.unchanged import measure_unchanged

from . import prompt_sets
from .prompt_sets import Drawn


def compared(
    before: tuple[Sequence[Drawn], Int[np.ndarray, "n a"]],
    after: tuple[Sequence[Drawn], Int[np.ndarray, "m a"]],
    names: Sequence[str],
    *,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """The share of images that keep each attribute, JSON-ready under `unchanged`; empty if none are of the same noise.

    Arguments:
        before, after: what the images of two sets were drawn with, and the predicted values of their attributes.
        names: of the attributes.
        replicates, seed: of the bootstrap.
    """
    first, second = prompt_sets.same_noise(before[0], after[0])
    if not len(first):
        return {}
    found = measure_unchanged(before[1][first], after[1][second], replicates=replicates, seed=seed)
    return {
        "unchanged": {
            "count": found.count, "mean": found.mean, "interval": found.mean_interval.tolist(),
            "attributes": {
                name: {"share": float(share), "interval": ends.tolist()}
                for name, share, ends in zip(names, found.share, found.interval, strict=True)
            },
        }
    }  # fmt: skip
