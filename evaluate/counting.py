"""Attribute classifiers that count what a set of images shows: trained on real images, ONNX, or CLIP by prompts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from jaxdiff._console.classifiers import clip_classifier, opening
from jaxdiff._console.classifiers.classifier import Classifier
from jaxdiff._console.classifiers.clip_classifier import ClipClassifier
from jaxdiff._console.classifiers.request import Request
from jaxdiff._console.terminal import progress, working
from jaxdiff.data import Attribute, DataSet, Source, find, load_arrays
from jaxdiff.data.columns import ValueNames
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.fairness.confusion import Confusion, confusion_matrix
from jaxdiff.fairness.feature_classifiers import associated_names, train_feature_classifiers
from jaxdiff.finished import Finished, key_of, once
from jaxdiff.image_classifier import ClassifierTraining, ImageClassifier
from jaxdiff.interop.clip import Clip

from . import classification
from .options.prompts import PromptSets

LEAST = 10
"""Real images of each value that a confusion matrix is measured on, at least."""


@dataclass(frozen=True)
class Counter:
    """A classifier of one attribute.

    Attributes:
        attribute: the attribute.
        predict: the value of each image of a set.
        confusion: on held-out real images; None if there are none.
        about: what the classifier is, for reports.
        network: the trained network; None for an external classifier.
    """

    attribute: Attribute
    predict: Callable[[UInt8[np.ndarray, "n h w c"]], Int[np.ndarray, " n"]]
    confusion: Confusion | None
    about: dict[str, Any]
    network: ImageClassifier | None = None

    def description(self) -> dict[str, Any]:
        """What the classifier is and how accurate, JSON-ready."""
        accuracy = None if self.confusion is None else self.confusion.accuracy.tolist()
        return {"attribute": self.attribute.name, "values": list(self.attribute.values), **self.about, "accuracy": accuracy}


def value_names(options: PromptSets, real: DataSet) -> dict[str, ValueNames] | None:
    """The names of values that the real images do not name themselves."""
    return None if real.names_values else options.reading["value_names"]


def opened(options: PromptSets, image: UInt8[np.ndarray, "h w c"], finished: Finished) -> tuple[Counter, ...]:
    """The classifier of `--attribute`, then those of the other attributes; trained, or tried on an image.

    Arguments:
        options: the options, with `attribute`.
        image: an image of a set.
        finished: where trained classifiers and answers are kept.

    Raises:
        InputError: the classifier cannot be read or does not fit, or the real images lack the attribute.
    """
    if options.request is None:
        return _trained(options, finished)
    found = _external(options.request, options.attribute, image)
    if options.real is None:
        return tuple(_counter(attribute, each, None, finished) for attribute, each in found)
    return tuple(
        _counter(attribute, each, _measured(options, attribute, each, finished), finished) for attribute, each in found
    )


def _trained(options: PromptSets, finished: Finished) -> tuple[Counter, ...]:
    real = options.opened(options.real)
    named = {"value_names": value_names(options, real), **options.image_format}
    known = real.take_with([options.attribute], split="test", **named)
    names = [options.attribute, *associated_names(known, options.attribute, options.associated)]
    training = ClassifierTraining(steps=options.steps, batch=options.batch, flip=options.flip)
    with working(f"training classifiers of {', '.join(names)}"):
        found = train_feature_classifiers(real, names, **named, seed=options.seed, training=training, finished=finished)
    about = {"classifier": f"a classifier trained on {options.real}"}
    return tuple(Counter(each.attribute, each.classifier.predict, each.confusion, about, each.classifier) for each in found)


def _external(request: Request, attribute: str, image: UInt8[np.ndarray, "h w c"]) -> list[tuple[Attribute, Classifier]]:
    """The external classifiers, that of `--attribute` first."""
    if request.kind == "ONNX":
        if not request.values:
            raise InputError(f"--classifier-values must name the values of {attribute} that {request.path} answers")
        found = classification.opened(request, attribute, request.values)
        return [(Attribute(attribute, request.values), found.tried(image))]
    given = clip_classifier.described(request.prompts, request.flag("prompts"))
    first = find([each.attribute for each in given], attribute)
    given = (given[first], *given[:first], *given[first + 1 :])
    return [(each.classifier.attribute, each.tried(image)) for each in opening.by_prompts(request, given)]


def _counter(attribute: Attribute, classifier: Classifier, confusion: Confusion | None, finished: Finished) -> Counter:
    about = {"classifier": classifier.about["file"], **{name: classifier.about[name] for name in ("sha256", "input")}}
    return Counter(attribute, partial(_predicted, classifier, finished), confusion, about)


def _predicted(classifier: Classifier, finished: Finished, images: UInt8[np.ndarray, "n h w c"]) -> Int[np.ndarray, " n"]:
    """The answers of an external classifier, kept."""
    with progress(f"classifying with {classifier.about['file']}", len(images), unit="images") as advance:
        if isinstance(classifier, ClipClassifier):
            model: Clip = classifier.classifier.clip
            return classifier.classifier.predict_of(clip_classifier.vectors(model, images, finished, advance=advance))
        key = key_of("external", classifier.identity, images)
        if key in finished:
            advance(len(images))
        return once(finished, key, lambda: {"predicted": classifier.predict(images, advance=advance)})["predicted"]


def _measured(options: PromptSets, attribute: Attribute, classifier: Classifier, finished: Finished) -> Confusion | None:
    """The confusion matrix of an external classifier on held-out real images; None if these lack an attribute other than the
    evaluated one."""
    real = options.opened(options.real)
    whole = real.take(split="test", value_names=value_names(options, real), **options.image_format)
    if attribute.name not in [each.name for each in whole.attributes] and attribute.name != options.attribute:
        return None
    source = real.take(
        split="test", attributes=[attribute.name], value_names=value_names(options, real), **options.image_format
    )
    labels = _recoded(source, attribute)
    chosen = np.random.default_rng(options.seed).permutation(np.flatnonzero(labels >= 0))[: options.test_count]
    counts = np.bincount(labels[chosen], minlength=len(attribute.values))
    if counts.min() < LEAST:
        listed = ", ".join(f"{count} of {value}" for count, value in zip(counts, attribute.values, strict=True))
        raise InputError(
            f"{source.name} has {listed}: the errors of --classifier are measured on at least {LEAST} images of each value of "
            f"{attribute.name}; name the values as the real images do, or leave out --real"
        )
    images, _ = load_arrays(View(source, indices=chosen))
    return confusion_matrix(_predicted(classifier, finished, images), labels[chosen], values=len(attribute.values))


def _recoded(source: Source, attribute: Attribute) -> Int[np.ndarray, " n"]:
    """The labels of a source as positions in the values of a classifier, -1 for others."""
    values = attribute.values
    codes = np.array([values.index(name) if name in values else -1 for name in source.attributes[0].values])
    return codes[source.labels[:, 0]]
