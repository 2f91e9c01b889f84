"""Parity: the frequencies of an attribute's values among generated images, against a target distribution.

Parity and the error rates of `metrics` measure different things: images with equal shares of all values may reveal their label,
and images that do not reveal it may all show one value.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float, Integer

from jaxdiff.errors import InputError
from jaxdiff.fairness.confusion import Confusion, unmix
from jaxdiff.statistics import check_replicates, percentile_interval, resampled_sums

TOLERANCE = 0.04
"""The deviation from its target within which a frequency counts as fair (Friedrich et al. 2023: 46 to 54 % of two values)."""


@dataclass(frozen=True)
class Parity:
    """Frequencies of an attribute's values by context (e.g. prompt), against their target; shares in [0, 1].

    Fields:
        frequency: the distribution over the K values in each of C contexts (..., C, K), with any leading axes.
        target: the target of all contexts (K,), or that of each (C, K).
    """

    frequency: Float[np.ndarray, "*replicates contexts k"]
    target: Float[np.ndarray, "*of_each k"]

    @property
    def deviation(self) -> Float[np.ndarray, "*replicates contexts k"]:
        """|frequency - target| of each value (..., C, K)."""
        return np.abs(self.frequency - self.target)

    @property
    def discrepancy(self) -> Float[np.ndarray, "*replicates contexts"]:
        """The fairness discrepancy ||target - frequency||_2 (..., C) (Choi et al. 2020); sqrt(2) |p - 1/2| of two values."""
        return np.linalg.norm(self.frequency - self.target, axis=-1)

    @property
    def pairwise_bias(self) -> Float[np.ndarray, "*replicates contexts"]:
        """The mean of |frequency_i - frequency_j| over pairs i < j (..., C), which ignores the target (Shen et al. 2024)."""
        i, j = np.triu_indices(self.target.shape[-1], 1)
        return np.abs(self.frequency[..., i] - self.frequency[..., j]).mean(axis=-1)

    @property
    def divergence(self) -> Float[np.ndarray, "*replicates contexts"]:
        """KL(frequency || target) in nats (..., C); infinite where a value occurs whose target is 0."""
        return scipy.special.rel_entr(self.frequency, self.target).sum(axis=-1)

    @property
    def within_tolerance(self) -> Bool[np.ndarray, "*replicates contexts"]:
        """Whether the frequencies of all values of a context are within `TOLERANCE` of their targets (..., C)."""
        return np.asarray((self.deviation <= TOLERANCE + 1e-9).all(axis=-1))  # 0.54 - 0.5 is above 0.04 in floating point

    @property
    def share_within_tolerance(self) -> Float[np.ndarray, "*replicates"]:
        """The share of the contexts that are `within_tolerance` (...,); for one context 0 or 1."""
        return np.asarray(self.within_tolerance.mean(axis=-1))

    @property
    def mean_deviation(self) -> Float[np.ndarray, "*replicates k"]:
        """`deviation` averaged over the contexts (..., K)."""
        return self.deviation.mean(axis=-2)

    @property
    def mean_discrepancy(self) -> Float[np.ndarray, "*replicates"]:
        """`discrepancy` averaged over the contexts (...,)."""
        return np.asarray(self.discrepancy.mean(axis=-1))

    @property
    def mean_pairwise_bias(self) -> Float[np.ndarray, "*replicates"]:
        """`pairwise_bias` averaged over the contexts (...,)."""
        return np.asarray(self.pairwise_bias.mean(axis=-1))


MEASURES = (
    "frequency", "deviation", "discrepancy", "pairwise_bias", "divergence",
    "share_within_tolerance", "mean_deviation", "mean_discrepancy", "mean_pairwise_bias",
)  # fmt: skip
"""The properties of `Parity` with intervals in `ParitySummary`."""


@dataclass(frozen=True)
class ParitySummary:
    """The result of `measure_parity`.

    Fields:
        parity: the measures.
        count: images of each context (C,).
        intervals: by name in `MEASURES`: the lower and upper ends, on an additional last axis.
        level: of the intervals.
        near_singular: whether the classifier is too inaccurate for the correction to be reliable.
    """

    parity: Parity
    count: Integer[np.ndarray, " contexts"]
    intervals: Mapping[str, Float[np.ndarray, "..."]]
    level: float
    near_singular: bool


def measure_parity(
    predictions: Integer[np.ndarray, " n"] | Float[np.ndarray, "n k"],
    target: Float[np.ndarray, "*of_each values"],
    *,
    contexts: Integer[np.ndarray, " m"] | None = None,
    confusion: Confusion | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> ParitySummary:
    """Parity of a classifier's predictions, with intervals for the images of each context.

    Intervals are percentiles of the measures over draws of the frequencies: for predicted values from the posterior under
    Jeffreys' prior, a Dirichlet distribution of the counts plus 1/2, since the bootstrap of a value that all images show has an
    interval of length 0 (Brown et al. 2001); for probabilities from the bootstrap over images.

    The distances are not negative and are biased upwards: for few images of a fair generator neither they nor their intervals
    reach 0.

    Arguments:
        predictions: predicted values (N,), or probabilities (N, K), whose mean is then the frequency.
        target: a distribution over the values (K,), or one for each context (C, K).
        contexts: the context of each image (N,), 0..C-1; None is one context.
        confusion: the classifier's confusion matrix, to correct the frequencies of predicted values; its images are resampled
            too.
        replicates: draws, at least 1.
        level: of the intervals, in (0, 1).
        seed: of the draws.

    Raises:
        InputError: a target that is not a distribution, or not as many as contexts; predictions or contexts out of range, a
            context without images, or a confusion matrix for probabilities or with another number of values.
    """
    check_replicates(replicates, level)
    rows = _rows(predictions, target)
    contexts = np.zeros(len(rows), np.int64) if contexts is None else contexts
    count = _count(contexts, len(rows))
    if target.ndim == 2 and len(target) != len(count):
        raise InputError(f"`target` must be one distribution, or one for each of {len(count)} contexts, got {len(target)}")
    if confusion is not None and (predictions.ndim != 1 or len(confusion.count) != target.shape[-1]):
        raise InputError(
            f"`confusion` takes predicted values (N,) of its {len(confusion.count)} values, "
            f"got predictions of shape {predictions.shape} and a target of {target.shape[-1]}"
        )
    generator = np.random.default_rng(seed)
    of_context = [rows[contexts == context] for context in range(len(count))]
    frequency = np.stack([part.mean(axis=0) for part in of_context])
    if np.isin(rows, (0, 1)).all():
        targets = np.broadcast_to(target, (len(count), target.shape[-1]))
        draws = [_posterior(part.sum(axis=0), of, replicates, generator) for part, of in zip(of_context, targets, strict=True)]
    else:
        draws = [resampled_sums(part, replicates=replicates, generator=generator) / len(part) for part in of_context]
    resampled = np.stack(draws, axis=1)
    if confusion is not None:
        frequency = confusion.correct(frequency)
        resampled = unmix(resampled, confusion.resampled(replicates, generator)[:, None])
    replicate = Parity(resampled, target)
    intervals = {name: percentile_interval(getattr(replicate, name), level) for name in MEASURES}
    return ParitySummary(Parity(frequency, target), count, intervals, level, confusion is not None and confusion.near_singular)


def _posterior(
    count: Float[np.ndarray, " k"], target: Float[np.ndarray, " k"], replicates: int, generator: np.random.Generator
) -> Float[np.ndarray, "replicates k"]:
    """Draws of the frequencies under Jeffreys' prior. A value that should not occur and does not is taken as impossible."""
    drawn = generator.standard_gamma(count + 0.5 * ((count > 0) | (target > 0)), (replicates, len(count)))
    return drawn / drawn.sum(axis=1, keepdims=True)


