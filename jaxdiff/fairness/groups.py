"""Groups of many values and of several attributes at once: pairs of values, and products of attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError
from jaxdiff.statistics import check_labels, check_replicates, percentile_interval, ratio, resampled_sums, wilson_interval

SMALL = 30
"""Groups of fewer images are marked as small: Wilson's interval of a rate is then more than 34 points wide at worst."""


@dataclass(frozen=True)
class PairwiseErrors:
    """Error rates of a classifier of K values on each pair of values; of several classifiers along leading axes.

    Fields:
        error: (..., K, K): percent of the images of value a that are predicted as b when only a and b are allowed; NaN on
            the diagonal and for a value without images.
        count: (K,): images of each value.
    """

    error: Float[np.ndarray, "*classifiers k k"]
    count: Integer[np.ndarray, " k"]

    @property
    def ber(self) -> Float[np.ndarray, "*classifiers k k"]:
        """The balanced error rate of each pair (..., K, K), symmetric; NaN on the diagonal."""
        return (self.error + self.error.swapaxes(-1, -2)) / 2

    @property
    def folded_ber(self) -> Float[np.ndarray, "*classifiers k k"]:
        """min(BER, 100 - BER) of each pair (..., K, K), at most 50, which is chance."""
        return np.minimum(self.ber, 100 - self.ber)

    @property
    def mean(self) -> Float[np.ndarray, "*classifiers"]:
        """`folded_ber` averaged over the pairs (...,); NaN if a value is absent."""
        a, b = np.triu_indices(len(self.count), 1)
        return np.asarray(self.folded_ber[..., a, b].mean(axis=-1))


def pairwise_errors(scores: Float[np.ndarray, "*classifiers n k"], labels: Integer[np.ndarray, " n"]) -> PairwiseErrors:
    """Error rates on every pair of values, from logits or probabilities.

    For the pair (a, b) only images of a or b count, and each is predicted as the value with the larger of the two scores; the
    smaller label in case of a tie.

    Arguments:
        scores: logits or probabilities (..., N, K), of one classifier or of several along leading axes.
        labels: labels (N,) in 0..K-1.

    Raises:
        InputError: a label out of range, or fewer than two values.
    """
    members, wrong = _pairwise(scores, labels)
    count = members.sum(axis=0)
    return PairwiseErrors(100 * ratio(np.einsum("na,...nb->...ab", members, wrong), _off_diagonal(count)), count)


def pairwise_bootstrap(
    scores: Float[np.ndarray, "seeds n k"],
    labels: Integer[np.ndarray, " n"],
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, "..."]]:
    """Percentile bootstrap intervals over images of `pairwise_errors`, resampled as in `metrics.bootstrap`.

    Arguments:
        scores: (seeds, N, K).
        labels: (N,).
        replicates: bootstrap samples, at least 1.
        level: of the intervals, in (0, 1).
        seed: of the draws.

    Returns:
        `ber` and `folded_ber` (K, K, 2), `mean` (2,): lower and upper ends in percent; NaN where undefined.
    """
    check_replicates(replicates, level)
    members, wrong = _pairwise(scores, labels)
    images, values = members.shape
    rows = np.concatenate([members[:, :, None] * wrong.mean(axis=0)[:, None, :], members[:, :, None]], axis=2)
    generator = np.random.default_rng(seed)
    sums = resampled_sums(rows.reshape(images, -1), replicates=replicates, generator=generator)
    sums = sums.reshape(replicates, values, values + 1)
    count = members.sum(axis=0)
    replicate = PairwiseErrors(100 * ratio(sums[..., :-1], _off_diagonal(sums[..., -1])), count)
    return {name: percentile_interval(getattr(replicate, name), level) for name in ("ber", "folded_ber", "mean")}


@dataclass(frozen=True)
class PairwiseSummary:
    """Pairwise error rates of several classifiers, one a seed, on one labelled set.

    Fields:
        per_seed: the error rates of each seed.
        intervals: `pairwise_bootstrap` of the same scores.
        level: of the intervals.
    """

    per_seed: PairwiseErrors
    intervals: Mapping[str, Float[np.ndarray, "..."]]
    level: float

    @property
    def mean(self) -> PairwiseErrors:
        """The errors averaged over the seeds, before folding, as for the intervals."""
        return PairwiseErrors(self.per_seed.error.mean(axis=0), self.per_seed.count)


