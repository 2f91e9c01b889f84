"""An external classifier on the sets of a report: opened and tried before anything is trained."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from jaxdiff._console.arguments import image_size
from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError
from jaxdiff.fairness.confusion import confusion_matrix
from jaxdiff.fairness.evaluation import LabelledImages
from jaxdiff.finished import Finished, key_of, once

from . import clip_classifier, external_classifier, measures
from .external_classifier import Classifier
from .options.classifier import ClassifierOptions


def opened(options: ClassifierOptions, attribute: str, values: Sequence[str]) -> Classifier:
    """The classifier of the options, which is tried on images later.

    Raises:
        InputError: as `external_classifier.load` or `clip_classifier`, or a classifier of another attribute or without some of
            these values.
    """
    classifier = _by_prompts(options, attribute) if options.by_prompts else _of_file(options, values)
    external_classifier.require_values(classifier, values)
    return classifier


def _by_prompts(options: ClassifierOptions, attribute: str) -> Classifier:
    given = clip_classifier.described(options.classifier_prompts)
    if [each.attribute.name for each in given] != [attribute]:
        names = ", ".join(each.attribute.name for each in given)
        raise InputError(f"--classifier-prompts must describe --attribute {attribute} alone, got {names}")
    return clip_classifier.classifiers(clip_classifier.load(options.classifier, "--classifier"), options.classifier, given)[0]


def _of_file(options: ClassifierOptions, values: Sequence[str]) -> Classifier:
    return external_classifier.load(
        options.classifier, values=options.classifier_values or values, renamed=bool(options.classifier_values),
        layout=options.classifier_layout, size=image_size(options.classifier_size, "--classifier-size"),
        mean=options.classifier_mean or None, scale=options.classifier_scale or None, output=options.classifier_output,
        threshold=options.classifier_threshold,
    )  # fmt: skip


def measured(
    classifier: Classifier,
    sets: Sequence[LabelledImages],
    values: Sequence[str],
    finished: Finished,
    *,
    target: Sequence[float] = (),
    replicates: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Tries the classifier on one image, prints how it is asked, and returns what it finds in each set, JSON-ready: the label
    accuracy and, where all its values are evaluated, the shares, corrected for its errors on the real images.

    Arguments:
        classifier: the classifier.
        sets: held-out real images, then the synthetic sets.
        values: the evaluated values.
        finished: where the answers are kept.
        target: the target share of each value; empty for equal shares.
        replicates, seed: of the bootstrap of the shares.
    """
    classifier = classifier.tried(sets[0].images[0])
    about = classifier.about
    console.print(f"{about['file']}: {about['input']}; classes {', '.join(about['classes'])}", highlight=False)
    predicted = []
    with progress(f"classifying with {about['file']}", sum(len(each.labels) for each in sets), unit="images") as advance:
        for images in sets:
            key = key_of("external", classifier.identity, images.digest)
            if key in finished:
                advance(len(images.labels))
            answer = partial(_answers, classifier, images, advance)
            predicted.append(once(finished, key, answer)["predicted"])
    found = [
        external_classifier.label_accuracy(classifier, answers, images.labels, values)
        for answers, images in zip(predicted, sets, strict=True)
    ]
    real = found[0]["external_label_accuracy"]
    if real["interval"][1] < 1 / len(classifier.values):
        console.print(
            f"Note: {about['file']} predicts the label of {100 * real['overall']:.0f} % of the real images, less than by "
            f"chance: check {classifier.check}",
            highlight=False,
        )
    if set(values) == set(classifier.values):
        codes = np.array([classifier.values.index(value) for value in values])
        confusion = confusion_matrix(predicted[0], codes[sets[0].labels], values=len(values))
        for each, answers in zip(found, predicted, strict=True):
            each["external_shares"] = measures.shares(
                classifier.values, confusion, answers, values, target, replicates=replicates, seed=seed
            )
    return found


def _answers(classifier: Classifier, images: LabelledImages, advance: Callable[[int], Any]) -> dict[str, np.ndarray]:
    return {"predicted": classifier.predict(images.images, advance=advance)}
