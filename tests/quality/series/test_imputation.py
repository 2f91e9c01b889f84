"""Imputation: baselines against NumPy, errors and scores of ensembles against closed forms, masks against their shares."""

import itertools

import jax
import numpy as np
import pytest
import scipy

from jaxdiff.errors import InputError
from jaxdiff.quality.series import (
    crps,
    extremes_kept,
    fixed_points_kept,
    geometric_mask,
    imputation_error,
    interval_coverage,
    last_value,
    linear_interpolation,
    prices_kept,
    random_mask,
    trend_error,
)


def some(rng, shape=(9, 7, 2), share=0.5):
    return rng.normal(size=shape), rng.random(shape) < share


def test_linear_interpolation_is_numpys_in_every_window(rng):
    windows, missing = some(rng)
    missing[:, 3] = False
    found = linear_interpolation(np.where(missing, np.nan, windows), missing)
    steps = np.arange(7)
    for n, f in itertools.product(range(9), range(2)):
        seen = ~missing[n, :, f]
        np.testing.assert_allclose(found[n, :, f], np.interp(steps, steps[seen], windows[n, seen, f]), rtol=1e-12)
    np.testing.assert_array_equal(found[~missing], windows[~missing])


def test_last_value_repeats_what_was_seen_last(rng):
    windows, missing = some(rng)
    missing[:, 3] = False
    found = last_value(np.where(missing, np.nan, windows), missing)
    for n, t, f in itertools.product(range(9), range(7), range(2)):
        seen = np.flatnonzero(~missing[n, :, f])
        expected = seen[seen <= t][-1] if (seen <= t).any() else seen[0]
        assert found[n, t, f] == windows[n, expected, f]


@pytest.mark.parametrize("baseline", [linear_interpolation, last_value])
def test_a_feature_that_a_window_does_not_show_has_its_mean(baseline, rng):
    windows, missing = some(rng)
    missing[4, :, 1] = True
    found = baseline(windows, missing)
    np.testing.assert_allclose(found[4, :, 1], windows[..., 1][~missing[..., 1]].mean())
    missing[..., 1] = True
    with pytest.raises(InputError, match=r"got none of \[1\]"):
        baseline(windows, missing)
    windows[0, 0, 0], missing[0, 0, 0] = np.nan, False
    with pytest.raises(InputError, match="finite where observed"):
        baseline(windows, missing)
    with pytest.raises(InputError, match="of the shape of `windows`"):
        baseline(windows, missing[:1])


def test_errors_are_those_of_the_median_on_missing_entries(rng):
    true, missing = some(rng)
    missing[..., 1] &= np.arange(9)[:, None] > 4
    offsets = np.array([0.3, -5, 0.1])[:, None, None, None]  # the median draw is off by 0.1
    found = imputation_error(np.where(missing, true, np.nan), np.where(missing, true + offsets, np.nan), missing)
    assert (found.mae, found.mse, found.count) == (pytest.approx(0.1), pytest.approx(0.01), missing.sum())
    np.testing.assert_allclose(found.by_feature, 0.1)
    missing[..., 1] = False
    assert np.isnan(imputation_error(true, (true + 1)[None], missing).by_feature[1])


def test_the_score_of_a_normal_ensemble_is_the_closed_form(rng):
    """σ (z (2 Φ(z) - 1) + 2 φ(z) - 1 / √π) with z = (y - m) / σ (Gneiting et al. 2005, equation 5)."""
    mean, deviation = rng.normal(size=(30, 5, 2)), 0.7
    true = mean + rng.normal(size=mean.shape)
    draws = mean + deviation * rng.normal(size=(400, *mean.shape))
    z = (true - mean) / deviation
    normal = scipy.stats.norm
    expected = deviation * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - np.pi**-0.5)
    assert crps(true, draws, np.ones(mean.shape, bool)) == pytest.approx(expected.mean(), rel=0.02)


