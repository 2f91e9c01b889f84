"""An external classifier on the sets of a report: opened and tried before anything is trained."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from jaxdiff._console.classifiers import clip_classifier, opening
from jaxdiff._console.classifiers.classifier import Classifier
from jaxdiff._console.classifiers.request import Request
from jaxdiff._console.terminal import console, progress
from jaxdiff.errors import InputError
from jaxdiff.fairness.associated import measure_retention
from jaxdiff.fairness.confusion import confusion_matrix
from jaxdiff.fairness.evaluation import LabelledImages
from jaxdiff.fairness.metrics import group_errors
from jaxdiff.finished import Finished, key_of, once

from . import measures


def opened(request: Request, attribute: str, values: Sequence[str]) -> Classifier:
    """The classifier that options name, which is tried on images later.

    Raises:
        InputError: as `opening.of_file` or `opening.by_prompts`, or a classifier of another attribute or without some of
            these values.
    """
    classifier = _by_prompts(request, attribute) if request.kind == "CLIP" else opening.of_file(request, values)
    require_values(classifier, values)
    return classifier


def _by_prompts(request: Request, attribute: str) -> Classifier:
    given = clip_classifier.described(request.prompts, request.flag("prompts"))
    if [each.attribute.name for each in given] != [attribute]:
        names = ", ".join(each.attribute.name for each in given)
        raise InputError(f"--classifier-prompts must describe --attribute {attribute} alone, got {names}")
    return opening.by_prompts(request, given)[0]


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
        label_accuracy(classifier, answers, images.labels, values) for answers, images in zip(predicted, sets, strict=True)
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


def label_accuracy(
    classifier: Classifier,
    predicted: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    values: Sequence[str],
) -> dict[str, Any]:
    """The share of a set's images whose label the classifier predicts, with its Wilson interval, and the BER; JSON-ready.

    Arguments:
        classifier: the classifier.
        predicted: its prediction for each image.
        labels: of the images, positions in `values`.
        values: the evaluated values, all of which must be classes of the classifier, see `require_values`.
    """
    of_value = [classifier.values.index(value) for value in values]
    wanted = np.array(of_value)[labels]
    kept = measure_retention(predicted[None], wanted, values=len(classifier.values))
    errors = group_errors(predicted, wanted, values=len(classifier.values)).error[of_value]
    return {
        "external_label_accuracy": {
            "overall": kept.overall, "interval": kept.interval.tolist(), "ber": float(errors.mean()),
            "groups": kept.groups.rate[of_value].tolist(), "count": len(labels),
        }
    }  # fmt: skip


def require_values(classifier: Classifier, values: Sequence[str]) -> None:
    """Raises `InputError` for an evaluated value that is not a class of the classifier."""
    if absent := [value for value in values if value not in classifier.values]:
        raise InputError(
            f"{classifier.option} lacks {', '.join(absent)}, which is evaluated; got {' '.join(classifier.values)}"
        )
