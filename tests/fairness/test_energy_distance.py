"""The energy distance is unbiased, and its p-value is one."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist
from scipy.stats import kstest, norm
from sklearn.metrics.pairwise import euclidean_distances

from jaxdiff import InputError
from jaxdiff.fairness import energy
from jaxdiff.fairness.energy import energy_distance, energy_test


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (7, 30, 5), (40, 25, 300)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_distance_is_the_sum_over_pairs(rng, n, m, d, dtype):
    x, y = rng.normal(size=(n, d)).astype(dtype), (rng.normal(size=(m, d)) + 0.5).astype(dtype)
    expected = 2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean()
    np.testing.assert_allclose(energy_distance(x, y), expected, rtol=1e-5, atol=1e-5)


def test_blocks_give_the_same_distances(rng, monkeypatch):
    x = rng.normal(size=(50, 8))
    monkeypatch.setattr(energy, "BLOCK", 7)
    test = energy_test(x[:20], x[20:], permutations=19)
    monkeypatch.setattr(energy, "BLOCK", 512)
    assert energy_test(x[:20], x[20:], permutations=19).distance == pytest.approx(test.distance, rel=1e-5)
    between = euclidean_distances(x[:20], x[20:]).mean()
    np.testing.assert_allclose(test.relative, test.distance / (2 * between), rtol=1e-5)


def absolute_mean(mean, deviation):
    """E|Z| of a normal Z."""
    return deviation * math.sqrt(2 / math.pi) * math.exp(-((mean / deviation) ** 2) / 2) + mean * (
        1 - 2 * norm.cdf(-mean / deviation)
    )


def test_distance_of_normals_has_the_closed_form(rng):
    # X ~ N(0, 1), Y ~ N(m, s²): X - Y, X - X' and Y - Y' are normal.
    m, s = 0.8, 1.5
    expected = 2 * absolute_mean(m, math.hypot(1, s)) - absolute_mean(0, math.sqrt(2)) - absolute_mean(0, s * math.sqrt(2))
    estimates = [energy_distance(rng.normal(size=(40, 1)), m + s * rng.normal(size=(60, 1))) for _ in range(1000)]
    error = np.std(estimates) / math.sqrt(1000)
    assert abs(np.mean(estimates) - expected) < 4 * error < 0.1 * expected


def test_the_estimate_is_unbiased_where_the_distributions_agree(rng):
    estimates = np.array([energy_distance(rng.normal(size=(6, 3)), rng.normal(size=(9, 3))) for _ in range(2000)])
    assert abs(estimates.mean()) < 4 * estimates.std() / math.sqrt(2000)
    assert (estimates < 0).any()


def test_permuted_statistics_are_those_of_the_permuted_samples(rng):
    both = rng.normal(size=(30, 4))
    distances, first = energy._prepare(both[:12], both[12:])
    chosen = np.stack([rng.permutation(first) for _ in range(5)], axis=1)
    expected = [energy_distance(both[c], both[~c]) for c in chosen.T]
    np.testing.assert_allclose(energy._statistic(distances, chosen), expected, atol=1e-5)


def test_p_values_are_uniform_under_the_null(rng):
    p = [
        energy_test(rng.normal(size=(15, 2)), rng.normal(size=(20, 2)), permutations=99, seed=trial).p_value
        for trial in range(400)
    ]
    assert min(p) >= 0.01 and max(p) <= 1
    assert kstest(np.array(p) - rng.random(400) / 100, "uniform").pvalue > 1e-3  # p has 100 steps: spread within each


def test_a_shift_is_found(rng):
    found = [
        energy_test(rng.normal(size=(60, 5)), rng.normal(size=(60, 5)) + 0.5, permutations=99, seed=trial).p_value
        for trial in range(30)
    ]
    assert np.mean(np.array(found) <= 0.05) > 0.9


def test_relative_distance_is_one_for_two_points_and_zero_for_one():
    zeros, ones = np.zeros((5, 3)), np.ones((5, 3))
    test = energy_test(zeros, ones, permutations=199)
    assert test.relative == pytest.approx(1) and test.distance == pytest.approx(2 * math.sqrt(3))
    same = energy_test(zeros, zeros, permutations=19)
    assert (same.distance, same.relative, same.p_value) == (0, 0, 1)


def test_large_samples_are_drawn_from_by_seed(rng):
    x, y = rng.normal(size=(300, 2)), rng.normal(size=(80, 2))
    first, again, other = (energy_test(x, y, permutations=9, limit=100, seed=seed) for seed in (3, 3, 4))
    assert first == again and first.count == (100, 80)
    assert first.distance != other.distance


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((1, 3)), np.zeros((5, 3)), "two or more vectors"),
        (np.zeros((5, 3)), np.zeros((5, 2)), "two or more vectors"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "finite"),
    ],
)
def test_what_is_no_pair_of_samples_is_refused(x, y, message):
    with pytest.raises(InputError, match=message):
        energy_distance(x, y)


def test_no_permutations_are_refused():
    with pytest.raises(InputError, match="`permutations` must be at least 1"):
        energy_test(np.zeros((5, 3)), np.zeros((5, 3)), permutations=0)
