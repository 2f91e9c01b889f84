"""Error rates by group, the balanced error rate (BER), and their bootstrap intervals."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from jaxdiff.statistics import check_labels, check_replicates, percentile_interval, ratio, resampled_sums


@dataclass(frozen=True)
class GroupErrors:
    """Error rates by group, of one classifier or of several along leading axes.

    A group is the set of images with one label. All values are in percent except `epsilon`.

    Fields:
        error: (..., K): percent of each group's images with another predicted label; NaN for a group without images.
        count: (K,): images in each group.
    """

    error: Float[np.ndarray, "*classifiers values"]
    count: Integer[np.ndarray, " values"]

    @property
    def gap(self) -> Float[np.ndarray, "*classifiers"]:
        """Largest minus smallest group error (...,); NaN if a group is empty."""
        return np.asarray(self.error.max(axis=-1) - self.error.min(axis=-1))

    @property
    def ber(self) -> Float[np.ndarray, "*classifiers"]:
        """The balanced error rate (...,): the unweighted mean of the groups' errors; NaN if a group is empty."""
        return np.asarray(self.error.mean(axis=-1))

    @property
    def worst(self) -> Float[np.ndarray, "*classifiers"]:
        """The largest group error (...,); NaN if a group is empty."""
        return np.asarray(self.error.max(axis=-1))

    @property
    def chance(self) -> float:
        """The balanced error rate of predictions independent of the label, in percent: 100 (1 - 1/K)."""
        return 100 * (1 - 1 / self.error.shape[-1])

    @property
    def folded_ber(self) -> Float[np.ndarray, "*classifiers"]:
        """min(BER, 100 - BER) (...,), at most 50: the BER of the better of a classifier and its flip. NaN unless K = 2."""
        if self.error.shape[-1] != 2:
            return np.full_like(self.ber, np.nan)
        return np.asarray(np.minimum(self.ber, 100 - self.ber))

    @property
    def epsilon(self) -> float:
        """An upper bound in [0, 1/2] on the e for which the data are "e-fair", by these classifiers. NaN unless K = 2.

        Data are e-fair if BER(f(X), S) > e for every classifier f of the attribute S (arXiv 2401.03140, Definition 1).
        The flip of f is a classifier too, so that each tested f bounds e by its folded BER / 100; better classifiers may
        exist.
        """
        return float(self.folded_ber.min() / 100)


def group_errors(
    predictions: Integer[np.ndarray, "*classifiers n"], labels: Integer[np.ndarray, " n"], *, values: int
) -> GroupErrors:
    """Error rates by group.

    Arguments:
        predictions: predicted labels (..., N), of one classifier or of several along leading axes.
        labels: the labels (N,), which define the groups.
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
    """Error rates of several classifiers, one a seed, on one labelled set.

    Fields:
        per_seed: the error rates of each seed; its `epsilon` is the bound of the best seed.
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
        """Standard deviation (n - 1) of the seeds' BERs in percent: the variation by retraining; NaN for one seed."""
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
    """Group errors of several seeds' classifiers with bootstrap intervals; arguments as in `bootstrap`."""
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

    Images are resampled with their label and all seeds' predictions, which keeps the correlation between seeds; the errors of a
    replicate are averaged over the seeds. The intervals cover the sampling of images, not that of seeds. Replicates without
    images of some group are left out of the measures that need it.

    Arguments:
        predictions: predicted labels (seeds, N).
        labels: (N,).
        values: K, the number of values of the attribute.
        replicates: bootstrap samples, at least 1.
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
