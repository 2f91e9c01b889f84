"""Measures of a set other than error rates: quality, label accuracy, slack, parity of other attributes, cost of sampling."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from jaxdiff.data import Attribute
from jaxdiff.fairness.associated import associated_parity, measure_retention
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier
from jaxdiff.fairness.confusion import Confusion
from jaxdiff.fairness.evaluation import LabelledImages, SetEvaluation
from jaxdiff.fairness.parity import measure_parity
from jaxdiff.fairness.slack import measure_slack
from jaxdiff.finished import Finished, checksum, key_of, once_json
from jaxdiff.quality.extractors import Extractor, FinishedFeatures
from jaxdiff.quality.measure import MIN_IMAGES, Scores, balanced_subsets, measure_quality
from jaxdiff.quality.real_comparison import ImageFeatures
from jaxdiff.sampleset import SampleSet

SCORES = ("frechet", "kernel", "precision", "recall", "density", "coverage")


def cost(spec: str) -> dict[str, Any]:
    """Network evaluations and seconds per image, from the provenance of a set of samples; empty for other sets."""
    if not (Path(spec) / "samples.json").is_file():
        return {}
    samples = SampleSet.open(spec)
    known = {"evaluations": samples.provenance.get("evaluations"), "seconds_per_image": samples.seconds_per_image}
    return {name: value for name, value in known.items() if value is not None}


def setting(spec: str) -> dict[str, Any]:
    """The sampling method of a set of samples, under `method`; empty for other sets."""
    if not (Path(spec) / "samples.json").is_file():
        return {}
    provenance = SampleSet.open(spec).provenance
    from_none = " from no label" * (provenance.get("start") == "none")
    return {"method": f"{provenance['method']}{from_none}"} if provenance.get("method") else {}


def featured(
    reference: LabelledImages, sets: Sequence[LabelledImages], extractor: FinishedFeatures, *, values: int, seed: int
) -> tuple[np.ndarray, list[ImageFeatures]] | None:
    """The features of reference images, and of each set as many images of each group as of the others, with their features.

    Arguments:
        reference: real images.
        sets: held-out real images, then the synthetic sets.
        extractor: the feature extractor.
        values: number of attribute values, K.
        seed: seed of the random subsets.

    Returns:
        None if a set has too few images for any measure.
    """
    drawn = balanced_subsets([images.labels for images in sets], values=values, seed=seed)
    if min(len(drawn[0]), len(reference.labels)) < MIN_IMAGES:
        return None
    known = extractor.of_set(reference.digest, reference.images).astype(np.float64)
    return known, [features(images, extractor, chosen) for images, chosen in zip(sets, drawn, strict=True)]


def features(
    images: LabelledImages, extractor: FinishedFeatures, indices: Integer[np.ndarray, " n"] | None = None
) -> ImageFeatures:
    """The images of a set with these indices, or all, with their features."""
    found = extractor.of_set(images.digest, images.images, indices).astype(np.float64)
    taken = images if indices is None else images.take(indices)
    return ImageFeatures(taken.images, found, taken.labels)


def quality(
    known: np.ndarray,
    labels: np.ndarray,
    sets: Sequence[ImageFeatures],
    extractor: Extractor,
    *,
    values: int,
    seed: int,
    finished: Finished,
) -> list[dict[str, Any]]:
    """The quality of each set compared with reference images.

    Arguments:
        known, labels: features and labels of the reference images.
        sets: the sets, from `featured`.
        extractor: the feature extractor.
        values: number of attribute values, K.
        seed: seed of the half samples.
        finished: where the quality of each set is kept.

    Returns:
        For each set, JSON-ready.
    """
    about = dict(extractor.describe())

    def measure(images):
        found = measure_quality(
            known, images.features, extractor=about, labels=(labels, images.labels), values=values, seed=seed
        )
        return {**scores(found.whole), "groups": [scores(group) for group in found.groups], "extractor": about}

    given = checksum((about, known, labels, values, seed))
    return [
        once_json(finished, key_of("quality", given, images.features, images.labels), partial(measure, images))
        for images in sets
    ]


def scores(found: Scores) -> dict[str, Any]:
    """The numbers of `Scores` by name, with their intervals."""
    estimates = {name: getattr(found, name) for name in SCORES} | {"kernel": found.kernel.full}
    return {
        "count": list(found.count),
        **{name: estimate.value for name, estimate in estimates.items()},
        "intervals": {name: [estimate.low, estimate.high] for name, estimate in estimates.items()},
    }


def codes(classifier: AttributeClassifier, values: Sequence[str]) -> np.ndarray:
    """The position of each of `values` in the values of the classifier (K,)."""
    return np.array([classifier.attribute.index(name) for name in values])


def slack(result: SetEvaluation, shown: np.ndarray, labels: np.ndarray, **resampling: Any) -> dict[str, Any]:
    """The slack of a set, JSON-ready under `slack`.

    Arguments:
        result: of the set.
        shown: whether each of its images shows its label (n,).
        labels: of the images (n,).
        resampling: replicates and seed of the bootstrap.
    """
    tested = result.predictions.get("synthetic->synthetic") or result.predictions["real->real"]
    found = measure_slack(shown, labels, tested.predicted, tested.indices, values=len(result.count), **resampling)
    return {"slack": {"value": found.value, "interval": found.interval.tolist(), "shown": found.shown}}


def utility(
    classifiers: Sequence[AttributeClassifier],
    predicted: np.ndarray,
    labels: np.ndarray,
    values: Sequence[str],
    *,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """Label accuracy (`retention`) and parity of the associated attributes in a set.

    Arguments:
        classifiers: from `train_feature_classifiers`.
        predicted: their predictions on the set's images (n, classifiers).
        labels: labels of the images (n,), positions in `values`.
        values: the evaluated values, a subset of those of the first classifier.
    """
    first, *others = classifiers
    own = codes(first, values)[labels]
    kept = measure_retention(predicted[None, :, 0], own, values=len(first.attribute.values))
    answer: dict[str, Any] = {
        "retention": {"overall": kept.overall, "interval": kept.interval.tolist(), "groups": kept.groups.rate.tolist()}
    }
    if others:
        attributes: list[Attribute] = [each.attribute for each in others]
        parity = associated_parity(
            predicted[:, 1:], labels, attributes, values=len(values),
            confusions={each.attribute.name: each.confusion for each in others}, replicates=replicates, seed=seed,
        )  # fmt: skip
        answer["parity"] = {
            "largest": _difference(parity.largest),
            "mean": _difference(parity.mean),
            "attributes": {
                name: {"difference": float(parity.differences.value[i]), "rates": parity.rates[name].tolist()}
                for i, name in enumerate(parity.attributes)
            },
            "near_singular": list(parity.near_singular),
        }
    return answer


def shares(
    known: Sequence[str],
    confusion: Confusion,
    predicted: np.ndarray,
    values: Sequence[str],
    target: Sequence[float],
    *,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """The shares of a set's images that show each value of the evaluated attribute, regardless of their labels.

    Arguments:
        known: the values of a classifier of the attribute.
        confusion: its confusion matrix, which the shares are corrected for.
        predicted: its predictions (n,).
        values: the same values in the order of the report.
        target: the target share of each value; empty for equal shares.

    Returns:
        `parity.Parity` of one context, shares in [0, 1], with intervals; JSON-ready.
    """
    order = np.array([known.index(name) for name in values])
    shares = np.array(target, np.float64) / sum(target) if len(target) else np.full(len(values), 1 / len(values))
    found = measure_parity(
        np.argsort(order)[predicted], shares, confusion=Confusion(confusion.count[np.ix_(order, order)]),
        replicates=replicates, seed=seed,
    )  # fmt: skip
    names = ("frequency", "discrepancy", "pairwise_bias", "divergence")
    return {
        "count": int(found.count[0]),
        "target": shares.tolist(),
        **{name: getattr(found.parity, name)[0].tolist() for name in names},
        "within_tolerance": bool(found.parity.within_tolerance[0]),
        "intervals": {
            **{name: found.intervals[name][0].tolist() for name in names},
            "within_tolerance": found.intervals["share_within_tolerance"].tolist(),
        },
        "accuracy": confusion.accuracy[order].tolist(),
        "near_singular": found.near_singular,
    }


def _difference(found) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in asdict(found).items()}


def accuracies(classifiers: Sequence[AttributeClassifier]) -> dict[str, list[float]]:
    """The accuracy of each classifier on held-out real images, by attribute and value."""
    return {each.attribute.name: each.confusion.accuracy.tolist() for each in classifiers}
