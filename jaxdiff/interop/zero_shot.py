"""Zero-shot classification by prompts (Radford et al. 2021, section 3.1): attribute classifiers that are not trained."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxdiff.conditions.templates import Descriptions
from jaxdiff.data.attributes import Attribute
from jaxdiff.interop.clip import Clip


@dataclass(frozen=True)
class ZeroShotClassifier:
    """A classifier of an attribute: the value of an image is the one whose prompts its vector agrees with most.

    Attributes:
        clip: the CLIP model.
        descriptions: the attribute, and prompts that describe each value. Of several, the vector is the mean of theirs, scaled
            to length 1.
    """

    clip: Clip
    descriptions: Descriptions

    @property
    def attribute(self) -> Attribute:
        """The attribute that it predicts."""
        return self.descriptions.attribute

    @cached_property
    def values(self) -> Float[np.ndarray, "k p"]:
        """The vector of each value, of length 1."""
        means = np.stack([self.clip.of_prompts(prompts).mean(axis=0) for prompts in self.descriptions.prompts])
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def predict(self, images: UInt8[np.ndarray, "n h w c"]) -> Int[np.ndarray, " n"]:
        """The value of each image, 0..K-1. Raises `InputError` as `Clip.of_images`."""
        return self.predict_of(self.clip.of_images(images))

    def predict_of(self, vectors: Float[np.ndarray, "n p"]) -> Int[np.ndarray, " n"]:
        """As `predict`, of the vectors of images from `Clip.of_images`."""
        return (vectors @ self.values.T).argmax(axis=1)

    def shares(self, images: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n k"]:
        """How probable each value is for an image: the softmax of the logits."""
        logits = self.clip.scale * self.clip.of_images(images) @ self.values.T
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)
