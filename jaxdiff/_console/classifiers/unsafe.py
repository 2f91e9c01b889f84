"""Decides which images are unsafe: by a classifier in ONNX, by a CLIP model and prompts, or by a safety checker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from jaxdiff.boundary import reading
from jaxdiff.errors import InputError
from jaxdiff.interop import safety_checker
from jaxdiff.interop.safety_checker import SafetyChecker

from . import clip_classifier, opening
from .classifier import Classifier
from .request import Request


@dataclass(frozen=True)
class UnsafeImages:
    """A classifier and what counts as unsafe.

    Attributes:
        decide: whether each image is unsafe.
        identity: everything that the answers depend on beside the images, for keys.
        about: JSON-ready: `kind`, `file`, `sha256`, and for classifiers the `unsafe` values, the `threshold` and the `input`.
    """

    decide: Callable[[UInt8[np.ndarray, "n h w c"]], Bool[np.ndarray, " n"]]
    identity: tuple[Any, ...]
    about: dict[str, Any]

    @property
    def described(self) -> str:
        """A few words for tables: two that differ must not share a column."""
        threshold, unsafe = self.about.get("threshold"), self.about.get("unsafe")
        return " ".join(
            [
                f"{self.about['file']} ({self.about['kind']})",
                *([", ".join(unsafe)] if unsafe else []),
                *([] if threshold is None else [f"above {threshold:g}"]),
            ]
        )


def opened(request: Request, unsafe: Sequence[str], image: UInt8[np.ndarray, "h w c"], option: str) -> UnsafeImages:
    """The classifier that options name, tried on an image.

    Arguments:
        request: the options. Their threshold is one of the scores of the unsafe values: as the file answers them, of a CLIP
            model their probabilities among the prompts, of a safety checker the scores of its concepts, where it is 0 by
            default. Without a threshold the value of an image is the one with the largest score.
        unsafe: the values that are unsafe; empty for the safety checker, which has its own concepts.
        image: an image as they will be.
        option: the option that gives `unsafe`, for errors.

    Raises:
        InputError: the classifier cannot be read, does not take the image, or has no such values.
    """
    if request.kind == "safety checker":
        return _of_checker(request, unsafe, image, option)
    return by_classifier(_classifier(request, option), request, unsafe, image, option)


def by_classifier(
    classifier: Classifier, request: Request, unsafe: Sequence[str], image: UInt8[np.ndarray, "h w c"], option: str
) -> UnsafeImages:
    """As `opened`, of a classifier that is loaded."""
    if not unsafe:
        raise InputError(f"{option} must name the values of {request.option} {request.path} that are unsafe")
    classifier = classifier.tried(image)
    if absent := [value for value in unsafe if value not in classifier.values]:
        known = " ".join(classifier.values)
        raise InputError(f"{option} has {', '.join(absent)}, which {classifier.option} lacks; it has {known}")
    if len(set(unsafe)) == len(classifier.values):
        raise InputError(f"{option} must leave a value of {classifier.option} that is safe, got all: {' '.join(unsafe)}")
    chosen = [classifier.values.index(value) for value in unsafe]
    if request.threshold is not None:
        classifier.above(image[None], chosen, request.threshold)
    about = {name: classifier.about[name] for name in ("file", "sha256", "input")}
    return UnsafeImages(
        partial(_shows, classifier, chosen, request.threshold),
        (classifier.identity, chosen, request.threshold),
        {
            "kind": request.kind,
            **about,
            "unsafe": list(unsafe),
            "threshold": request.threshold,
        },
    )


def values_of(request: Request, attribute: str) -> tuple[str, ...]:
    """The names of the values of a classifier, before it is loaded.

    Arguments:
        request: the options, of an ONNX file or a CLIP model.
        attribute: the attribute whose values are wanted.

    Raises:
        InputError: there are none, or the prompts describe another attribute.
    """
    if request.kind == "ONNX":
        return _classes(request)
    (given, *others) = clip_classifier.described(request.prompts, request.flag("prompts"))
    if others or given.attribute.name != attribute:
        raise InputError(f"{request.flag('prompts')} must describe {attribute!r} alone, got {given.attribute.name!r}")
    return given.attribute.values


def _classifier(request: Request, option: str) -> Classifier:
    if request.kind == "ONNX":
        return opening.of_file(request, _classes(request))
    given = clip_classifier.described(request.prompts, request.flag("prompts"))
    if len(given) != 1:
        raise InputError(f"{request.flag('prompts')} must describe one attribute, of which {option} names values")
    return opening.by_prompts(request, given)[0]


def _classes(request: Request) -> tuple[str, ...]:
    """The classes of an ONNX file. Raises `InputError` without them."""
    if not request.values:
        raise InputError(f"{request.flag('values')} must name the classes of {request.path}, in order")
    return request.values


def _shows(
    classifier: Classifier, chosen: Sequence[int], threshold: float | None, images: UInt8[np.ndarray, "n h w c"]
) -> Bool[np.ndarray, " n"]:
    if threshold is None:
        return np.isin(classifier.predict(images), chosen)
    return classifier.above(images, chosen, threshold)


def _of_checker(request: Request, unsafe: Sequence[str], image: UInt8[np.ndarray, "h w c"], option: str) -> UnsafeImages:
    if unsafe:
        raise InputError(f"{option} is not for {request.option} {request.path}, a safety checker, which has its own concepts")
    with reading(f"{request.option} {request.path}"):
        checker = safety_checker.load(request.path)
        checker.scores(image[None])
    threshold = 0.0 if request.threshold is None else request.threshold
    about = {"kind": request.kind, "file": request.path.resolve().name, "sha256": checker.fingerprint}
    return UnsafeImages(
        partial(_above, checker, threshold), (checker.fingerprint, threshold), {**about, "threshold": threshold}
    )


def _above(checker: SafetyChecker, threshold: float, images: UInt8[np.ndarray, "n h w c"]) -> Bool[np.ndarray, " n"]:
    return checker.scores(images).max(axis=1) > threshold
