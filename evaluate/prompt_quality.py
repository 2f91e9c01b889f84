"""The quality of sets drawn by prompts against real images."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from jaxdiff._console.terminal import working
from jaxdiff.data import Source, load_arrays
from jaxdiff.errors import InputError
from jaxdiff.finished import Finished, key_of, once_json
from jaxdiff.quality.extractors import Extractor, FinishedFeatures
from jaxdiff.quality.measure import MIN_IMAGES, measure_quality

from . import measures
from .options.prompts import PromptSets


@dataclass(frozen=True)
class RealImages:
    """Real images that sets are compared with.

    Attributes:
        features: of the real images.
        extractor: of the features.
        count: images of each set that are compared.
        seed: of their choice and of the half samples.
    """

    features: Float64[np.ndarray, "n d"] = field(repr=False)
    extractor: FinishedFeatures
    count: int
    seed: int

    def quality(self, images: UInt8[np.ndarray, "n h w c"], name: str) -> dict[str, Any]:
        """The quality of a set, JSON-ready, of a random subset of its images; `name` is shown while it is measured."""
        chosen = np.sort(np.random.default_rng(self.seed).permutation(len(images))[: self.count])
        about = dict(self.extractor.describe())

        def measure() -> dict[str, Any]:
            found = measure_quality(self.features, features, extractor=about, seed=self.seed)
            return {**measures.scores(found.whole), "groups": [], "extractor": about}

        with working(f"measuring the quality of {name}"):
            features = self.extractor(images[chosen]).astype(np.float64)
            return once_json(self.extractor.finished, key_of("quality", about, self.features, self.seed, features), measure)


def known_images(options: PromptSets, held_out: Source, smallest: int, extractor: Extractor, finished: Finished) -> RealImages:
    """The real images of the options, with their features.

    Arguments:
        options: the options.
        held_out: the held-out real images.
        smallest: images of the smallest set.
        extractor: of the features.
        finished: where features and quality are kept.

    Raises:
        InputError: there are too few real images.
    """
    train = options.opened(options.real).take(split="train", attributes=(), **options.image_format)
    if len(train) < MIN_IMAGES:
        raise InputError(f"{train.name}: {len(train)} images are too few to measure quality, which takes {MIN_IMAGES}")
    known, _ = load_arrays(train, count=min(options.test_count, len(train)), seed=options.seed)
    kept = FinishedFeatures(extractor, finished)
    with working(f"extracting features of {train.name}"):
        features = kept(known).astype(np.float64)
    return RealImages(features, kept, min(options.test_count, len(held_out), smallest), options.seed)
