"""Slack: how much better the labels of a set can be predicted than by the feature that defines them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from jaxdiff.errors import InputError
from jaxdiff.statistics import check_labels, check_replicates, percentile_interval, ratio, resampled_sums


@dataclass(frozen=True)
class Slack:
    """The result of `measure_slack`.

    Fields:
        value: in percent, from -100 r to 100 (1 - r).
        interval: percentile bootstrap interval over images (2,).
        shown: r, the share of images that show their label, the mean over the groups, in [0, 1].
        level: of the interval.
    """

    value: float
    interval: Float[np.ndarray, " 2"]
    shown: float
    level: float


def measure_slack(
    shown: Bool[np.ndarray, " n"],
    labels: Integer[np.ndarray, " n"],
    predictions: Integer[np.ndarray, "seeds m"],
    indices: Integer[np.ndarray, " m"],
    *,
    values: int,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Slack:
    """The slack 100 (1 - r) - BER of a set: what its images reveal of their label beyond the feature that defines it.

    A classifier of the defining feature predicts the label of a share r of the images, the mean over the groups, so that its
    balanced error rate is 100 (1 - r). The least BER of all classifiers is at most that: the slack of the best classifier is
    within 0 and 100 (1 - r), and 0 where nothing but this classifier's answer helps to predict the label. The tested
    classifiers' BER is at least the best one's, so that in expectation the measured slack is at most the true one. It is
    negative where they predict worse than the defining feature, by sampling error or since they were trained on few images.

    Images are resampled as in `jaxdiff.fairness.bootstrap`, those that the classifiers were tested on and the others apart, so
    that the interval includes the correlation of r and BER.

    Arguments:
        shown: whether each image shows its label (N,).
        labels: (N,), 0..K-1.
        predictions: labels predicted by each seed's classifier for the held-out images (seeds, M).
        indices: the positions of these images among the N (M,), each once.
        values: K.
        replicates: bootstrap samples, at least 1.
        level: of the interval, in (0, 1).
        seed: of the bootstrap.

    Raises:
        InputError: labels or indices out of range, or a value that no held-out image has.
    """
    check_replicates(replicates, level)
    check_labels(labels, values=values)
    held_out = np.bincount(indices, minlength=len(labels))
    if len(held_out) > len(labels) or held_out.max() > 1:
        raise InputError(f"`indices` must be different positions of {len(labels)} images, got {indices}")
    members = labels[:, None] == np.arange(values)
    absent = np.flatnonzero(~members[indices].any(axis=0))
    if len(absent):
        raise InputError(f"`indices` must have images of every value in 0..{values - 1}, got none of {absent.tolist()}")
    wrong = (predictions != labels[indices]).mean(axis=0)[:, None] * members[indices]
    of_set = np.concatenate([members, members & shown[:, None]], axis=1).astype(np.float64)

    def slack(tested, others):
        """The slack, and the share of images that show their label, from sums over held-out images and over the others."""
        errors, count, hits = np.split(tested, 3, axis=-1)
        more, more_hits = np.split(others, 2, axis=-1)
        share = ratio(hits + more_hits, count + more).mean(axis=-1)
        return 100 * (1 - share - ratio(errors, count).mean(axis=-1)), share

    tested, others = np.concatenate([wrong, of_set[indices]], axis=1), of_set[held_out == 0]
    generator = np.random.default_rng(seed)
    resampled = [
        resampled_sums(rows, replicates=replicates, generator=generator) if len(rows) else np.zeros((1, rows.shape[1]))
        for rows in (tested, others)
    ]
    value, share = slack(tested.sum(axis=0), others.sum(axis=0))
    return Slack(float(value), percentile_interval(slack(*resampled)[0], level), float(share), level)
