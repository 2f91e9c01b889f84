"""Feature extractors: functions from images to the features that the measures of quality compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from flax import nnx
from jaxtyping import Float32, Integer, UInt8

from jaxdiff.errors import InputError
from jaxdiff.finished import Finished, checksum, key_of, once
from jaxdiff.image_classifier import ImageClassifier


@runtime_checkable
class Extractor(Protocol):
    """A function from images to feature vectors; the features of an image do not depend on the other images.

    Distances are comparable only between features of one extractor with one checksum: reports include `describe()`.

    Attributes:
        name: of the network.
        dimension: D, the length of a feature vector.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def describe(self) -> Mapping[str, Any]:
        """A JSON-serialisable description for reports: `name`, `dimension`, `checksum` of the weights, and `resize`, how images
        are resized for the network."""
        ...

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """The features of images, uint8 (N, H, W, C) -> (N, D), in batches of one size.

        For a network of RGB images grey is repeated in all three channels, and transparency is left out; see
        `jaxdiff.spaces.rgb`.

        Raises:
            InputError: no images.
        """
        ...


@dataclass(frozen=True)
class ClassifierExtractor:
    """The penultimate layer of a trained image classifier: needs no weights file, and is specific to its training images.

    Arguments:
        classifier: trained on images of the size of those to be measured, preferably on an attribute of the real ones.
    """

    classifier: ImageClassifier
    name: ClassVar[str] = "classifier"

    @property
    def dimension(self) -> int:
        """Channels of the classifier's last stage."""
        return nnx.merge(self.classifier.graph, self.classifier.state).head.in_features

    @cached_property
    def _checksum(self) -> str:
        return checksum(self.classifier.state)

    def describe(self) -> Mapping[str, Any]:
        """As in `Extractor.describe`."""
        return {"name": self.name, "dimension": self.dimension, "checksum": self._checksum, "resize": "none"}

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """As in `Extractor.__call__`."""
        require_images(images)
        return self.classifier.features(images)


@dataclass(frozen=True)
class FinishedFeatures:
    """An extractor whose features of each set of images are kept once they are computed.

    Arguments:
        extractor: the extractor.
        finished: where the features are kept; None keeps nothing.
    """

    extractor: Extractor
    finished: Finished | None

    @property
    def name(self) -> str:
        """As in `Extractor.name`."""
        return self.extractor.name

    @property
    def dimension(self) -> int:
        """As in `Extractor.dimension`."""
        return self.extractor.dimension

    def describe(self) -> Mapping[str, Any]:
        """As in `Extractor.describe`."""
        return self.extractor.describe()

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """As in `Extractor.__call__`."""
        return self.of_set(checksum(images), images)

    def of_set(
        self, digest: str, images: UInt8[np.ndarray, "n h w c"], indices: Integer[np.ndarray, " m"] | None = None
    ) -> Float32[np.ndarray, "m d"]:
        """As `Extractor.__call__`, of the images with these indices, or of all, of a set whose checksum is known."""
        key = key_of("features", dict(self.describe()), digest, indices)
        return once(self.finished, key, lambda: {"features": self.extractor(images if indices is None else images[indices])})[
            "features"
        ]


def require_images(images: UInt8[np.ndarray, "n h w c"]) -> None:
    """Raises `InputError` where there are no images."""
    if not len(images):
        raise InputError(f"`images` must hold at least one image, got shape {images.shape}")
