"""Errors and label accuracy in intersections of several attributes, by own labels or labels that classifiers predict."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from jaxtyping import Integer

from jaxdiff.data import Attribute, Source, find
from jaxdiff.errors import InputError
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier
from jaxdiff.fairness.evaluation import SetEvaluation
from jaxdiff.fairness.groups import group_rates, intersect


def intersected(opened: Source, attribute: str, names: Sequence[str]) -> list[Attribute]:
    """The attributes named by --intersect.

    Raises:
        InputError: an attribute that the real data do not have, a repeated one, or the evaluated one.
    """
    known = {found.name: found for found in opened.attributes if found.name != attribute}
    if len(set(names)) < len(names) or set(names) - known.keys():
        choices = ", ".join(known) or "none"
        raise InputError(f"--intersect takes other attributes of {opened.name}, each once, {choices}; got {', '.join(names)}")
    return [known[name] for name in names]


def own_labels(
    opened: Callable[[Sequence[str] | None], Source], attributes: Sequence[Attribute], indices: Integer[np.ndarray, " n"]
) -> dict[str, np.ndarray]:
    """A set's own labels (n,) of each attribute that it has.

    Arguments:
        opened: opens the set with the named attributes; None opens it with all, and its own names of their values.
        attributes: the attributes; labels are positions in their values.
        indices: positions of the images in the set.

    Raises:
        InputError: a value that the attribute does not have.
    """
    there = {found.name for found in opened(None).attributes} if attributes else set()
    wanted = [attribute for attribute in attributes if attribute.name in there]
    if not wanted:
        return {}
    source = opened([attribute.name for attribute in wanted])
    labels = {}
    for attribute in wanted:
        column = find(source.attributes, attribute.name)
        names = source.attributes[column].values
        if unknown := set(names) - set(attribute.values):
            raise InputError(
                f"--intersect {attribute.name}: {source.name} has the values {', '.join(sorted(unknown))}, which real images "
                f"do not have; theirs are {', '.join(attribute.values)}; --value-names names integer labels"
            )
        codes = np.array([attribute.index(name) for name in names])
        labels[attribute.name] = codes[source.labels[indices, column]]
    return labels


def measure(
    result: SetEvaluation,
    attributes: Sequence[Attribute],
    labels: Integer[np.ndarray, "n a"],
    real: Integer[np.ndarray, "m a"],
    *,
    kept: np.ndarray | None,
) -> dict[str, Any]:
    """Errors and label accuracy in each intersection of the evaluated attribute with the others, JSON-ready.

    Arguments:
        result: the evaluation of a set.
        attributes: the evaluated attribute, with the evaluated values, then the others.
        labels: labels of the set's images, a column for each attribute.
        real: labels of the real test images, on which synthetic->real is measured.
        kept: whether a classifier predicts the label of each image (n,); None if not measured.

    Returns:
        `attributes`; `groups`, the names of the intersections; and for each direction, and for `retention`, `rate` (in percent;
        for retention a share), `interval`, `count` and `small`, with NaN for groups without images.
    """
    directions = {}
    for direction, test in result.predictions.items():
        of = (real if direction == "synthetic->real" else labels)[test.indices]
        directions[direction] = _rates((test.predicted != test.labels).mean(axis=0), of, attributes, scale=100.0)
    return {
        "attributes": [attribute.name for attribute in attributes],
        "groups": [", ".join(names) for names in product(*(attribute.values for attribute in attributes))],
        "directions": directions,
        **({} if kept is None else {"retention": _rates(kept, labels, attributes, scale=1.0)}),
    }


def complete_labels(
    own: Mapping[str, np.ndarray],
    attributes: Sequence[Attribute],
    classifiers: Sequence[AttributeClassifier],
    predicted: np.ndarray,
) -> list[np.ndarray]:
    """The labels (n,) of each attribute: the set's own, or else the predictions of the attribute's classifier.

    Arguments:
        own: from `own_labels`.
        attributes: the attributes, in the order of the result.
        classifiers: attribute classifiers, including one of every attribute that `own` lacks.
        predicted: their predictions (n, classifiers).
    """
    place = {classifier.attribute.name: i for i, classifier in enumerate(classifiers)}

    def predictions(attribute):
        codes = [attribute.index(name) for name in classifiers[place[attribute.name]].attribute.values]
        return np.array(codes)[predicted[:, place[attribute.name]]]

    return [own[each.name] if each.name in own else predictions(each) for each in attributes]


def _rates(events, labels, attributes, *, scale) -> dict[str, Any]:
    groups = intersect(labels, attributes)
    found = group_rates(events, groups.groups, values=len(groups.names))
    return {
        "rate": (scale * found.rate).tolist(),
        "interval": (scale * found.interval).tolist(),
        "count": found.count.tolist(),
        "small": groups.small.tolist(),
    }
