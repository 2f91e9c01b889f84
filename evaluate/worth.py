"""What fairness must not cost: the images' quality, the feature that their label stands for, and all else at parity."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff.data import Attribute, Source, load_arrays, open_data
from jaxdiff.data.embedded import DEFAULT_ASSOCIATIONS
from jaxdiff.errors import InputError
from jaxdiff.fairness.associated import associated_parity, measure_retention
from jaxdiff.fairness.attributes import AttributeClassifier, predict_attributes, train_attribute_classifiers
from jaxdiff.fairness.judge import LabelledImages, Training
from jaxdiff.quality.extractors import Extractor
from jaxdiff.quality.measure import LEAST, Scores, equal_draws, measure
from jaxdiff.sampleset import SampleSet

FEATURE_COUNT = 4000
"""Images that the classifiers of features are trained on, at most; half as many test them."""
SCORES = ("frechet", "kernel", "precision", "recall", "density", "coverage")


def cost(spec: str) -> dict[str, Any]:
    """Evaluations and seconds of an image, as a set of samples tells them; empty for other sets."""
    if not (Path(spec) / "samples.json").is_file():
        return {}
    samples = SampleSet.open(spec)
    told = {"evaluations": samples.provenance.get("evaluations"), "seconds_per_image": samples.seconds_per_image}
    return {name: value for name, value in told.items() if value is not None}


def quality(
    reference: LabelledImages, sets: Sequence[LabelledImages], extractor: Extractor, *, values: int, seed: int
) -> list[dict[str, Any]]:
    """The quality of each set against reference images, all by equally many images of each group.

    Arguments:
        reference: real images.
        sets: held-out real images first, then the synthetic sets.
        extractor: of the features.
        values: K.
        seed: of the draws.

    Returns:
        JSON-ready, for each set; empty where a set has too few images for any measure.
    """
    drawn = equal_draws([images.labels for images in sets], values=values, seed=seed)
    if min(len(drawn[0]), len(reference.labels)) < LEAST:
        return [{} for _ in sets]
    known = extractor(reference.images).astype(np.float64)
    answers = []
    for images, chosen in zip(sets, drawn, strict=True):
        found = measure(
            known, extractor(images.images[chosen]).astype(np.float64),
            extractor=extractor.describe(), labels=(reference.labels, images.labels[chosen]), values=values, seed=seed,
        )  # fmt: skip
        answers.append({**_scores(found.whole), "groups": [_scores(group) for group in found.groups],
                        "extractor": dict(found.extractor)})  # fmt: skip
    return answers


def _scores(scores: Scores) -> dict[str, Any]:
    """The numbers of `Scores` by name, with their intervals."""
    estimates = {name: getattr(scores, name) for name in SCORES} | {"kernel": scores.kernel.full}
    return {
        "count": list(scores.count),
        **{name: estimate.value for name, estimate in estimates.items()},
        "intervals": {name: [estimate.low, estimate.high] for name, estimate in estimates.items()},
    }


def others(opened: Source, attribute: str, associated: Sequence[str]) -> list[str]:
    """The names of the associated attributes; `all` stands for all other attributes of the data.

    Raises:
        InputError: an attribute that the data do not have, or the one under judgement.
    """
    known = [found.name for found in opened.attributes if found.name != attribute]
    if absent := [name for name in associated if name not in known and tuple(associated) != ("all",)]:
        raise InputError(f"--associated takes other attributes of {opened.name}, {', '.join(known)}; got {', '.join(absent)}")
    return known if tuple(associated) == ("all",) else list(associated)


def feature_judges(
    real: str,
    names: Sequence[str],
    *,
    size: int | None,
    value_names: Mapping[str, Sequence[str]] | None,
    seed: int,
    training: Training,
) -> tuple[AttributeClassifier, ...]:
    """A classifier for the attribute under judgement, first, and for each associated attribute.

    Of the embedded faces they are trained on faces in which nothing follows the group; of other data on images drawn so that
    the labelled attributes are independent.

    Arguments:
        real: the real data.
        names: the attribute under judgement and the associated ones.
        size, value_names: as the data are opened.
        seed, training: of the classifiers.
    """
    spec = real
    if real == "embedded":
        spec = "embedded?" + "&".join(f"{name}=0.5,0.5" for name in DEFAULT_ASSOCIATIONS)
    tables = []
    for split, count in (("train", FEATURE_COUNT), ("test", FEATURE_COUNT // 2)):
        source = open_data(spec, split=split, size=size, attributes=names, value_names=value_names)
        tables += load_arrays(source, count=min(count, len(source)), seed=seed)
    return train_attribute_classifiers(*tables, source.attributes, group=names[0], seed=seed, training=training)


def utility(
    judges: Sequence[AttributeClassifier], images: LabelledImages, values: Sequence[str], *, replicates: int, seed: int
) -> dict[str, Any]:
    """Retention of the label and parity of the associated attributes in a set.

    Arguments:
        judges: as of `feature_judges`.
        images: the set, its labels positions in `values`.
        values: the values under judgement, of those that the first judge knows.
    """
    predicted = predict_attributes(judges, images.images)
    first, *others = judges
    labels = np.array([first.attribute.index(name) for name in values])[images.labels]
    kept = measure_retention(predicted[None, :, 0], labels, values=len(first.attribute.values))
    answer: dict[str, Any] = {
        "retention": {"overall": kept.overall, "interval": kept.interval.tolist(), "groups": kept.groups.rate.tolist()}
    }
    if others:
        attributes: list[Attribute] = [judge.attribute for judge in others]
        parity = associated_parity(
            predicted[:, 1:], images.labels, attributes, values=len(values),
            confusions={judge.attribute.name: judge.confusion for judge in others}, replicates=replicates, seed=seed,
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


def _difference(found) -> dict[str, Any]:
    return {name: np.asarray(value).tolist() for name, value in asdict(found).items()}


def accuracies(judges: Sequence[AttributeClassifier]) -> dict[str, list[float]]:
    """The share of held-out real images that each judge gets right, by attribute and value."""
    return {judge.attribute.name: judge.confusion.accuracy.tolist() for judge in judges}
