"""What fairness is for: images keep their label's defining feature, and all else is equally frequent in every group.

In the data other features (hair, glasses, ...) are associated with the group. A fair generator breaks the association and
keeps the group: retention near that of real images, and associated features at parity between the groups.
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
    """The share of images that a judge gives their own label, in [0, 1], with Wilson's intervals.

    Fields:
        overall: over all images.
        interval: (2,).
        groups: the same of each label's images.
    """

    overall: float
    interval: Float[np.ndarray, " 2"]
    groups: GroupRates


def measure_retention(
    predictions: Integer[np.ndarray, "judges n"], labels: Integer[np.ndarray, " n"], *, values: int, level: float = 0.95
) -> Retention:
    """How many images show the defining feature of the label that they were given last.

    The judges must be independent of the generator and look at the defining feature alone: one that was trained on
    ordinary data reads the group off what is associated with it, and a fair generator has broken just that. See
    `attributes.train_attribute_classifiers`. Its accuracy on real images is what full retention looks like.

    Arguments:
        predictions: of each judge (judges, N); their shares are averaged, see `group_rates`.
        labels: the final label of each image (N,), 0..K-1.
        values: K.
        level: of the intervals.

    Raises:
        InputError: labels out of range or a level outside (0, 1).
    """
    kept = (predictions == labels).mean(axis=0)
    groups = group_rates(kept, labels, values=values, level=level)
    interval = wilson_interval(np.asarray(kept.mean()), np.asarray(len(kept)), level=level)
    return Retention(float(kept.mean()), interval, groups)


@dataclass(frozen=True)
class Difference:
    """A difference between groups, in [0, 1], and what it would be by chance alone; arrays if there are several.

    A difference cannot be negative, so that groups of equal distributions do not reach 0, and nor does `interval`: read it
    beside `floor` and `critical`.

    Fields:
        value: (...,).
        interval: (..., 2): percentile bootstrap over the images of each group.
        floor: (...,): its mean if the groups were equal, at these numbers of images.
        critical: (...,): its upper quantile if the groups were equal: what is larger is more than chance.
    """

    value: Float[np.ndarray, "*shape"]
    interval: Float[np.ndarray, "*shape 2"]
    floor: Float[np.ndarray, "*shape"]
    critical: Float[np.ndarray, "*shape"]


@dataclass(frozen=True)
class AssociatedParity:
    """The answer of `associated_parity`.

    Fields:
        attributes: names (A,).
        rates: by attribute: the distribution over its values in each group (G, K).
        differences: of each attribute (A,): the total variation distance between the groups' distributions; for two values
            |p_1 - p_0|, for more than two groups the largest over the pairs.
        largest: over the attributes.
        mean: over the attributes.
        count: images of each group (G,).
        level: of the intervals and the critical values.
        near_singular: names of the attributes whose classifier is too poor for the correction that was asked for.
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
    """How differently the groups' images show the other attributes.

    An image's attributes are drawn together, in the bootstrap (within each group) and in the permutations that give the
    floors (all groups' images dealt anew, the groups as large as they are).

    Arguments:
        labels: the predicted values of every other attribute (N, A).
        groups: the group of each image (N,), 0..G-1, as it was asked for.
        attributes: the attributes (A,).
        values: G, the number of groups.
        confusions: of the classifiers, by attribute name: those attributes' rates are corrected (`Confusion.correct`).
        replicates: of the bootstrap, and permutations.
        level, seed: of the bootstrap and the critical values.

    Raises:
        InputError: labels or groups out of range, a group without images, or a confusion of no attribute.
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
        """Sums over images (..., G, all values) to distributions by attribute, corrected by the rates of confusion."""
        by_attribute = {name: sums[..., column] / count[:, None] for name, column in columns.items()}
        return {n: unmix(r, confused[n]) if n in confused else r for n, r in by_attribute.items()}

    images = indicators[kind.reshape(-1)]
    observed = rates(np.stack([images[groups == g].sum(axis=0) for g in range(values)]), _rates(confusions))
    sums = [resampled_sums(images[groups == g], replicates=replicates, generator=generator) for g in range(values)]
    bootstrapped = _differences(rates(np.stack(sums, axis=1), resampled_rates))
    dealt = permuted_tables(of_kind, count, replicates=replicates, generator=generator)
    permuted = _differences(rates(np.einsum("rkg,kv->rgv", dealt, indicators), _rates(confusions)))

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
    """The total variation distance 1/2 sum_k |p_k - q_k| between distributions (..., G, K): the largest over the pairs."""
    pairs = combinations(range(rates.shape[-2]), 2)
    distances = [np.abs(rates[..., a, :] - rates[..., b, :]).sum(axis=-1) / 2 for a, b in pairs]
    return np.asarray(np.max(distances, axis=0))


def _differences(rates):
    """The groups' difference in each attribute (..., A)."""
    return np.stack([total_variation(of_attribute) for of_attribute in rates.values()], axis=-1)


def _rates(confusions):
    return {name: table.rates for name, table in confusions.items()}


def _columns(labels, attributes, confusions) -> dict[str, slice]:
    """Where each attribute's values lie among all attributes' indicators."""
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
            raise InputError(f"`confusions` takes tables of the values of {', '.join(columns)}, got another for {name!r}")
    return columns
