"""Feature maps in which the search measures the distance between images."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import reduce
from flax import nnx
from jaxtyping import Array, Float, Int, Shaped

from jaxdiff.errors import InputError

WHITENED_SIZE = 32  # images are downsampled to at most this height and width: the covariance has (size² channels)² entries


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Whitening:
    """Whitened pixels, or values of windows of series: unit variance within the groups in every direction.

    A pixel distance is dominated by the few smooth directions of large variance; a classifier is not. `whitening` makes one.

    Attributes:
        matrix: (D, D), the inverse square root of the pooled within-group covariance.
        factor: the side, in pixels, of the blocks that are averaged first; a divisor of height and width.
    """

    matrix: Float[Array, "d d"] | Float[np.ndarray, "d d"]
    factor: int = field(default=1, metadata={"static": True})

    def __call__(self, x: Float[Array, "b ..."]) -> Float[Array, "b d"]:
        """Whitened pixels: (B, H, W, C) -> (B, D); of windows (B, L, F) -> (B, L F)."""
        return jnp.matmul(_pooled(x, self.factor), self.matrix, precision="highest")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ClassifierFeatures:
    """The penultimate layer of an image classifier, as a function of arrays on the device.

    Attributes:
        state: the weights (`ImageClassifier.state`).
        graph: the structure (`ImageClassifier.graph`).
    """

    state: Any
    graph: Any = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
        """Features of images in [-1, 1]: (B, H, W, C) -> (B, D)."""
        return nnx.merge(self.graph, self.state).features(x)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AfterDecoding:
    """Features of what is seen of a sample: of the images that latents are decoded to.

    Attributes:
        decoding: from samples of the process to images in [-1, 1], see `jaxdiff.spaces.Space.decoding`.
        features: from images to their features; None takes the images themselves.
    """

    decoding: Any
    features: Any = None

    def __call__(self, x: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """The features."""
        images = self.decoding(x)
        return images if self.features is None else self.features(images)


def _pooled(x: Float[Array, "b ..."] | Float[np.ndarray, "b ..."], factor: int) -> Any:
    if x.ndim == 3:
        return x.reshape(len(x), -1)  # windows are not averaged over time
    return reduce(x, "b (h row) (w column) c -> b (h w c)", "mean", row=factor, column=factor)


def whitening(images: Shaped[np.ndarray, "n ..."], labels: Int[np.ndarray, " n"], ridge: float = 0.01) -> Whitening:
    """The whitening of real images, or of windows of series, by their pooled within-group covariance.

    Arguments:
        images: (N, H, W, C), uint8, or float in [-1, 1]; or windows (N, L, F), on the scale of the process.
        labels: the group of each image.
        ridge: added to the variance of every direction, as a share of the mean variance, so that directions of small variance
            are not amplified.

    Raises:
        InputError: fewer than two images in a group.
    """
    values = np.asarray(images, np.float64)
    values = values / 127.5 - 1 if images.dtype == np.uint8 else values
    factor = _factor(*images.shape[1:3]) if images.ndim == 4 else 1
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
    """The smallest side of square blocks that divide an image into at most `WHITENED_SIZE` a side, or the largest that divides
    it."""
    common = [factor for factor in range(1, min(height, width) + 1) if height % factor == width % factor == 0]
    return next((factor for factor in common if max(height, width) // factor <= WHITENED_SIZE), common[-1])
