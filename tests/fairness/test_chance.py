"""The test of predictions against chance is exact: Fisher's where there are two values, and at its level under any null."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import binom, hypergeom

from jaxdiff.errors import InputError
from jaxdiff.fairness.chance import chance_test


def test_two_values_and_one_classifier_are_fishers_exact_test(rng):
    for _ in range(10):
        labels = rng.permutation(np.arange(40) % 2)
        predictions = np.where(rng.random(40) < 0.6, labels, rng.integers(0, 2, 40))
        found = chance_test(predictions[None], labels, values=2, permutations=20_000)
        # the balanced error falls with the ones among the images of label 1, whose law is hypergeometric
        law, ones = hypergeom(40, 20, predictions.sum()), (predictions & labels).sum()
        assert found.below == pytest.approx(law.sf(ones - 1), abs=0.015)
        assert found.above == pytest.approx(law.cdf(ones), abs=0.015)


def test_several_classifiers_of_several_values_are_one_statistic(rng):
    """Against all 6! permutations, with groups of different sizes."""
    labels = np.array([0, 0, 0, 1, 1, 2])
    predictions = np.array([[0, 0, 1, 1, 1, 2], [0, 2, 0, 1, 0, 0]])
    weight = 1 / np.bincount(labels)

    def right(of):
        return ((predictions == of) * weight[of]).sum()

    permuted = np.array([right(np.array(order)) for order in permutations(labels)])
    found = chance_test(predictions, labels, values=3, permutations=40_000)
    assert found.below == pytest.approx((permuted >= right(labels) - 1e-9).mean(), abs=0.01)
    assert found.above == pytest.approx((permuted <= right(labels) + 1e-9).mean(), abs=0.01)


@pytest.mark.parametrize("alike", [False, True])
def test_independent_predictions_are_flagged_at_most_at_the_level(rng, alike):
    """2,000 sets; seeds that agree wholly, or not at all, groups of unequal sizes and predictions of unequal shares."""
    levels = np.array([[0.01], [0.05]])
    trials, flags = 2000, np.zeros((2, 2))
    for trial in range(trials):
        labels = (np.arange(60) % 3 == 0).astype(int)
        predictions = (rng.random((1 if alike else 3, 60)) < rng.uniform(0.1, 0.9)).astype(int)
        predictions = np.repeat(predictions, 3, axis=0) if alike else predictions
        found = chance_test(predictions, labels, values=2, permutations=199, seed=trial)
        flags += np.array([found.below, found.above]) <= levels
    assert (flags <= binom.ppf(0.999, trials, levels)).all()
    assert (flags > 0.2 * levels * trials).all()  # and the test is not merely deaf


def test_always_right_and_always_wrong_have_the_least_p_value():
    labels = np.arange(40) % 2
    right, wrong = (chance_test(each[None], labels, values=2, permutations=999) for each in (labels, 1 - labels))
    assert (right.below, right.above) == (0.001, 1.0) and (wrong.below, wrong.above) == (1.0, 0.001)


def test_a_constant_classifier_is_at_chance():
    found = chance_test(np.ones((2, 30), int), np.arange(30) % 2, values=2, permutations=99)
    assert (found.below, found.above) == (1.0, 1.0)


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="permutations"):
        chance_test(np.zeros((1, 4), int), np.arange(4) % 2, values=2, permutations=0)
    with pytest.raises(InputError, match="labels"):
        chance_test(np.zeros((1, 4), int), np.arange(4), values=2)