def summarise_pairs(
    scores: Float[np.ndarray, "seeds n k"],
    labels: Integer[np.ndarray, " n"],
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> PairwiseSummary:
    """Pairwise errors of several seeds' classifiers with bootstrap intervals; arguments as in `pairwise_bootstrap`."""
    intervals = pairwise_bootstrap(scores, labels, replicates=replicates, level=level, seed=seed)
    return PairwiseSummary(pairwise_errors(scores, labels), intervals, level)


@dataclass(frozen=True)
class Intersection:
    """Intersectional groups: one for every combination of the values of several attributes.

    Fields:
        names: (G,): the value names of each group, one for each attribute; the last attribute varies fastest.
        groups: (N,): the group of each image, 0..G-1.
        count: (G,): images of each group.
        small: (G,): whether a group has fewer images than the limit, so that its rates are unreliable.
    """

    names: tuple[tuple[str, ...], ...]
    groups: Integer[np.ndarray, " n"]
    count: Integer[np.ndarray, " g"]
    small: Bool[np.ndarray, " g"]


def intersect(labels: Integer[np.ndarray, "n a"], attributes: Sequence[Attribute], *, limit: int = SMALL) -> Intersection:
    """The intersectional groups (e.g. gender x race) of labelled images.

    Arguments:
        labels: a column for each attribute (N, A).
        attributes: the attributes and their value names.
        limit: groups of fewer images are marked as small.

    Raises:
        InputError: a number of columns other than that of attributes, or a label out of range.
    """
    sizes = [len(attribute.values) for attribute in attributes]
    if labels.shape[1] != len(sizes) or (labels < 0).any() or (labels >= sizes).any():
        raise InputError(
            f"`labels` must have a column for each of {len(sizes)} attributes, with entries from 0 to below {sizes}; "
            f"got shape {labels.shape}"
        )
    names = tuple(product(*(attribute.values for attribute in attributes)))
    groups = np.ravel_multi_index(tuple(labels.T), tuple(sizes))
    count = np.bincount(groups, minlength=len(names))
    return Intersection(names, groups, count, count < limit)


@dataclass(frozen=True)
class GroupRates:
    """The rate of an event in each group, in [0, 1].

    Fields:
        rate: (G,); NaN (not 0) for a group without images.
        interval: (G, 2): Wilson's score interval; NaN for a group without images.
        count: (G,): images of each group.
    """

    rate: Float[np.ndarray, " g"]
    interval: Float[np.ndarray, "g 2"]
    count: Integer[np.ndarray, " g"]

    @property
    def gap(self) -> float:
        """The largest minus the smallest rate over the groups with images."""
        return float(np.nanmax(self.rate) - np.nanmin(self.rate))


def group_rates(
    events: Shaped[np.ndarray, " n"], groups: Integer[np.ndarray, " n"], *, values: int, level: float = 0.95
) -> GroupRates:
    """The rate of an event in each group: of errors (`predictions != labels`), of a predicted value, of retention.

    Arguments:
        events: whether it occurred for each image (N,), or the share in [0, 1] of several classifiers that predict it. The
            interval is then conservative: a mean over classifiers varies less than one classifier.
        groups: the group of each image (N,), 0..G-1, of a label or of an `Intersection`.
        values: G, at least 2.
        level: of the intervals, in (0, 1).

    Raises:
        InputError: a group out of range, events outside [0, 1] or a level outside (0, 1).
    """
    check_labels(groups, values=values)
    if not ((events >= 0) & (events <= 1)).all():
        raise InputError("`events` must be within 0 and 1, got values outside")
    count = np.bincount(groups, minlength=values)
    rate = ratio(np.bincount(groups, weights=events, minlength=values), count)
    return GroupRates(rate, wilson_interval(rate, count, level=level), count)


def _pairwise(
    scores: Float[np.ndarray, "*classifiers n k"], labels: Integer[np.ndarray, " n"]
) -> tuple[Bool[np.ndarray, "n k"], Float[np.ndarray, "*classifiers n k"]]:
    """The membership of each image in each value (N, K), and whether each value scores above the image's own (..., N, K)."""
    values = scores.shape[-1]
    check_labels(labels, values=values)
    own = np.take_along_axis(scores, labels.reshape((1,) * (scores.ndim - 2) + (-1, 1)), axis=-1)
    wins_ties = np.arange(values) < labels[:, None]
    return labels[:, None] == np.arange(values), ((scores > own) | (wins_ties & (scores == own))).astype(np.float64)


def _off_diagonal(count: Shaped[np.ndarray, "*shape k"]) -> Float[np.ndarray, "*shape k k"]:
    """Counts of the first value of each pair (..., K, K), 0 on the diagonal, where there is no pair."""
    values = count.shape[-1]
    return count[..., :, None] * (1 - np.eye(values))
