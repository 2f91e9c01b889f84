"""Slack: in closed form for a shown label and a Gaussian, its range, and the coverage of its interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from jaxdiff import InputError
from jaxdiff.fairness.slack import measure_slack

SHARE, SHIFT = 0.8, 0.7  # the label is shown in a share of the images, and a Gaussian's mean is shifted by +- SHIFT


def sampled(rng, count, *, share=SHARE, shift=SHIFT):
    """Labels, whether each is shown, and the answers of the best classifier, which sees the shown value and the Gaussian.

    Given the label s = +-1, the shown value is s with probability r and z ~ N(s d, 1). The log odds of the label are
    +- log(r / (1 - r)) + 2 d z.
    """
    labels = np.arange(count) % 2
    shown = rng.random(count) < share
    value = np.where(shown, labels, 1 - labels)
    z = rng.normal((2 * labels - 1) * shift)
    odds = (2 * value - 1) * np.log(share / (1 - share)) + 2 * shift * z
    return labels, shown, (odds > 0).astype(int)


def exact(share=SHARE, shift=SHIFT):
    """100 (1 - r) minus the best classifier's BER r Phi(-(L + 2 d^2) / 2 d) + (1 - r) Phi((L - 2 d^2) / 2 d)."""
    odds = np.log(share / (1 - share))
    error = share * ndtr(-(odds / (2 * shift) + shift)) + (1 - share) * ndtr(odds / (2 * shift) - shift)
    return 100 * (1 - share - error)


def test_closed_form_is_that_of_the_density():
    """The least error is half of the integral of the smaller of both joint densities."""
    z = np.linspace(-12, 12, 48_001)
    density = np.exp(-((z[:, None] - np.array([-SHIFT, SHIFT])) ** 2) / 2) / np.sqrt(2 * np.pi)
    error = sum(np.minimum(density[:, 0] * a, density[:, 1] * (1 - a)).sum() for a in (SHARE, 1 - SHARE)) * (z[1] - z[0]) / 2
    assert 100 * (1 - SHARE - error) == pytest.approx(exact(), abs=1e-6)


def test_slack_is_that_of_the_closed_form_and_its_interval_covers_it():
    rng = np.random.default_rng(0)
    covered, values = 0, []
    for i in range(200):
        labels, shown, predicted = sampled(rng, 1000)
        held_out = rng.permutation(1000)[:500]
        found = measure_slack(shown, labels, predicted[None, held_out], held_out, values=2, replicates=200, seed=i)
        covered += found.interval[0] <= exact() <= found.interval[1]
        values.append(found.value)
    assert abs(np.mean(values) - exact()) < 4 * np.std(values) / np.sqrt(200)
    # four standard errors of a coverage of .95 around it
    assert 0.95 - 4 * np.sqrt(0.95 * 0.05 / 200) <= covered / 200


def test_interval_has_the_width_of_the_sampling_error():
    """The same images decide r and the BER: with all images held out the slack is a mean over images, of variance Var / N."""
    labels, shown, predicted = sampled(np.random.default_rng(1), 4000)
    found = measure_slack(shown, labels, predicted[None], np.arange(4000), values=2, replicates=4000)
    each = 100 * (~shown - 1.0 * (predicted != labels))
    assert found.value == pytest.approx(each.mean())
    assert np.diff(found.interval)[0] == pytest.approx(2 * 1.96 * each.std() / np.sqrt(4000), rel=0.06)


def test_nothing_beyond_the_label_is_a_slack_of_zero_and_all_of_it_is_the_whole_range():
    rng = np.random.default_rng(2)
    labels, shown, _ = sampled(rng, 600)
    value = np.where(shown, labels, 1 - labels)
    alone = measure_slack(shown, labels, value[None], np.arange(600), values=2)
    np.testing.assert_allclose([alone.value, *alone.interval], 0, atol=1e-12)
    known = measure_slack(shown, labels, labels[None], np.arange(600), values=2)
    share = np.mean([shown[labels == group].mean() for group in (0, 1)])
    assert known.value == pytest.approx(100 * (1 - share)) and known.shown == pytest.approx(share)
    turned = measure_slack(shown, labels, 1 - labels[None], np.arange(600), values=2)
    assert turned.value == pytest.approx(-100 * share)  # a negative slack is shown as it is


@given(st.integers(2, 4), st.integers(1, 3), st.integers(0, 2**31))
def test_slack_is_the_mean_over_groups_of_any_sizes_and_over_seeds(values, seeds, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(values), np.arange(values), rng.integers(values, size=30)])
    shown = rng.random(len(labels)) < 0.7
    held_out = np.append(np.arange(values), values + rng.permutation(len(labels) - values)[:10])
    predictions = rng.integers(values, size=(seeds, len(held_out)))
    found = measure_slack(shown, labels, predictions, held_out, values=values, replicates=20)
    share = np.mean([shown[labels == group].mean() for group in range(values)])
    bers = [np.mean([(p != g)[labels[held_out] == g].mean() for g in range(values)]) for p in predictions]
    assert found.value == pytest.approx(100 * (1 - share - np.mean(bers)))
    assert -100 <= found.interval[0] <= found.interval[1] <= 100


@pytest.mark.parametrize(
    ("indices", "labels", "word"),
    [
        ([0, 0], [0, 1, 0], "indices"),
        ([0, 3], [0, 1, 0], "indices"),
        ([0, 2], [0, 1, 0], "none of"),
        ([0, 1], [0, 2, 0], "labels"),
    ],
)
def test_wrong_input_is_an_error(indices, labels, word):
    with pytest.raises(InputError, match=word):
        measure_slack(np.ones(3, bool), np.array(labels), np.zeros((1, 2), int), np.array(indices), values=2)
