"""What the images of each set reveal of their labels without the feature that defines them; see `jaxdiff.fairness.leak`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from jaxdiff._console.terminal import reported
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier
from jaxdiff.fairness.evaluation import FairnessEvaluation, LabelledImages
from jaxdiff.fairness.feature_classifiers import unassociated_images
from jaxdiff.fairness.leak import BlindFeatures, Leak, fit_blind_features, linear_leak, masked_predictions
from jaxdiff.fairness.metrics import summarise
from jaxdiff.finished import Finished

from .data_sets import DataSets
from .options.fairness import Fairness

REAL_COUNT = 6000
"""Maximum number of real images that the erasure is fitted and checked on."""


def fitted(
    options: Fairness, data: DataSets, classifiers: Sequence[AttributeClassifier], values: Sequence[str], finished: Finished
) -> BlindFeatures:
    """The features without the label, fitted on test images; the classifier of the label comes first."""
    names = [each.attribute.name for each in classifiers]
    images, labels, _ = unassociated_images(
        data.opened(options.real), names, split="test", count=REAL_COUNT, seed=options.seed,
        **options.image_format, value_names=data.value_names(options.real),
    )  # fmt: skip
    own = classifiers[0].attribute.values
    recoded = np.array([values.index(name) if name in values else -1 for name in own])[labels[:, 0]]
    kept = recoded >= 0
    return fit_blind_features(
        classifiers, LabelledImages("real images", images[kept], recoded[kept]), labels[kept, 1:],
        values=len(values), replicates=options.replicates, seed=options.seed, finished=finished,
    )  # fmt: skip


def measured(
    options: Fairness,
    blind: BlindFeatures,
    region: Bool[np.ndarray, "h w"] | None,
    train: LabelledImages,
    sets: Sequence[LabelledImages],
    evaluation: FairnessEvaluation,
    *,
    values: int,
    finished: Finished,
) -> list[dict[str, Any]]:
    """The leak of each set without the label, JSON-ready under `leak`.

    Arguments:
        options: of the command.
        blind: from `fitted`.
        region: the pixels that show what defines the label; None if they are not known.
        train: the real training images.
        sets: held-out real images, then the synthetic sets.
        evaluation: of them.
        values: number of values, K.
        finished: where features and classifiers are kept.
    """
    resampling = {"replicates": options.replicates, "seed": options.seed}
    found = []
    with reported("measuring what images reveal without the label") as report:
        for place, images in enumerate(sets):
            report(images.name, place, len(sets))
            halves = images.half_indices(values=values, seed=options.seed)
            linear = linear_leak(blind(images, finished), images.labels, halves, values=values, **resampling)
            leak = {"linear": _json(linear)}
            if region is not None:
                of_real = (train, images)
                first, second = (images.take(half) for half in halves) if place else of_real
                predicted = masked_predictions(
                    first, second, region, values=values, count=evaluation.train_count, seeds=options.seeds,
                    seed=options.seed, training=evaluation.training, finished=finished,
                )  # fmt: skip
                summary = summarise(predicted, second.labels, values=values, **resampling)
                leak["masked"] = {"ber": float(summary.mean.ber), "interval": summary.intervals["ber"].tolist()}
            found.append({"leak": leak})
        report("all sets", len(sets), len(sets))
    return found


def about(blind: BlindFeatures) -> dict[str, Any]:
    """How the features without the label were made, and whether they are blind to it, JSON-ready."""
    erasure = blind.erasure
    return {
        "classifiers": [each.attribute.name for each in blind.classifiers],
        "dimensions": len(erasure.mean), "rank": erasure.rank, "count": erasure.count,
        "effective_count": erasure.effective_count, "weights": blind.method, "clipped": blind.clipped,
        "held_out": {**_json(blind.held_out), "chance": blind.held_out.chance}, "blind": blind.blind,
    }  # fmt: skip


def _json(leak: Leak) -> dict[str, Any]:
    return {"ber": leak.ber, "interval": leak.interval.tolist()}
