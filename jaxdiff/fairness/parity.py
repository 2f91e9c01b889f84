"""Parity: how often each value of an attribute occurs among generated images, against how often it should.

Another family than the error rates of `metrics`, which ask whether a value can be read off: images of equal shares may
tell their group plainly, and images that tell nothing may be of one kind.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float, Integer

from jaxdiff.errors import InputError
from jaxdiff.fairness.confusion import Confusion, unmix
from jaxdiff.fairness.intervals import check_replicates, percentile_interval, resampled_sums

TOLERANCE = 0.04
"""A frequency counts as fair within so much of its target (Friedrich et al. 2023: 46 to 54 % of two values)."""


@dataclass(frozen=True)
class Parity:
    """Frequencies of an attribute's values in contexts (prompts, say), against their target. All are shares, not percent.

    Fields:
        frequency: (..., C, K), over leading axes if there are several: each context's distribution over the values.
        target: (K,).
    """

    frequency: Float[np.ndarray, "*replicates contexts k"]
    target: Float[np.ndarray, " k"]

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
        """The mean of |frequency_i - frequency_j| over the pairs i < j (..., C), whatever the target (Shen et al. 2024)."""
        i, j = np.triu_indices(len(self.target), 1)
        return np.abs(self.frequency[..., i] - self.frequency[..., j]).mean(axis=-1)

    @property
    def divergence(self) -> Float[np.ndarray, "*replicates contexts"]:
        """KL(frequency || target) in nats (..., C); infinite where a value occurs whose target is 0."""
        return scipy.special.rel_entr(self.frequency, self.target).sum(axis=-1)

    @property
    def within(self) -> Bool[np.ndarray, "*replicates contexts"]:
        """Whether every value of a context lies within `TOLERANCE` of its target (..., C)."""
        return (self.deviation <= TOLERANCE + 1e-9).all(axis=-1)  # 0.54 - 0.5 is above 0.04 in floating point

    @property
    def share_within(self) -> Float[np.ndarray, "*replicates"]:
        """The share of the contexts that are `within` (...,); for one context 0 or 1."""
        return np.asarray(self.within.mean(axis=-1))

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
    "share_within", "mean_deviation", "mean_discrepancy", "mean_pairwise_bias",
)  # fmt: skip
"""The properties of `Parity` that are given intervals."""


@dataclass(frozen=True)
class ParitySummary:
    """The answer of `measure_parity`.

    Fields:
        parity: the measures.
        count: images of each context (C,).
        intervals: by name in `MEASURES`: the lower and upper ends, on a last axis behind the measure's own.
        level: of the intervals.
        near_singular: the warning that the classifier is too poor for the correction that was asked for.
    """

    parity: Parity
    count: Integer[np.ndarray, " contexts"]
    intervals: Mapping[str, Float[np.ndarray, "..."]]
    level: float
    near_singular: bool


def measure_parity(
    answers: Integer[np.ndarray, " n"] | Float[np.ndarray, "n k"],
    target: Float[np.ndarray, " values"],
    *,
    contexts: Integer[np.ndarray, " m"] | None = None,
    confusion: Confusion | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> ParitySummary:
    """Parity of a classifier's answers with percentile bootstrap intervals over the images of each context.

    The distances are at least 0 and grow with noise: a few images of a fair generator do not reach 0, nor do their
    intervals.

    Arguments:
        answers: predicted values (N,), or soft probabilities (N, K) whose mean is then the frequency.
        target: (K,), a distribution over the values.
        contexts: which context each image belongs to (N,), 0..C-1; None is one context.
        confusion: the classifier's, to correct the frequencies of predicted values by; its images are resampled too.
        replicates, level, seed: of the bootstrap.

    Raises:
        InputError: a target that is no distribution, answers or contexts out of range, a context without images, or a
            confusion for soft answers or of another number of values.
    """
    check_replicates(replicates, level)
    rows = _rows(answers, target)
    contexts = np.zeros(len(rows), np.int64) if contexts is None else contexts
    count = _count(contexts, len(rows))
    if confusion is not None and (answers.ndim != 1 or len(confusion.count) != len(target)):
        raise InputError(
            f"`confusion` takes predicted values (N,) of its {len(confusion.count)} values, "
            f"got answers of shape {answers.shape} and a target of {len(target)}"
        )
    generator = np.random.default_rng(seed)
    of_context = [rows[contexts == context] for context in range(len(count))]
    frequency = np.stack([part.mean(axis=0) for part in of_context])
    sums = [resampled_sums(part, replicates=replicates, generator=generator) for part in of_context]
    resampled = np.stack(sums, axis=1) / count[:, None]
    if confusion is not None:
        frequency = confusion.correct(frequency)
        resampled = unmix(resampled, confusion.resampled(replicates, generator)[:, None])
    replicate = Parity(resampled, target)
    intervals = {name: percentile_interval(getattr(replicate, name), level) for name in MEASURES}
    return ParitySummary(Parity(frequency, target), count, intervals, level, confusion is not None and confusion.near_singular)


def _rows(answers, target) -> Float[np.ndarray, "n k"]:
    """The distribution over the values that each image stands for."""
    values = len(target)
    if values < 2 or not (target >= 0).all() or abs(target.sum() - 1) > 1e-6:
        raise InputError(f"`target` must be a distribution over two or more values, got {target.tolist()}")
    if not len(answers):
        raise InputError("`answers` must be at least one, got none")
    if answers.ndim == 1:
        if answers.min() < 0 or answers.max() >= values:
            raise InputError(f"`answers` must be within 0 and {values - 1}, got {answers.min()} to {answers.max()}")
        return np.eye(values)[answers]
    if answers.shape[1] != values or not (answers >= 0).all() or np.abs(answers.sum(axis=1) - 1).max() > 1e-3:
        raise InputError(f"soft `answers` must be distributions over the target's {values} values, got shape {answers.shape}")
    return answers.astype(np.float64)


def _count(contexts, images) -> Integer[np.ndarray, " contexts"]:
    if contexts.shape != (images,) or contexts.min() < 0:
        raise InputError(f"`contexts` must be a number of at least 0 for each of {images} images, got shape {contexts.shape}")
    count = np.bincount(contexts)
    if (count == 0).any():
        raise InputError(f"`contexts` must leave out no number, got none of {np.flatnonzero(count == 0).tolist()}")
    return count
