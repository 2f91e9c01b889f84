"""Where a distance between images looks."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Shaped

from jaxdiff.errors import InputError

WHITENED_SIZE = 32  # images are averaged down to at most this height and width: the covariance is (size² channels)² large


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Whitening:
    """Pixels in units of their spread within the groups: every direction in which images of one group differ counts alike.

    A pixel distance sees mostly the few smooth directions of large spread; a classifier does not. Make one with
    `whitening`.

    Attributes:
        matrix: (D, D), the inverse square root of the pooled within-group covariance.
        factor: pixels a side of the blocks that are averaged first, which divides height and width.
    """

    matrix: Float[Array, "d d"]
    factor: int = field(default=1, metadata={"static": True})

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
        """Whitened pixels: (B, H, W, C) -> (B, D)."""
        return jnp.matmul(_pooled(x, self.factor), self.matrix, precision="highest")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassifierFeatures:
    """The penultimate layer of a classifier, as a function of arrays on the device.

    Attributes:
        state: the classifier's weights.
        graph: its structure.
    """

    state: Any
    graph: Any = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
        """Features of images in [-1, 1]."""
        return nnx.merge(self.graph, self.state).features(x)


def _pooled(x, factor: int):
    batch, height, width, channels = x.shape
    blocks = x.reshape(batch, height // factor, factor, width // factor, factor, channels)
    return blocks.mean((2, 4)).reshape(batch, -1)


def whitening(images: Shaped[np.ndarray, "n h w c"], labels: Int[np.ndarray, " n"], ridge: float = 0.01) -> Whitening:
    """The whitening of real images by their pooled within-group covariance.

    Arguments:
        images: uint8, or float in [-1, 1].
        labels: the group of each image.
        ridge: added to the variance of every direction, as a share of the mean variance: directions that hardly vary
            are not blown up.

    Raises:
        InputError: fewer than two images in a group.
    """
    values = np.asarray(images, np.float64)
    values = values / 127.5 - 1 if images.dtype == np.uint8 else values
    factor = _factor(*images.shape[1:3])
    pixels = _pooled(values, factor)
    groups, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise InputError(
            f"whitening takes at least two images of each group, got {dict(zip(groups.tolist(), counts.tolist(), strict=True))}"
        )
    centred = np.concatenate([pixels[labels == group] - pixels[labels == group].mean(0) for group in groups]).astype(np.float32)
    variances, directions = np.linalg.eigh(centred.T @ centred / (len(pixels) - len(groups)))
    variances = np.maximum(variances, 0) + ridge * variances.clip(0).mean()
    return Whitening(jnp.asarray((directions / np.sqrt(variances)) @ directions.T, jnp.float32), factor)


def _factor(height: int, width: int) -> int:
    """The least side of square blocks that divide an image and leave at most `WHITENED_SIZE` of them a side; the greatest that
    divide it where none leave so few."""
    common = [factor for factor in range(1, min(height, width) + 1) if height % factor == width % factor == 0]
    return next((factor for factor in common if max(height, width) // factor <= WHITENED_SIZE), common[-1])
