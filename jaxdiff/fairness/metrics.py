"""Error rates by group, the balanced error rate and their intervals."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from jaxdiff.statistics import check_labels, check_replicates, percentile_interval, ratio, resampled_sums


@dataclass(frozen=True)
class GroupErrors:
    """Error rates of one classifier, or of several along leading axes, by group.

    A group is the set of images whose true label is that value. Everything is in percent but `epsilon`.

    Fields:
        error: (..., K): percent of each group's images that are given another label; NaN for a group without images.
        count: (K,): images in each group.
    """

    error: Float[np.ndarray, "*classifiers values"]
    count: Integer[np.ndarray, " values"]

    @property
    def gap(self) -> Float[np.ndarray, "*classifiers"]:
        """Largest minus smallest group error (...,); NaN if a group is absent."""
        return np.asarray(self.error.max(axis=-1) - self.error.min(axis=-1))

    @property
    def ber(self) -> Float[np.ndarray, "*classifiers"]:
        """The balanced error rate (...,): the plain mean of the groups' errors, whatever their sizes; NaN if one is absent."""
        return np.asarray(self.error.mean(axis=-1))

    @property
    def worst(self) -> Float[np.ndarray, "*classifiers"]:
        """The largest group error (...,); NaN if a group is absent."""
        return np.asarray(self.error.max(axis=-1))

    @property
    def chance(self) -> float:
        """The balanced error rate of a guess, in percent: 100 (1 - 1/K), whatever the guess follows but the label."""
        return 100 * (1 - 1 / self.error.shape[-1])

    @property
    def folded_ber(self) -> Float[np.ndarray, "*classifiers"]:
        """min(BER, 100 - BER) (...,), at most 50: the error once labels may be flipped. NaN unless there are two values."""
        if self.error.shape[-1] != 2:
            return np.full_like(self.ber, np.nan)
        return np.asarray(np.minimum(self.ber, 100 - self.ber))

    @property
    def epsilon(self) -> float:
        """The largest e in [0, 1/2] that these classifiers leave possible for "e-fair". NaN unless there are two values.

        Data are e-fair if BER(f(X), S) > e for every classifier f of the attribute S (arXiv 2401.03140, Definition 1).
        With f its flip is a classifier too, so each f tested bounds e by its folded BER / 100: an upper bound, as better
        classifiers may exist.
        """
        return float(self.folded_ber.min() / 100)


def group_errors(
    predictions: Integer[np.ndarray, "*classifiers n"], labels: Integer[np.ndarray, " n"], *, values: int
) -> GroupErrors:
    """Error rates by group.

    Arguments:
        predictions: predicted labels (..., N), of one classifier or of several along leading axes.
        labels: true labels (N,), which define the groups.
        values: K, the number of values of the attribute, at least 2.

    Raises:
        InputError: fewer than two values, or a label outside 0..K-1.
    """
    check_labels(labels, values=values)
    members = labels[:, None] == np.arange(values)
    count = members.sum(axis=0)
    wrong = (predictions != labels).astype(np.float64) @ members
    return GroupErrors(100 * ratio(wrong, count), count)


@dataclass(frozen=True)
class Summary:
    """The verdict of several classifiers, one a seed, on one labelled set.

    Fields:
        per_seed: each seed's errors; its `epsilon` is the bound that the best of the seeds gives.
        intervals: `bootstrap` of the same predictions.
        level: of the intervals.
    """

    per_seed: GroupErrors
    intervals: Mapping[str, Float[np.ndarray, "..."]]
    level: float

    @property
    def mean(self) -> GroupErrors:
        """The group errors averaged over the seeds, so that `mean.ber` is the mean of the seeds' BERs."""
        return GroupErrors(self.per_seed.error.mean(axis=0), self.per_seed.count)

    @property
    def ber_deviation(self) -> float:
        """Standard deviation (n - 1) of the seeds' BERs in percent: what retraining changes; NaN for one seed."""
        return float(self.per_seed.ber.std(ddof=1)) if len(self.per_seed.ber) > 1 else float("nan")


def summarise(
    predictions: Integer[np.ndarray, "seeds n"],
    labels: Integer[np.ndarray, " n"],
    *,
    values: int,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Summary:
    """Group errors of several seeds' classifiers with bootstrap intervals; arguments as `bootstrap` takes them."""
    per_seed = group_errors(predictions, labels, values=values)
    intervals = bootstrap(predictions, labels, values=values, replicates=replicates, level=level, seed=seed)
    return Summary(per_seed, intervals, level)


def bootstrap(
    predictions: Integer[np.ndarray, "seeds n"],
    labels: Integer[np.ndarray, " n"],
    *,
    values: int,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, "..."]]:
    """Percentile bootstrap intervals over images (Efron 1979).

    Images are drawn with replacement, each with its label and all seeds' predictions, so that what the seeds share stays
    shared; a replicate's errors are averaged over the seeds. The intervals tell the error of having few images, not
    that of having few seeds. A replicate that misses a group counts for nothing.

    Arguments:
        predictions: (seeds, N).
        labels: (N,).
        values: K, the number of values of the attribute.
        replicates: how many, at least 1.
        level: coverage in (0, 1).
        seed: of the draws.

    Returns:
        `error` (K, 2), `gap` (2,), `ber` (2,), `worst` (2,), `folded_ber` (2,): lower and upper ends in percent; NaN where
        undefined.
    """
    check_replicates(replicates, level)
    check_labels(labels, values=values)
    members = labels[:, None] == np.arange(values)
    wrong = (predictions != labels).mean(axis=0)[:, None] * members
    generator = np.random.default_rng(seed)
    sums = resampled_sums(np.concatenate([wrong, members], axis=1), replicates=replicates, generator=generator)
    replicate = GroupErrors(100 * ratio(sums[:, :values], sums[:, values:]), members.sum(axis=0))
    names = ("error", "gap", "ber", "worst", "folded_ber")
    return {name: percentile_interval(getattr(replicate, name), level) for name in names}
