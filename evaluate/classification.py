"""An external classifier on the sets of a report: opened and tried before anything is trained."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from jaxdiff._console.arguments import image_size
from jaxdiff._console.terminal import console, progress
from jaxdiff.fairness.evaluation import LabelledImages
from jaxdiff.finished import Finished, key_of, once

from . import external_classifier
from .external_classifier import ExternalClassifier
from .options.fairness import Fairness


def opened(options: Fairness, values: Sequence[str]) -> ExternalClassifier:
    """The classifier of the options, which is tried on images later. Raises `InputError` as `external_classifier.load`."""
    classifier = external_classifier.load(
        options.classifier, values=options.classifier_values or values, renamed=bool(options.classifier_values),
        layout=options.classifier_layout, size=image_size(options.classifier_size, "--classifier-size"),
        mean=options.classifier_mean or None, scale=options.classifier_scale or None, output=options.classifier_output,
        threshold=options.classifier_threshold,
    )  # fmt: skip
    external_classifier.require_values(classifier, values)
    return classifier


def label_accuracies(
    classifier: ExternalClassifier, sets: Sequence[LabelledImages], values: Sequence[str], finished: Finished
) -> list[dict[str, Any]]:
    """Tries the classifier on one image, prints how it is asked, and returns its label accuracy on each set, JSON-ready.

    Arguments:
        classifier: the classifier.
        sets: held-out real images, then the synthetic sets.
        values: the evaluated values.
        finished: where the answers are kept.
    """
    classifier = classifier.tried(sets[0].images[0])
    about = classifier.about
    console.print(f"{about['file']}: {about['input']}; classes {', '.join(about['classes'])}", highlight=False)
    found = []
    with progress(f"classifying with {about['file']}", sum(len(each.labels) for each in sets), unit="images") as advance:
        for images in sets:
            key = key_of("external", about, repr(classifier.input), repr(classifier.output), images.digest)
            if key in finished:
                advance(len(images.labels))
            answer = partial(_answers, classifier, images, advance)
            predicted = once(finished, key, answer)["predicted"]
            found.append(external_classifier.label_accuracy(classifier, predicted, images.labels, values))
    real = found[0]["external_label_accuracy"]
    if real["interval"][1] < 1 / len(classifier.values):
        console.print(
            f"Note: {about['file']} predicts the label of {100 * real['overall']:.0f} % of the real images, less than by "
            "chance: check the order of --classifier-values, and --classifier-mean and --classifier-scale",
            highlight=False,
        )  # fmt: skip
    return found


def _answers(classifier: ExternalClassifier, images: LabelledImages, advance: Callable[[int], Any]) -> dict[str, np.ndarray]:
    return {"predicted": classifier.predict(images.images, advance=advance)}
