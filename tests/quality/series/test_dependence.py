"""Correlations, marginals and autocorrelations of processes in which they are known, and their distances."""

import numpy as np
import pytest
import scipy

from jaxdiff.errors import InputError
from jaxdiff.quality.series import (
    autocorrelation_distance,
    autocorrelations,
    correlational_distance,
    correlational_score,
    feature_correlations,
    marginal_distances,
)
from jaxdiff.quality.series.repeats import Repeats
from tests.quality.series.processes import autoregressive

TARGET = np.array([[1, 0.6, -0.3], [0.6, 1, 0.1], [-0.3, 0.1, 1]])


def test_correlations_of_a_vector_autoregression_are_the_known_ones(rng):
    windows = autoregressive(rng, 20_000, 8, [0.5, 0.2, -0.4], TARGET) * [3, 0.1, 20] + [5, -2, 0]
    np.testing.assert_allclose(feature_correlations(windows), TARGET, atol=0.01)
    np.testing.assert_allclose(feature_correlations(windows), np.corrcoef(windows.reshape(-1, 3).T), atol=1e-12)
    # against independent features: a tenth of the sum over the three pairs
    independent = autoregressive(rng, 20_000, 8, [0.5, 0.2, -0.4])
    assert correlational_distance(windows, independent) == pytest.approx((0.6 + 0.3 + 0.1) / 10, abs=0.002)


def test_each_pair_counts_once_and_units_and_orders_do_not(rng):
    real, synthetic = autoregressive(rng, 50, 6, [0.5, 0.2, -0.4], TARGET), autoregressive(rng, 70, 6, [0.1, 0.2, 0.3])
    apart = np.corrcoef(real.reshape(-1, 3).T) - np.corrcoef(synthetic.reshape(-1, 3).T)
    expected = sum(abs(apart[i, j]) for i in range(3) for j in range(i + 1)) / 10
    assert correlational_distance(real, synthetic) == pytest.approx(expected, rel=1e-12)
    moved = 3 * real[rng.permutation(50)][:, ::-1][..., [2, 0, 1]] - 1
    assert correlational_distance(moved, synthetic[..., [2, 0, 1]]) == pytest.approx(expected, rel=1e-9)
    assert correlational_distance(real, real) == 0


def test_a_constant_feature_correlates_with_none(rng):
    real = autoregressive(rng, 40, 5, [0.5, 0.2])
    constant = np.concatenate([real[..., :1], np.full_like(real[..., :1], 0.1)], axis=2)
    np.testing.assert_array_equal(feature_correlations(constant)[1], [0, 0])
    expected = (abs(np.corrcoef(real.reshape(-1, 2).T)[0, 1]) + 1) / 10
    assert correlational_distance(real, constant) == pytest.approx(expected)


def test_the_published_score_takes_a_fifth_of_the_windows_and_is_repeatable(rng):
    """Of independent features the difference of two correlations is normal with variance 2 / n: its mean size is known."""
    real, synthetic = (autoregressive(rng, 1000, 5, np.zeros(6)) for _ in range(2))
    score = correlational_score(real, synthetic, repeats=5, seed=3)
    drawn = 1000 // 5 * 5
    expected = 15 / 10 * np.sqrt(2 / drawn) * np.sqrt(2 / np.pi)
    # the sets themselves differ by 1/5 of the variance more
    assert score.mean == pytest.approx(expected * np.sqrt(6 / 5), rel=0.2)
    assert correlational_distance(real, synthetic) == pytest.approx(expected / np.sqrt(5), rel=0.3)
    np.testing.assert_array_equal(score.values, correlational_score(real, synthetic, seed=3).values)
    assert len({*score.values}) == 5 and not (correlational_score(real, synthetic, seed=4).values == score.values).any()


def test_repeats_have_the_t_interval():
    values = [0.1, 0.3, 0.2, 0.5, 0.4]
    found = Repeats.of(values)
    low, high = scipy.stats.t.interval(0.95, 4, np.mean(values), scipy.stats.sem(values))
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    assert np.isnan(Repeats.of([0.3]).half_width) and Repeats.of(values, level=0.5).half_width < found.half_width