def test_the_plain_score_is_that_of_all_pairs_and_the_fair_one_of_different_draws(rng):
    true, missing = some(rng)
    draws = rng.normal(size=(4, 9, 7, 2))
    x, y = draws[:, missing], true[missing]
    pairs = np.abs(x[:, None] - x).sum(axis=(0, 1)).mean() / 2
    error = np.abs(x - y).mean()
    assert crps(true, draws, missing, fair=False) == pytest.approx(error - pairs / 16)
    assert crps(true, draws, missing) == pytest.approx(error - pairs / 12)
    assert crps(true, draws[:1], missing, fair=False) == pytest.approx(np.abs(x[0] - y).mean())
    # the plain one is the integral over thresholds of (F(v) - 1{y <= v})²
    grid = np.linspace(-8, 8, 8001)
    step = np.square((x[:, :1] <= grid).mean(axis=0) - (y[0] <= grid))
    alone = np.zeros_like(missing)
    alone[tuple(np.argwhere(missing)[0])] = True
    assert crps(true, draws, alone, fair=False) == pytest.approx(np.trapezoid(step, grid), abs=0.01)


def test_the_fair_score_does_not_depend_on_the_number_of_draws(rng):
    true, everywhere = rng.normal(size=(4000, 3, 1)), np.ones((4000, 3, 1), bool)
    few, many = (rng.normal(size=(count, 4000, 3, 1)) for count in (2, 40))
    assert crps(true, few, everywhere) == pytest.approx(crps(true, many, everywhere), abs=0.02)
    assert crps(true, few, everywhere, fair=False) > crps(true, many, everywhere, fair=False) + 0.2


@pytest.mark.parametrize(("count", "level"), [(19, 0.9), (20, 0.9), (60, 0.5), (39, 0.95)])
def test_intervals_of_draws_of_the_true_distribution_cover_at_their_level(count, level, rng):
    true, everywhere = rng.normal(size=(3000, 4, 1)), np.ones((3000, 4, 1), bool)
    found = interval_coverage(true, rng.normal(size=(count, 3000, 4, 1)), everywhere, level=level)
    assert found.share == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 12_000) + 0.004)
    assert found.level == level and found.count == 12_000


def test_widths_are_those_of_the_distribution_and_only_missing_entries_count(rng):
    true, missing = some(rng)
    draws = 2.0 * np.linspace(-1, 1, 399)[:, None, None, None] + np.where(missing, true, 1e6)
    found = interval_coverage(true, draws, missing, level=0.5)
    assert (found.share, found.width) == (1, pytest.approx(2, rel=0.02))
    assert interval_coverage(true + 1.1, draws, missing, level=0.5).share == 0


def test_what_no_score_of_draws_takes_is_refused(rng):
    true, missing = some(rng)
    draws = np.stack([true] * 18)
    with pytest.raises(InputError, match="at least 19 draws"):
        interval_coverage(true, draws, missing)
    with pytest.raises(InputError, match="at least 2 draws"):
        crps(true, draws[:1], missing)
    with pytest.raises(InputError, match="`level` must be within"):
        interval_coverage(true, draws, missing, level=1.0)
    for measure in (crps, imputation_error):
        with pytest.raises(InputError, match="must be of the windows"):
            measure(true, draws[:, :3], missing)
        with pytest.raises(InputError, match="at least one entry"):
            measure(true, draws, np.zeros_like(missing))
        with pytest.raises(InputError, match="finite where missing"):
            measure(true, np.where(missing, np.nan, draws), missing)


def test_a_random_mask_has_its_share(key):
    mask = random_mask((50, 12, 3), 0.7, key=key)
    assert mask.sum() == round(0.7 * mask.size) and (random_mask((50, 12, 3), 0.7, key=key) == mask).all()
    assert (random_mask((50, 12, 3), 0.7, key=jax.random.key(1)) != mask).any()
    np.testing.assert_allclose(mask.mean(axis=(0, 2)), 0.7, atol=6 * np.sqrt(0.21 / 150))


@pytest.mark.parametrize(("share", "length"), [(0.15, 3.0), (0.5, 3.0), (0.75, 3.0), (0.9, 9.0), (0.5, 1.0)])
def test_gaps_have_their_share_at_every_step_and_their_mean_length(share, length, key):
    mask = geometric_mask((4000, 40, 2), share, key=key, mean_length=length)
    correlated = max((2 * length - 1) * 1.0, 1)
    np.testing.assert_allclose(mask.mean(axis=(0, 2)), share, atol=5 * np.sqrt(share * (1 - share) / 8000))
    assert mask.mean() == pytest.approx(share, abs=5 * np.sqrt(correlated * share * (1 - share) / mask.size))
    before, after = mask[:, :-1], mask[:, 1:]
    stays = after[before].mean()
    assert stays == pytest.approx(1 - 1 / length, abs=0.01)
    begins = (~before & after).sum() / (~before).sum()
    assert begins == pytest.approx(share / (1 - share) / length, abs=0.01)


