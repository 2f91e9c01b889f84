"""Extractors: what turns images into the features that the measures of quality compare."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float32, UInt8

from jaxdiff.errors import InputError
from jaxdiff.fairness.judge import Classifier


class Extractor(Protocol):
    """Images in, one feature vector each; an image's features do not depend on the images beside it.

    Distances between features of two extractors, or of one with two checksums, cannot be compared: a report carries
    `describe()`.

    Attributes:
        name: of the network.
        dimension: D, numbers a feature vector.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def describe(self) -> Mapping[str, Any]:
        """What a report says of it, ready for JSON: `name`, `dimension`, `checksum` of the weights, and `resize`, how images
        are brought to the network's size."""
        ...

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """The features of images, uint8 (N, H, W, C) -> (N, D), in batches of one size.

        A network of RGB images is shown grey in all three channels, and no transparency; see `jaxdiff.spaces.rgb`.

        Raises:
            InputError: no images.
        """
        ...


@dataclass(frozen=True)
class ClassifierExtractor:
    """The penultimate layer of a classifier that was trained here: needs no file, and knows the images of its training only.

    Arguments:
        classifier: of images of the size of those to be measured, best of an attribute of the real ones.
    """

    classifier: Classifier
    name: ClassVar[str] = "classifier"

    @property
    def dimension(self) -> int:
        """Channels of the classifier's last stage."""
        return nnx.merge(self.classifier.graph, self.classifier.state).head.in_features

    @cached_property
    def _checksum(self) -> str:
        return checksum(self.classifier.state)

    def describe(self) -> Mapping[str, Any]:
        """As `Extractor.describe`."""
        return {"name": self.name, "dimension": self.dimension, "checksum": self._checksum, "resize": "none"}

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """As `Extractor.__call__`."""
        require_images(images)
        return self.classifier.features(images)


def require_images(images: UInt8[np.ndarray, "n h w c"]) -> None:
    """Raises `InputError` where there are no images."""
    if not len(images):
        raise InputError(f"`images` must hold at least one image, got shape {images.shape}")


def checksum(weights: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a pytree of arrays: paths, types, shapes and numbers."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(weights)[0]:
        leaf = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path, simple=True, separator='/')} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()[:16]
