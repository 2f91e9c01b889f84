"""The trade-off between fairness and retention of several settings, and the choice of one."""

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
from jaxdiff.image_classifier import DEFAULT_TRAINING, ClassifierTraining, train_image_classifier

OBJECTIVES = {"independence": "dependence", "parity": "disparity"}
"""The measure of a `TradeOff` that each objective minimises."""


@dataclass(frozen=True)
class TradeOff:
    """Measures of images drawn with one setting of a method.

    Fields:
        setting: the transition point, or the name of another setting.
        dependence: the dependence of images and labels, in percent, 0 if they are independent: the BER of chance minus the
            synthetic->synthetic BER, folded for two values.
        disparity: the largest difference between the groups in an associated attribute (`AssociatedParity.largest`), 0 at
            parity; NaN without such attributes.
        retention: the share of images, 0 to 1, with the defining feature of their label (`measure_retention`).
    """

    setting: float | str
    dependence: float
    disparity: float
    retention: float


def choose_trade_off(points: Sequence[TradeOff], *, objective: str = "independence", retain: float = 0.8) -> TradeOff:
    """The point of least dependence or disparity among those with enough retention; ties go to the larger retention.

    Arguments:
        points: at least one.
        objective: `independence` minimises the dependence, `parity` the disparity.
        retain: the minimum retention, in [0, 1].

    Raises:
        InputError: an unknown objective, no points, a measure that is NaN, or no point with enough retention.
    """
    if objective not in OBJECTIVES:
        raise InputError(f"`objective` must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    if not 0 <= retain <= 1:
        raise InputError(f"`retain` must be a share within 0 and 1, got {retain}")
    measure = OBJECTIVES[objective]
    if not points or any(math.isnan(getattr(point, measure)) or math.isnan(point.retention) for point in points):
        raise InputError(f"`points` must be at least one, none with {measure} or retention NaN, got {list(points)}")
    kept = [point for point in points if point.retention >= retain]
    if not kept:
        most = max(points, key=lambda point: point.retention)
        raise InputError(f"no point has a retention of {retain:.3g}; the largest is {most.retention:.3g}, at {_named(most)}")
    return min(kept, key=lambda point: (getattr(point, measure), -point.retention))


def _named(point: TradeOff) -> str:
    return point.setting if isinstance(point.setting, str) else f"tau {point.setting:.3g}"


def measure_trade_off(
    setting: float | str,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, " n"],
    classifiers: Sequence[AttributeClassifier],
    *,
    training: ClassifierTraining = DEFAULT_TRAINING,
    seed: int = 0,
) -> TradeOff:
    """Measures images that were drawn with one setting.

    The dependence is cross-fitted: each half of the images is classified by a classifier trained on the other half.

    Arguments:
        setting: the transition point, or the name of another setting.
        images: at least four of each value (N, H, W, C).
        labels: their final values (N,) of the first classifier's attribute; two values or more.
        classifiers: from `train_feature_classifiers`: of the attribute, then of the associated ones.
        training: how the two classifiers of the halves are trained.
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
    predicted = predict_attributes(classifiers, images)
    retention = measure_retention(predicted[None, :, 0], labels, values=len(classifiers[0].attribute.values))
    disparity = math.nan
    if others := classifiers[1:]:
        confusions = {each.attribute.name: each.confusion for each in others}
        attributes = [each.attribute for each in others]
        parity = associated_parity(
            predicted[:, 1:], groups, attributes, values=len(known), confusions=confusions, replicates=1, seed=seed
        )
        disparity = float(parity.largest.value)
    dependence = errors.chance - float(errors.folded_ber if len(known) == 2 else errors.ber)
    return TradeOff(setting, dependence, disparity, retention.overall)
