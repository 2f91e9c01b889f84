"""Pairs of values and products of attributes are measured by group, and absent groups are never reported as fair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score

from jaxdiff import InputError
from jaxdiff.data.attributes import Attribute
from jaxdiff.fairness import metrics
from jaxdiff.fairness.groups import SMALL, group_rates, intersect, pairwise_bootstrap, pairwise_errors
from jaxdiff.statistics import percentile_interval, resampled_sums, wilson_interval

GENDER = Attribute("gender", ("male", "female"))
RACE = Attribute("race", ("one", "two", "three"))


def scored(rng, count, values):
    """Scores in quarters, so that some are equal, of labels of which every value occurs."""
    labels = np.concatenate([np.arange(values), rng.integers(values, size=count - values)])
    return rng.integers(4, size=(count, values)) / 4, labels


@given(st.integers(2, 5), st.integers(0, 2**31))
def test_each_pair_is_one_minus_the_balanced_accuracy_of_its_images_alone(values, seed):
    scores, labels = scored(np.random.default_rng(seed), 50, values)
    errors = pairwise_errors(scores, labels)
    folded = []
    for a in range(values):
        assert np.isnan(errors.ber[a, a])
        for b in range(a + 1, values):
            pair = (labels == a) | (labels == b)
            predictions = np.where(scores[pair][:, [a, b]].argmax(axis=1) == 0, a, b)
            ber = 100 * (1 - balanced_accuracy_score(labels[pair], predictions))
            np.testing.assert_allclose([errors.ber[a, b], errors.ber[b, a]], ber)
            np.testing.assert_allclose(errors.error[a, b], 100 * np.mean(predictions[labels[pair] == a] == b))
            folded.append(min(ber, 100 - ber))
    np.testing.assert_allclose(errors.mean, np.mean(folded))


def test_of_two_values_the_only_pair_is_the_whole(rng):
    scores, labels = scored(rng, 300, 2)
    whole = metrics.group_errors(scores.argmax(axis=1), labels, values=2)
    pair = pairwise_errors(scores, labels)
    np.testing.assert_allclose(pair.mean, whole.folded_ber)
    np.testing.assert_allclose([pair.error[0, 1], pair.error[1, 0]], whole.error)
    of_pair = pairwise_bootstrap(scores[None], labels, replicates=4000)["mean"]
    of_whole = metrics.bootstrap(scores.argmax(axis=1)[None], labels, values=2, replicates=4000)["folded_ber"]
    np.testing.assert_allclose(of_pair, of_whole, atol=0.6)  # a tenth of their width


def test_a_third_value_that_is_always_likelier_changes_no_pair(rng):
    labels = rng.integers(2, size=100)
    scores = np.stack([1.0 - labels, labels, np.full(100, 9.0)], axis=1)
    assert (scores.argmax(axis=1) == 2).all()
    assert pairwise_errors(scores, np.concatenate([labels[:-1], [2]])).folded_ber[0, 1] == 0


def test_a_classifier_that_swaps_two_values_separates_them(rng):
    labels = rng.integers(3, size=200)
    errors = pairwise_errors(np.eye(3)[labels][:, [1, 0, 2]], labels)
    assert (errors.ber[0, 1], errors.folded_ber[0, 1]) == (100, 0)


def test_an_absent_value_is_nan_and_never_zero(rng):
    labels = np.array([0, 0, 1, 1])
    errors = pairwise_errors(rng.random((4, 3)), labels)
    assert np.isnan(errors.ber[2]).all() and np.isnan(errors.mean)
    assert not np.isnan(errors.ber[0, 1])
    assert np.isnan(pairwise_bootstrap(rng.random((1, 4, 3)), labels, replicates=20)["mean"]).all()


def test_several_classifiers_are_measured_each_and_averaged_in_the_bootstrap(rng):
    labels = np.repeat([0, 1, 2], [300, 400, 500])
    scores = np.eye(3)[labels] + rng.normal(0, 0.8, (2, 1200, 3))
    both = pairwise_errors(scores, labels)
    for each, alone in zip(both.error, (pairwise_errors(s, labels) for s in scores), strict=True):
        np.testing.assert_array_equal(each, alone.error)
    # The mean over pairs is a sum over images of independent parts, of a weight that each image carries: its deviation
    # is that of the group means.
    weight = np.stack([[(s > s[np.arange(1200), labels][:, None]).sum(axis=1) for s in scores]]).mean(axis=(0, 1)) * 100 / 6
    deviation = np.sqrt(sum(weight[labels == value].var() / (labels == value).sum() for value in range(3)))
    ends = pairwise_bootstrap(scores, labels, replicates=4000)
    np.testing.assert_allclose(np.diff(ends["mean"]), 2 * 1.96 * deviation, rtol=0.06)
    assert (ends["ber"][0, 1] == ends["ber"][1, 0]).all() and np.isnan(ends["ber"][0, 0]).all()


def test_resampling_in_blocks_is_resampling(rng, monkeypatch):
    rows = rng.normal(size=(50, 2))
    whole, blocks = [], []
    for block, into in ((1 << 22, whole), (120, blocks)):
        monkeypatch.setattr("jaxdiff.statistics.BLOCK", block)
        into.append(resampled_sums(rows, replicates=7, generator=np.random.default_rng(1)))
    assert whole[0].shape == (7, 2)
    np.testing.assert_allclose(whole, blocks)


def test_interval_ends_are_order_statistics_of_the_replicates_that_are_numbers(rng):
    replicates = rng.normal(size=(101, 3))
    replicates[50:, 0], replicates[:, 1], replicates[:90, 2] = np.nan, np.nan, np.inf
    ends = percentile_interval(replicates, 0.93)
    for column in (0, 2):
        numbers = replicates[~np.isnan(replicates[:, column]), column]
        expected = [np.quantile(numbers, tail, method=way) for tail, way in ((0.035, "lower"), (0.965, "higher"))]
        np.testing.assert_array_equal(ends[column], expected)
    assert np.isnan(ends[1]).all()


def test_the_interval_of_a_share_of_no_images_is_nan():
    interval = wilson_interval(np.array([0.0, 0.0]), np.array([0, 10]))
    np.testing.assert_array_equal(np.isnan(interval), [[True, True], [False, False]])


def test_intersectional_groups_are_the_combinations_of_values(rng):
    labels = np.stack([rng.integers(2, size=500), rng.integers(3, size=500)], axis=1)
    answer = intersect(labels, [GENDER, RACE])
    assert answer.names[:4] == (("male", "one"), ("male", "two"), ("male", "three"), ("female", "one"))
    for image in range(500):
        assert answer.names[answer.groups[image]] == (GENDER.values[labels[image, 0]], RACE.values[labels[image, 1]])
    np.testing.assert_array_equal(answer.count, [sum(answer.groups == g) for g in range(6)])


def test_few_images_are_flagged_and_none_have_no_rate():
    labels = np.repeat([[0, 0], [0, 1], [1, 2]], [SMALL, SMALL - 1, 50], axis=0)
    answer = intersect(labels, [GENDER, RACE])
    assert answer.small.tolist() == [False, True, True, True, True, False]
    rates = group_rates(np.zeros(len(labels), bool), answer.groups, values=6)
    absent = [2, 3, 4]
    assert np.isnan(rates.rate[absent]).all() and np.isnan(rates.interval[absent]).all() and (rates.count[absent] == 0).all()
    assert (rates.rate[[0, 1, 5]] == 0).all() and rates.gap == 0


@given(st.integers(1, 40), st.floats(0.5, 0.99), st.integers(0, 2**31))
def test_rates_and_their_intervals_are_wilsons(count, level, seed):
    rng = np.random.default_rng(seed)
    happened = rng.integers(count + 1)
    events, groups = np.repeat([True, False, True], [happened, count - happened, 3]), np.repeat([0, 1], [count, 3])
    rates = group_rates(events, groups, values=2, level=level)
    expected = binomtest(int(happened), count).proportion_ci(level, method="wilson")
    np.testing.assert_allclose(rates.rate, [happened / count, 1])
    np.testing.assert_allclose(rates.interval[0], [expected.low, expected.high], atol=1e-12)
    np.testing.assert_allclose(rates.gap, 1 - happened / count)


def test_several_classifiers_are_averaged_and_never_narrow_the_interval_of_one(rng):
    events, groups = rng.random((3, 200)) < 0.7, rng.integers(2, size=200)
    mean = group_rates(events.mean(axis=0), groups, values=2)
    alone = [group_rates(each, groups, values=2).rate for each in events]
    np.testing.assert_allclose(mean.rate, np.mean(alone, axis=0))
    covered = np.zeros(2)
    for _ in range(300):
        events = (rng.random((3, 200)) < 0.7).mean(axis=0)
        interval = group_rates(events, groups, values=2).interval
        covered += (interval[:, 0] <= 0.7) & (interval[:, 1] >= 0.7)
    assert (covered / 300 >= 0.95).all()


def test_groups_and_events_out_of_range_are_refused():
    with pytest.raises(InputError, match="`labels` must have a column for each of 2 attributes"):
        intersect(np.zeros((4, 1), int), [GENDER, RACE])
    with pytest.raises(InputError, match=r"entries from 0 to below \[2, 3\]"):
        intersect(np.array([[0, 3]]), [GENDER, RACE])
    with pytest.raises(InputError, match="within 0 and 1, got 0 to 2"):
        group_rates(np.array([True, True]), np.array([0, 2]), values=2)
    with pytest.raises(InputError, match="`events` must be within 0 and 1"):
        group_rates(np.array([0, 3]), np.array([0, 1]), values=2)
    with pytest.raises(InputError, match="`level` must be within 0 and 1, got 1"):
        group_rates(np.array([0, 1]), np.array([0, 1]), values=2, level=1.0)
    with pytest.raises(InputError, match="within 0 and 1, got 0 to 2"):
        pairwise_errors(np.zeros((2, 2)), np.array([0, 2]))