def test_gaps_that_cannot_have_their_share_are_refused(key):
    with pytest.raises(InputError, match="at most 0.75 for gaps of mean length 3, got 0.8: take a mean length of at least 4"):
        geometric_mask((2, 4, 1), 0.8, key=key)
    with pytest.raises(InputError, match="`mean_length` must be at least 1, got 0.5"):
        geometric_mask((2, 4, 1), 0.3, key=key, mean_length=0.5)
    for mask in (random_mask, geometric_mask):
        for share in (0.0, 1.0):
            with pytest.raises(InputError, match="`share` must be within"):
                mask((2, 4, 1), share, key=key)


def test_fixed_points_count_whatever_their_sign(rng):
    """Half of the points are off by 0.02: those with a negative value, and a point of value 0 is one, too."""
    values = np.sign(rng.permutation(np.arange(60) % 2) - 0.5).reshape(5, 6, 2)
    values[0, 0, 0] = 0
    fixed = rng.random(values.shape) < 0.5
    fixed[0, 0, 0] = True
    windows = np.where(fixed, values - 0.02 * (values < 0), 7.0)
    found = fixed_points_kept(windows, np.where(fixed, values, np.nan), fixed)
    assert found.share == pytest.approx(1 - (values[fixed] < 0).mean()) and found.count == fixed.sum()
    assert found.largest == pytest.approx(0.02)
    assert fixed_points_kept(windows, values, fixed, tolerance=0.021).share == 1
    exact = fixed_points_kept(values, values, fixed, tolerance=0.0)
    assert (exact.share, exact.largest) == (1, 0)


def test_extremes_are_those_over_time(rng):
    windows = rng.normal(size=(6, 5, 2))
    low, high = windows.min(axis=1), windows.max(axis=1)
    assert extremes_kept(windows, low, high, tolerance=0.0) == type(extremes_kept(windows, low, high))(1.0, 0.0, 24)
    low[0, 0] -= 0.5
    high[1:3, 1] += 0.3
    found = extremes_kept(windows, low, high)
    assert (found.share, found.largest) == (pytest.approx(21 / 24), pytest.approx(0.5))


def test_prices_are_in_order():
    row = np.array([[2.0, 3, 1, 2.5, 900]])  # open, high, low, close and volume
    windows = np.tile(row, (3, 4, 1))
    assert (prices_kept(windows, tolerance=0.0).share, prices_kept(windows).count) == (1, 48)
    windows[0, 0, 1] = 2.2  # the high is below the close
    windows[1, 2, 0] = 0.5  # the open is below the low
    found = prices_kept(windows)
    assert (found.share, found.largest) == (pytest.approx(46 / 48), pytest.approx(0.5))
    assert prices_kept(windows[..., [3, 0, 4, 1, 2]], columns=(1, 3, 4, 0)).share == found.share


def test_what_no_constraint_takes_is_refused(rng):
    windows, fixed = some(rng)
    with pytest.raises(InputError, match=r"must be of shape \(9, 7, 2\)"):
        fixed_points_kept(windows, windows[:3], fixed)
    with pytest.raises(InputError, match="at least one constraint"):
        fixed_points_kept(windows, windows, np.zeros_like(fixed))
    with pytest.raises(InputError, match="got NaN"):
        fixed_points_kept(windows * np.nan, windows, fixed)
    with pytest.raises(InputError, match="`tolerance` must be at least 0"):
        fixed_points_kept(windows, windows, fixed, tolerance=-1.0)
    with pytest.raises(InputError, match=r"`low` and `high` must be of shape \(9, 2\)"):
        extremes_kept(windows, windows[:, 0], windows[:3, 0])
    for columns in ((0, 1, 2, 3), (0, 1, 1, 0)):
        with pytest.raises(InputError, match="four different features"):
            prices_kept(windows, columns=columns)


def test_the_trend_error_is_the_mean_of_distances(rng):
    trends = rng.normal(size=(3, 8, 2))
    windows = trends + np.array([0.0, 1.0, 2.0])[:, None, None]
    assert trend_error(trends, windows) == pytest.approx(np.mean([0, 4, 8]))
    with pytest.raises(InputError, match="at least 3 windows"):
        trend_error(trends, windows[:2])
