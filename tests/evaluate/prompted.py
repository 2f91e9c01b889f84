"""Sets drawn by prompts as programs find them, without a model: their images are given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff.data import Attribute
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels

PROMPTS = ("photo of a man", "photo of a woman", "photo")


def coloured(red: Sequence[bool], blue: Sequence[bool], size: int = 6) -> np.ndarray:
    """Noise that is red or green, and bright or dark in blue."""
    images = np.random.default_rng(len(red)).integers(0, 60, (len(red), size, size, 3)).astype(np.uint8)
    images[np.arange(len(red)), ..., 1 - np.asarray(red, int)] += 120
    images[..., 2] += (150 * np.asarray(blue, int))[:, None, None].astype(np.uint8)
    return images


def written(
    folder: Path,
    images: np.ndarray,
    labels: Sequence[int] | None = None,
    *,
    attributes: Sequence[Attribute] = (Attribute("prompt", PROMPTS),),
    notes: Mapping[str, np.ndarray] | None = None,
    **provenance: Any,
) -> Path:
    """Writes a complete set, by default with the labels in turn; `notes` are on each sample."""
    count = len(attributes[0].values) if attributes else 1
    given = np.arange(len(images)) % count if labels is None else np.asarray(labels)
    rows = given.reshape(len(images), -1).astype(np.int32) if attributes else np.zeros((len(images), 0), np.int32)
    about = {"seed": 0, "prompts": list(PROMPTS), **provenance}
    samples = SampleSet.create(folder, about, attributes, rows, Pixels(*images.shape[1:]))
    for start, stop in samples.missing():
        samples.write(start, images[start:stop], {name: each[start:stop] for name, each in (notes or {}).items()})
    samples.finish()
    return folder
