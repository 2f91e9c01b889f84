"""Label retention, and parity of the attributes that are associated with the group.

In the data other attributes (hair, glasses, ...) are associated with the group. A fair generator removes the association and
keeps the group itself: retention near that of real images, and associated attributes at parity between the groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Integer

from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError
from jaxdiff.fairness.confusion import Confusion, unmix
from jaxdiff.fairness.groups import GroupRates, group_rates
from jaxdiff.statistics import (
    check_labels,
    check_replicates,
    percentile_interval,
    permuted_tables,
    resampled_sums,
    wilson_interval,
)


@dataclass(frozen=True)
class Retention:
    """The share of images whose predicted label is their own, in [0, 1].

    Fields:
        overall: over all images.
        interval: Wilson's interval of it (2,).
        groups: the same for the images of each label.
    """

    overall: float
    interval: Float[np.ndarray, " 2"]
    groups: GroupRates


def measure_retention(
    predictions: Integer[np.ndarray, "classifiers n"], labels: Integer[np.ndarray, " n"], *, values: int, level: float = 0.95
) -> Retention:
    """The share of images that show the defining feature of their final label.

    The classifiers must be independent of the generator and depend on the defining feature alone: one trained on ordinary data
    also uses the attributes associated with the group, which a fair generator makes independent of it. See
    `train_attribute_classifiers`. Their accuracy on real images is the value that full retention reaches.

    Arguments:
        predictions: predicted labels of each classifier (classifiers, N); the shares are averaged, see `group_rates`.
        labels: the final label of each image (N,), 0..K-1.
        values: K.
        level: of the intervals, in (0, 1).

    Raises:
        InputError: labels out of range or a level outside (0, 1).
    """
    kept = (predictions == labels).mean(axis=0)
    groups = group_rates(kept, labels, values=values, level=level)
    interval = wilson_interval(np.asarray(kept.mean()), np.asarray(len(kept)), level=level)
    return Retention(float(kept.mean()), interval, groups)


@dataclass(frozen=True)
class Difference:
    """Differences between groups, in [0, 1], with their distribution under the null hypothesis of equal groups.

    A difference is not negative, so that its estimate and its interval are biased upwards: groups with equal distributions
    do not reach 0. Compare it with `floor` and `critical`.

    Fields:
        value: the estimate (...,).
        interval: percentile bootstrap interval over the images of each group (..., 2).
        floor: its mean under the null hypothesis, for these numbers of images (...,).
        critical: its upper quantile under the null hypothesis: the critical value of a test of equality (...,).
    """

    value: Float[np.ndarray, "*shape"]
    interval: Float[np.ndarray, "*shape 2"]
    floor: Float[np.ndarray, "*shape"]
    critical: Float[np.ndarray, "*shape"]


@dataclass(frozen=True)
class AssociatedParity:
    """The result of `associated_parity`.

    Fields:
        attributes: names (A,).
        rates: by attribute: the distribution over its values in each group (G, K).
        differences: of each attribute (A,): the total variation distance between the groups' distributions; for two values
            |p_1 - p_0|, for more than two groups the largest over the pairs.
        largest: the maximum over the attributes.
        mean: the mean over the attributes.
        count: images of each group (G,).
        level: of the intervals and the critical values.
        near_singular: names of the attributes whose classifier is too inaccurate for the correction to be reliable.
    """

    attributes: tuple[str, ...]
    rates: Mapping[str, Float[np.ndarray, "g _"]]
    differences: Difference
    largest: Difference
    mean: Difference
    count: Integer[np.ndarray, " g"]
    level: float
    near_singular: tuple[str, ...]


def associated_parity(
    labels: Integer[np.ndarray, "n a"],
    groups: Integer[np.ndarray, " n"],
    attributes: Sequence[Attribute],
    *,
    values: int,
    confusions: Mapping[str, Confusion] | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> AssociatedParity:
    """Differences between the groups in the distributions of the other attributes.

    All attributes of an image are resampled together, in the bootstrap (within each group) and in the permutations behind
    `floor` and `critical` (images permuted over the groups, whose sizes are fixed).

    Arguments:
        labels: the predicted value of each attribute (N, A).
        groups: the group of each image (N,), 0..G-1: the label it was generated with.
        attributes: the attributes (A,), at least one.
        values: G, the number of groups.
        confusions: confusion matrices of the classifiers, by attribute name: the rates of these attributes are corrected
            (`Confusion.correct`).
        replicates: bootstrap samples, and permutations, at least 1.
        level: of the intervals and the critical values, in (0, 1).
        seed: of the bootstrap and the permutations.

    Raises:
        InputError: labels or groups out of range, a group without images, or a confusion matrix for an unknown attribute.
    """
    check_replicates(replicates, level)
    check_labels(groups, values=values)
    count = np.bincount(groups, minlength=values)
    absent = np.flatnonzero(count == 0)
    if len(absent):
        raise InputError(f"`groups` must have every group in 0..{values - 1}, got none of {absent.tolist()}")
    columns = _columns(labels, attributes, confusions)
    generator = np.random.default_rng(seed)
    confusions = confusions or {}
    resampled_rates = {name: table.resampled(replicates, generator)[:, None] for name, table in confusions.items()}

    kinds, kind, of_kind = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
    indicators = np.concatenate([np.eye(len(a.values))[kinds[:, i]] for i, a in enumerate(attributes)], axis=1)

    def rates(sums, confused):
        """Distributions by attribute from sums over images (..., G, all values), corrected for the confusion rates."""
        by_attribute = {name: sums[..., column] / count[:, None] for name, column in columns.items()}
        return {n: unmix(r, confused[n]) if n in confused else r for n, r in by_attribute.items()}

    images = indicators[kind.reshape(-1)]
    observed = rates(np.stack([images[groups == g].sum(axis=0) for g in range(values)]), _rates(confusions))
    sums = [resampled_sums(images[groups == g], replicates=replicates, generator=generator) for g in range(values)]
    bootstrapped = _differences(rates(np.stack(sums, axis=1), resampled_rates))
    tables = permuted_tables(of_kind, count, replicates=replicates, generator=generator)
    permuted = _differences(rates(np.einsum("rkg,kv->rgv", tables, indicators), _rates(confusions)))

    def difference(statistic):
        shuffled = statistic(permuted)
        return Difference(
            statistic(_differences(observed)),
            percentile_interval(statistic(bootstrapped), level),
            np.asarray(shuffled.mean(axis=0)),
            np.asarray(np.quantile(shuffled, level, axis=0)),
        )

    return AssociatedParity(
        attributes=tuple(columns),
        rates=observed,
        differences=difference(lambda of_attribute: of_attribute),
        largest=difference(lambda of_attribute: np.asarray(of_attribute.max(axis=-1))),
        mean=difference(lambda of_attribute: np.asarray(of_attribute.mean(axis=-1))),
        count=count,
        level=level,
        near_singular=tuple(name for name, table in confusions.items() if table.near_singular),
    )


def total_variation(rates: Float[np.ndarray, "*shape g k"]) -> Float[np.ndarray, "*shape"]:
    """The total variation distance 1/2 sum_k |p_k - q_k| of distributions (..., G, K): the maximum over pairs of groups."""
    pairs = combinations(range(rates.shape[-2]), 2)
    distances = [np.abs(rates[..., a, :] - rates[..., b, :]).sum(axis=-1) / 2 for a, b in pairs]
    return np.asarray(np.max(distances, axis=0))


def _differences(rates: Mapping[str, Float[np.ndarray, "*shape g _"]]) -> Float[np.ndarray, "*shape a"]:
    """The difference between the groups in each attribute (..., A)."""
    return np.stack([total_variation(of_attribute) for of_attribute in rates.values()], axis=-1)


def _rates(confusions: Mapping[str, Confusion]) -> dict[str, Float[np.ndarray, "k k"]]:
    return {name: table.rates for name, table in confusions.items()}


def _columns(
    labels: Integer[np.ndarray, "n a"], attributes: Sequence[Attribute], confusions: Mapping[str, Confusion] | None
) -> dict[str, slice]:
    """The columns of each attribute among the indicators of all attributes' values."""
    sizes = np.array([len(attribute.values) for attribute in attributes], int)
    if not len(sizes) or labels.shape[1] != len(sizes) or (labels < 0).any() or (labels >= sizes).any():
        raise InputError(
            f"`labels` must have a column for each of {len(sizes)} attributes, at least one, with entries from 0 to below "
            f"{sizes.tolist()}; got shape {labels.shape}"
        )
    ends = sizes.cumsum()
    columns = {a.name: slice(end - size, end) for a, size, end in zip(attributes, sizes, ends, strict=True)}
    for name, table in (confusions or {}).items():
        if name not in columns or len(table.count) != columns[name].stop - columns[name].start:
            raise InputError(f"`confusions` takes matrices over the values of {', '.join(columns)}, got another for {name!r}")
    return columns
