"""The embedded faces as tensors, split by index into what is trained on and what is measured."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int

from bench.text_checkpoint.plan import SIZE
from jaxdiff.data import embedded

INDEPENDENT: Mapping[str, tuple[float, float]] = {name: (0.5, 0.5) for name in embedded.DEFAULT_ASSOCIATIONS}
"""Probabilities of faces whose attributes do not depend on the group: a network trained on them must look at each one."""

# The first index of each part; none is as long as the distance to the next.
UNET = 0
AUTOENCODER = 10_000_000
CLIP = 20_000_000
CLASSIFIER = 30_000_000
HELD_OUT = 40_000_000
IMAGE_TOWER = 50_000_000


def faces(
    indices: np.ndarray, associations: Mapping[str, tuple[float, float]] | None = None
) -> tuple[Float[torch.Tensor, "n 3 h w"], Int[np.ndarray, "n a"]]:
    """Images in [-1, 1] and their labels."""
    images, labels = embedded.generate(indices, associations=associations, size=SIZE)
    return tensor(images), labels


def tensor(images: np.ndarray) -> Float[torch.Tensor, "n 3 h w"]:
    """Images of bytes (n, h, w, 3) as numbers in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def batch(start: int, step: int, size: int) -> np.ndarray:
    """The indices of a step's batch in the part that begins at `start`; none occurs twice."""
    return np.arange(start + step * size, start + (step + 1) * size)