def test_marginal_distances_of_a_shift_and_of_a_scale_are_the_closed_forms(rng):
    real = autoregressive(rng, 30_000, 4, [0.0, 0.5, 0.0])
    synthetic = autoregressive(rng, 30_000, 4, [0.7, 0.5, 0.0]) * [1, 1, 2] + [0.5, 0, 0]
    found = marginal_distances(real, synthetic)
    # Wasserstein: of a shift its size, of a scale E|z|; Kolmogorov-Smirnov: 2 Φ(shift / 2) - 1, and where the densities cross
    crossing = np.sqrt(8 / 3 * np.log(2))
    scaled = scipy.special.ndtr(crossing) - scipy.special.ndtr(crossing / 2)
    np.testing.assert_allclose(found.wasserstein, [0.5, 0, np.sqrt(2 / np.pi)], atol=0.015)
    np.testing.assert_allclose(found.kolmogorov, [2 * scipy.special.ndtr(0.25) - 1, 0, scaled], atol=0.01)


def test_marginal_distances_see_disjoint_sets_and_no_order(rng):
    real = rng.random((9, 5, 2))
    same = marginal_distances(real, real[::-1, ::-1])
    np.testing.assert_array_equal([same.wasserstein, same.kolmogorov], 0)
    apart = marginal_distances(real, real + 1)
    np.testing.assert_allclose(apart.wasserstein, 1)
    np.testing.assert_array_equal(apart.kolmogorov, 1)


def test_autocorrelations_of_an_autoregression_are_its_powers(rng):
    coefficients = np.array([0.9, 0.3, -0.6])
    windows = autoregressive(rng, 20_000, 12, coefficients) * [1, 30, 0.1] + [0, 5, -1]
    expected = coefficients ** np.arange(7)[:, None]
    np.testing.assert_allclose(autocorrelations(windows, 6), expected, atol=0.015)
    white = autoregressive(rng, 20_000, 12, np.zeros(3))
    found = autocorrelation_distance(windows, white, lag=6)
    np.testing.assert_allclose(found.by_feature, np.abs(expected[1:]).mean(axis=0), atol=0.015)
    assert found.mean == pytest.approx(found.by_feature.mean())
    assert autocorrelation_distance(windows, windows).mean == 0


def test_autocorrelations_are_the_mean_products_of_pairs(rng):
    windows = rng.random((7, 5, 2))
    standard = (windows - windows.mean(axis=(0, 1))) / windows.std(axis=(0, 1))
    for lag in range(5):
        pairs = [standard[:, t] * standard[:, t + lag] for t in range(5 - lag)]
        np.testing.assert_allclose(autocorrelations(windows, 4)[lag], np.mean(pairs, axis=(0, 1)), rtol=1e-12)
    np.testing.assert_array_equal(autocorrelations(np.full((3, 4, 1), 0.1), 2), 0)


@pytest.mark.parametrize("measure", [correlational_distance, correlational_score, marginal_distances, autocorrelation_distance])
def test_what_no_distance_takes_is_refused(measure, rng):
    real = rng.random((10, 6, 2))
    broken = real.copy()
    broken[3, 2, 1] = np.nan
    for synthetic in (real[:, :5], real[..., :1], real[:0]):
        with pytest.raises(InputError, match="one length and the same features"):
            measure(real, synthetic)
    with pytest.raises(InputError, match="`synthetic` must be finite"):
        measure(real, broken)


def test_numbers_out_of_range_are_refused(rng):
    real = rng.random((10, 6, 2))
    with pytest.raises(InputError, match="`repeats` must be at least 1, got 0"):
        correlational_score(real, real, repeats=0)
    with pytest.raises(InputError, match="at least 11 windows"):
        correlational_score(real, real, repeats=11)
    for lag in (0, 6):
        with pytest.raises(InputError, match=f"`lag` must be within .* and 5.*, got {lag}"):
            autocorrelation_distance(real, real, lag=lag)
    with pytest.raises(InputError, match="at least 2 time steps"):
        autocorrelation_distance(real[:, :1], real[:, :1])
    with pytest.raises(InputError, match="got none"):
        Repeats.of([])
