"""A CLIP model on sets of images: their vectors, computed once, and classifiers by prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from jaxdiff.boundary import reading
from jaxdiff.conditions import templates
from jaxdiff.conditions.templates import Descriptions
from jaxdiff.errors import InputError
from jaxdiff.finished import Finished, key_of, once
from jaxdiff.interop import clip
from jaxdiff.interop.clip import Clip
from jaxdiff.interop.zero_shot import ZeroShotClassifier

BLOCK = 256
"""Images whose vectors are kept together."""


@dataclass(frozen=True)
class ClipClassifier:
    """A classifier by prompts.

    Attributes:
        classifier: the classifier.
        option: the option of its prompts, which name its values.
        about: folder, fingerprint and prompts, for reports.
    """

    classifier: ZeroShotClassifier = field(repr=False)
    option: str
    about: dict[str, Any]

    @property
    def check(self) -> str:
        """What can be wrong if it is mostly wrong."""
        return self.option

    @property
    def values(self) -> tuple[str, ...]:
        """The values of its attribute."""
        return self.classifier.attribute.values

    @property
    def identity(self) -> tuple[Any, ...]:
        """Everything that its answers depend on beside the images, for keys."""
        return self.classifier.clip.fingerprint, self.values, self.classifier.descriptions.prompts

    def predict(
        self, images: UInt8[np.ndarray, "n h w c"], *, advance: Callable[[int], Any] | None = None
    ) -> Int[np.ndarray, " n"]:
        """The value of each image; see `Classifier`."""
        return self.classifier.predict_of(vectors(self.classifier.clip, images, None, advance=advance))

    def above(self, images: UInt8[np.ndarray, "n h w c"], chosen: Sequence[int], threshold: float) -> Bool[np.ndarray, " n"]:
        """Whether the probability of one of the chosen values is above a threshold; see `Classifier`."""
        return self.classifier.shares(images)[:, list(chosen)].max(axis=1) > threshold

    def tried(self, image: UInt8[np.ndarray, "h w c"]) -> "ClipClassifier":
        """The classifier. Raises `InputError` for an image that the CLIP model does not take."""
        self.classifier.predict(image[None])
        return self


def load(folder: Path, option: str) -> Clip:
    """A CLIP model from the folder that an option names. Raises `InputError` that names the option."""
    with reading(f"{option} {folder}"):
        return clip.load(folder)


def about(model: Clip, folder: Path) -> dict[str, str]:
    """What a CLIP model is, for reports."""
    return {"folder": folder.resolve().name, "fingerprint": model.fingerprint}


def described(given: Sequence[str], option: str) -> tuple[Descriptions, ...]:
    """The descriptions that an option gives: texts, or names of TOML files.

    Raises:
        InputError: one is damaged, or two are of one attribute.
    """
    found: list[Descriptions] = []
    for each in given:
        with reading(option):
            found += templates.read_descriptions(each) if each.lower().endswith(".toml") else [templates.describe(each)]
    names = [each.attribute.name for each in found]
    if len(set(names)) < len(names):
        raise InputError(f"{option} must describe each attribute once, got {', '.join(names)}")
    return tuple(found)


def classifiers(model: Clip, folder: Path, given: Sequence[Descriptions], option: str) -> tuple[ClipClassifier, ...]:
    """A classifier of each described attribute.

    Arguments:
        model: the CLIP model.
        folder: its folder, for reports.
        given: the descriptions.
        option: the option that gives them.
    """
    return tuple(
        ClipClassifier(
            ZeroShotClassifier(model, each),
            option,
            {
                "file": folder.resolve().name,
                "sha256": model.fingerprint,
                "input": "; ".join(
                    f"{value}: {_listed(prompts)}" for value, prompts in zip(each.attribute.values, each.prompts, strict=True)
                ),
                "classes": list(each.attribute.values),
            },
        )
        for each in given
    )


def _listed(prompts: Sequence[str]) -> str:
    others = f" and {len(prompts) - 1} more" if len(prompts) > 1 else ""
    return f'"{prompts[0]}"{others}'


def vectors(
    model: Clip,
    images: UInt8[np.ndarray, "n h w c"],
    finished: Finished | None,
    *,
    advance: Callable[[int], Any] | None = None,
) -> Float32[np.ndarray, "n p"]:
    """The vectors of images, in blocks that are kept.

    Arguments:
        model: the CLIP model.
        images: the images.
        finished: where finished blocks are kept and looked up; None keeps nothing.
        advance: called with the number of images done since the last call.
    """
    blocks = []
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        key = key_of("clip", model.fingerprint, block)
        blocks.append(once(finished, key, lambda block=block: {"vectors": model.of_images(block)})["vectors"])
        if advance:
            advance(len(block))
    return np.concatenate(blocks)
