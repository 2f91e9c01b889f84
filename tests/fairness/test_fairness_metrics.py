"""Group errors, the balanced error rate and bootstrap intervals follow their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score

from jaxdiff import InputError
from jaxdiff.fairness.metrics import GroupErrors, bootstrap, group_errors, summarise


@given(st.integers(2, 5), st.integers(0, 2**31))
def test_ber_is_one_minus_balanced_accuracy(values, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(values), rng.integers(values, size=60)])
    predictions = rng.integers(values, size=len(labels))
    errors = group_errors(predictions, labels, values=values)
    np.testing.assert_allclose(errors.ber, 100 * (1 - balanced_accuracy_score(labels, predictions)))
    np.testing.assert_allclose(errors.error, 100 * (1 - recall_score(labels, predictions, average=None)))
    np.testing.assert_array_equal(errors.count, np.bincount(labels))


def test_the_published_row_is_reproduced():
    # "Ours", synthetic to real, of the paper's table: 850 of 1556 and 1145 of 2085 images in error.
    labels = np.repeat([0, 1], [1556, 2085])
    wrong = np.concatenate([np.arange(1556) < 850, np.arange(2085) < 1145])
    errors = group_errors(np.where(wrong, 1 - labels, labels), labels, values=2)
    np.testing.assert_allclose([*errors.error, errors.gap, errors.ber], [54.63, 54.92, 0.29, 54.78], atol=0.01)
    np.testing.assert_allclose([errors.folded_ber, errors.epsilon], [45.22, 0.4522], atol=0.01)


def test_ber_weighs_groups_equally_whatever_their_sizes():
    labels = np.repeat([0, 1], [1000, 10])
    assert group_errors(np.zeros(1010, int), labels, values=2).ber == 50


@pytest.mark.parametrize("values", [2, 3, 7])
def test_a_random_guess_is_at_chance_and_a_constant_one_always_wrong_in_its_worst_group(values, rng):
    labels = np.concatenate([np.arange(values), rng.integers(values, size=60)])
    constant = group_errors(np.zeros(len(labels), int), labels, values=values)
    np.testing.assert_allclose(constant.ber, constant.chance)
    # Whatever a guess follows: drawn with any probabilities it has this error in the mean, group by group.
    guess = rng.choice(values, p=rng.dirichlet(np.ones(values)), size=(4000, len(labels)))
    np.testing.assert_allclose(group_errors(guess, labels, values=values).ber.mean(), constant.chance, atol=1)
    assert constant.worst == 100 and group_errors(labels, labels, values=values).worst == 0


def test_an_absent_group_is_nan_and_never_zero():
    errors = group_errors(np.array([0, 1, 0]), np.array([0, 0, 0]), values=2)
    np.testing.assert_allclose(errors.error, [100 / 3, np.nan])
    np.testing.assert_array_equal(errors.count, [3, 0])
    assert np.isnan([errors.ber, errors.gap, errors.worst, errors.folded_ber, errors.epsilon]).all()
    assert np.isnan(bootstrap(np.array([[0, 1, 0]]), np.array([0, 0, 0]), values=2, replicates=50)["ber"]).all()


def test_folding_and_epsilon_exist_for_two_values_only():
    errors = group_errors(np.array([0, 1, 2, 0]), np.array([0, 1, 2, 2]), values=3)
    assert np.isnan(errors.folded_ber) and np.isnan(errors.epsilon) and not np.isnan(errors.ber)


def test_epsilon_is_what_the_best_classifier_or_flip_leaves():
    errors = GroupErrors(np.array([[50.0, 50.0], [80.0, 90.0], [20.0, 40.0]]), np.array([5, 5]))
    assert errors.epsilon == pytest.approx(0.15)


def test_flipped_predictions_fold_to_the_same_error(rng):
    labels = rng.integers(2, size=200)
    predictions = np.where(rng.random(200) < 0.3, 1 - labels, labels)
    straight, flipped = (group_errors(p, labels, values=2) for p in (predictions, 1 - predictions))
    np.testing.assert_allclose(straight.ber + flipped.ber, 100)
    np.testing.assert_allclose(straight.folded_ber, flipped.folded_ber)


def test_seeds_are_averaged_and_their_spread_is_reported():
    labels = np.array([0, 0, 1, 1])
    predictions = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 0]])
    summary = summarise(predictions, labels, values=2, replicates=50)
    np.testing.assert_allclose(summary.mean.error, [50, 50 / 3])
    np.testing.assert_allclose(summary.mean.ber, np.mean([0, 25, 75]))
    np.testing.assert_allclose(summary.ber_deviation, np.std([0, 25, 75], ddof=1))
    assert np.isnan(summarise(predictions[:1], labels, values=2, replicates=50).ber_deviation)


def test_bootstrap_spread_is_the_binomial_one(rng):
    labels = np.repeat([0, 1], [400, 600])
    predictions = np.where(rng.random(1000) < np.where(labels, 0.1, 0.4), 1 - labels, labels)
    error = group_errors(predictions, labels, values=2).error / 100
    ends = bootstrap(predictions[None], labels, values=2, replicates=4000)
    deviation = 100 * np.sqrt(error * (1 - error) / [400, 600])
    np.testing.assert_allclose(np.diff(ends["error"])[:, 0], 2 * 1.96 * deviation, rtol=0.06)
    np.testing.assert_allclose(np.diff(ends["ber"]), 1.96 * np.hypot(*deviation), rtol=0.06)


def test_bootstrap_intervals_cover_the_truth(rng):
    labels = np.repeat([0, 1], 150)
    covered = 0
    for trial in range(400):
        predictions = np.where(rng.random(300) < np.where(labels, 0.2, 0.4), 1 - labels, labels)
        low, high = bootstrap(predictions[None], labels, values=2, replicates=200, seed=trial)["ber"]
        covered += low <= 30 <= high
    assert 0.91 <= covered / 400 <= 0.98  # 95 %, give or take four standard errors of 400 trials and of few replicates


def test_seeds_that_agree_do_not_narrow_the_interval(rng):
    labels = rng.integers(2, size=300)
    predictions = np.where(rng.random(300) < 0.3, 1 - labels, labels)
    one, five = (bootstrap(np.tile(predictions, (n, 1)), labels, values=2) for n in (1, 5))
    for name in one:
        np.testing.assert_allclose(one[name], five[name])


def test_a_replicate_without_a_group_counts_for_nothing():
    # One image of group 1, in error: in a third of the replicates it is absent, in all others its error is 100 %.
    labels = np.array([0] * 30 + [1])
    ends = bootstrap(np.zeros((1, 31), int), labels, values=2, replicates=500)
    np.testing.assert_array_equal(ends["error"], [[0, 0], [100, 100]])
    np.testing.assert_array_equal(ends["ber"], [50, 50])


def test_bootstrap_is_a_function_of_its_seed(rng):
    labels, predictions = rng.integers(2, size=100), rng.integers(2, size=(2, 100))
    first, again, other = (bootstrap(predictions, labels, values=2, seed=seed)["ber"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(("labels", "values"), [([0, 2], 2), ([-1, 0], 2), ([0, 0], 1), ([], 2)])
def test_labels_out_of_range_are_refused(labels, values):
    labels = np.array(labels, int)
    with pytest.raises(InputError, match="must be at least"):
        group_errors(labels, labels, values=values)


def test_bootstrap_refuses_no_replicates_and_impossible_levels():
    labels = np.array([0, 1])
    for options in ({"replicates": 0}, {"level": 1.0}):
        with pytest.raises(InputError, match="`replicates` must be at least 1 and `level` within 0 and 1"):
            bootstrap(labels[None], labels, values=2, **options)