def _rows(
    predictions: Integer[np.ndarray, " n"] | Float[np.ndarray, "n k"], target: Float[np.ndarray, "*of_each values"]
) -> Float[np.ndarray, "n values"]:
    """The distribution over the values of each image: one-hot for predicted values."""
    values = target.shape[-1]
    if target.ndim > 2 or values < 2 or not (target >= 0).all() or (np.abs(target.sum(axis=-1) - 1) > 1e-6).any():
        raise InputError(f"`target` must be a distribution over two or more values, got {target.tolist()}")
    if not len(predictions):
        raise InputError("`predictions` must be at least one, got none")
    if predictions.ndim == 1:
        if predictions.min() < 0 or predictions.max() >= values:
            raise InputError(f"`predictions` must be within 0 and {values - 1}, got {predictions.min()} to {predictions.max()}")
        return np.eye(values)[predictions]
    if predictions.shape[1] != values or not (predictions >= 0).all() or np.abs(predictions.sum(axis=1) - 1).max() > 1e-3:
        raise InputError(
            f"probabilities in `predictions` must be distributions over the target's {values} values, "
            f"got shape {predictions.shape}"
        )
    return predictions.astype(np.float64)


def _count(contexts: Integer[np.ndarray, " n"], images: int) -> Integer[np.ndarray, " contexts"]:
    if contexts.shape != (images,) or contexts.min() < 0:
        raise InputError(f"`contexts` must be an index of at least 0 for each of {images} images, got shape {contexts.shape}")
    count = np.bincount(contexts)
    if (count == 0).any():
        raise InputError(
            f"`contexts` must include every index up to the largest, got none of {np.flatnonzero(count == 0).tolist()}"
        )
    return count
