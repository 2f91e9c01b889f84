"""Groups of several attributes at once: what judges find in each, by a set's own labels or as judges of features see them."""

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


def crossed(opened: Source, attribute: str, names: Sequence[str]) -> list[Attribute]:
    """The attributes that are named by --intersect.

    Raises:
        InputError: one that the real data do not have, twice the same, or the one under judgement.
    """
    known = {found.name: found for found in opened.attributes if found.name != attribute}
    if len(set(names)) < len(names) or set(names) - known.keys():
        told = ", ".join(known) or "none"
        raise InputError(f"--intersect takes other attributes of {opened.name}, each once, {told}; got {', '.join(names)}")
    return [known[name] for name in names]


def own_labels(
    opened: Callable[[Sequence[str] | None], Source], attributes: Sequence[Attribute], indices: Integer[np.ndarray, " n"]
) -> dict[str, np.ndarray]:
    """The labels (n,) that a set itself has of each attribute; of attributes that it does not have, nothing.

    Arguments:
        opened: opens the set with some attributes, by name; None opens it with all, under the names of values that it has.
        attributes: with the values that are counted.
        indices: the images.

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
    verdict: SetEvaluation,
    attributes: Sequence[Attribute],
    labels: Integer[np.ndarray, "n a"],
    real: Integer[np.ndarray, "m a"],
    *,
    kept: np.ndarray | None,
) -> dict[str, Any]:
    """What was found in each group of the attribute under judgement and the others, JSON-ready.

    Arguments:
        verdict: on a set.
        attributes: the attribute under judgement, with the values of the judgement, then the others.
        labels: of the set's images, a column for each attribute.
        real: of the real test images, which synthetic->real is measured on.
        kept: whether a judge sees each image's label (n,); None where that is not measured.

    Returns:
        `attributes`, and `groups`, the names of their combinations; by direction, and of `retention`, `rate` (in percent; of
        retention a share), `interval`, `count` and `small`, with NaN for a group without images.
    """
    directions = {}
    for direction, test in verdict.predictions.items():
        of = (real if direction == "synthetic->real" else labels)[test.indices]
        directions[direction] = _rates((test.predicted != test.labels).mean(axis=0), of, attributes, scale=100.0)
    return {
        "attributes": [attribute.name for attribute in attributes],
        "groups": [", ".join(names) for names in product(*(attribute.values for attribute in attributes))],
        "directions": directions,
        **({} if kept is None else {"retention": _rates(kept, labels, attributes, scale=1.0)}),
    }


def completed(
    own: Mapping[str, np.ndarray], attributes: Sequence[Attribute], judges: Sequence[AttributeClassifier], seen: np.ndarray
) -> list[np.ndarray]:
    """The labels (n,) of each attribute: the set's own, else the answers of its judge of features.

    Arguments:
        own: of `own_labels`.
        attributes: in the order wanted.
        judges: of features; there is one of every attribute without own labels.
        seen: their answers (n, judges).
    """
    place = {judge.attribute.name: i for i, judge in enumerate(judges)}

    def answered(attribute):
        codes = [attribute.index(name) for name in judges[place[attribute.name]].attribute.values]
        return np.array(codes)[seen[:, place[attribute.name]]]

    return [own[each.name] if each.name in own else answered(each) for each in attributes]


def _rates(events, labels, attributes, *, scale) -> dict[str, Any]:
    groups = intersect(labels, attributes)
    found = group_rates(events, groups.groups, values=len(groups.names))
    return {
        "rate": (scale * found.rate).tolist(),
        "interval": (scale * found.interval).tolist(),
        "count": found.count.tolist(),
        "small": groups.small.tolist(),
    }
