"""What a transition point costs and gains, measured on images, and the choice among measured ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer, UInt8

from jaxdiff.errors import InputError
from jaxdiff.fairness.associated import associated_parity, measure_retention
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier, predict_attributes
from jaxdiff.fairness.evaluation import LabelledImages
from jaxdiff.fairness.metrics import group_errors
from jaxdiff.image_classifier import ClassifierTraining, train_image_classifier

_TRAINING = ClassifierTraining()

OBJECTIVES = {"independence": "dependence", "parity": "disparity"}
"""What a choice aims at, and the measure of a `TradeOff` that it makes smallest."""


@dataclass(frozen=True)
class TradeOff:
    """What was measured of images drawn at one transition point.

    Fields:
        tau: the transition point.
        dependence: how far the images and their labels are from independent, in percent, 0 if they are: the BER of a guess
            minus the synthetic->synthetic BER, of two values the folded one.
        disparity: how far the groups are from parity of what is associated with them, 0 at parity: the largest difference of
            `AssociatedParity`; NaN where nothing else is labelled.
        retention: the share of images, 0 to 1, whose defining feature is that of their label (`measure_retention`).
    """

    tau: float
    dependence: float
    disparity: float
    retention: float


def choose(points: Sequence[TradeOff], *, objective: str = "independence", retain: float = 0.8) -> TradeOff:
    """The point of least dependence or disparity among those that retain enough; of equal ones the one that retains most.

    Arguments:
        points: at least one.
        objective: `independence` or `parity`.
        retain: the least retention, a share in [0, 1].

    Raises:
        InputError: an unknown objective, no points, a measure that is no number, or no point that retains as much.
    """
    if objective not in OBJECTIVES:
        raise InputError(f"`objective` must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    if not 0 <= retain <= 1:
        raise InputError(f"`retain` must be a share within 0 and 1, got {retain}")
    measure = OBJECTIVES[objective]
    if not points or any(math.isnan(getattr(point, measure)) or math.isnan(point.retention) for point in points):
        raise InputError(f"`points` must be at least one, with {measure} and retention of each a number, got {list(points)}")
    kept = [point for point in points if point.retention >= retain]
    if not kept:
        most = max(points, key=lambda point: point.retention)
        raise InputError(
            f"no point has a retention of {retain:.3g}; the largest is {most.retention:.3g}, at tau {most.tau:.3g}"
        )
    return min(kept, key=lambda point: (getattr(point, measure), -point.retention))


def measure_trade_off(
    tau: float,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"],
    judges: Sequence[AttributeClassifier],
    *,
    training: ClassifierTraining = _TRAINING,
    seed: int = 0,
) -> TradeOff:
    """Measures images that were drawn at one transition point.

    The dependence is cross-fitted: each half of the images is judged by a classifier that was trained on the other half.

    Arguments:
        tau: the transition point.
        images: at least four of each value (N, H, W, C).
        labels: their final values (N,), of the attribute of the first judge; two values or more.
        judges: as `train_feature_classifiers` gives them: of the attribute, then of those that are associated with it.
        training: of the two classifiers.
        seed: of the halves and the classifiers.

    Raises:
        InputError: fewer than two values, or too few images of one.
    """
    known, groups, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(known) < 2 or counts.min() < 4:
        raise InputError(f"`labels` must have at least 4 of two or more values, got {dict(zip(known, counts, strict=True))}")
    halves = LabelledImages("images", images, groups).halves(values=len(known), seed=seed)
    predictions, held_out = [], []
    for train, test in (halves, halves[::-1]):
        classifier = train_image_classifier(train.images, train.labels, values=len(known), seed=seed, training=training)
        predictions.append(classifier.predict(test.images))
        held_out.append(test.labels)
    errors = group_errors(np.concatenate(predictions), np.concatenate(held_out), values=len(known))
    seen = predict_attributes(judges, images)
    retention = measure_retention(seen[None, :, 0], labels, values=len(judges[0].attribute.values))
    disparity = math.nan
    if others := judges[1:]:
        confusions = {judge.attribute.name: judge.confusion for judge in others}
        attributes = [judge.attribute for judge in others]
        parity = associated_parity(
            seen[:, 1:], groups, attributes, values=len(known), confusions=confusions, replicates=1, seed=seed
        )
        disparity = float(parity.largest.value)
    dependence = errors.chance - float(errors.folded_ber if len(known) == 2 else errors.ber)
    return TradeOff(tau, dependence, disparity, retention.overall)
