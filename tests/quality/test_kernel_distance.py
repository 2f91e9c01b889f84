"""The kernel distance is the unbiased one, by subsets and of all images."""

import math

import numpy as np
import pytest

from jaxdiff import InputError
from jaxdiff.quality import kernel, kernel_distance


def brute_force(x, y):
    """The squared maximum mean discrepancy, kernel by kernel."""

    def mean(a, b, same):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return sum((float(np.dot(a[i], b[j])) / len(a[i]) + 1) ** 3 for i, j in pairs) / len(pairs)

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


@pytest.mark.parametrize(("n", "m", "d"), [(3, 3, 1), (7, 12, 4), (20, 9, 30)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_full_distance_is_the_sum_over_pairs(rng, n, m, d, dtype):
    x, y = rng.normal(size=(n, d)).astype(dtype), (1.5 * rng.normal(size=(m, d)) + 0.5).astype(dtype)
    expected = brute_force(x.astype(np.float64), y.astype(np.float64))
    assert kernel_distance(x, y, subsets=1).full.value == pytest.approx(expected, rel=1e-10)


def test_the_error_is_that_of_leaving_out_each_image(rng):
    x, y = rng.normal(size=(8, 3)), 1.5 * rng.normal(size=(11, 3))
    variance = 0.0
    for own, distance in ((x, lambda x: brute_force(x, y)), (y, lambda y: brute_force(x, y))):
        without = np.array([distance(np.delete(own, i, axis=0)) for i in range(len(own))])
        variance += (len(own) - 1) * without.var()
    assert kernel_distance(x, y).full.error == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_subsets_of_all_images_are_the_full_distance_and_have_no_deviation(rng):
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 3))
    found = kernel_distance(x, y, subsets=5)
    assert found.mean == pytest.approx(found.full.value, rel=1e-10)
    assert math.isnan(found.deviation) and found.size == 10
    assert math.isnan(kernel_distance(x, y, subsets=1, size=5).deviation)


def test_each_subset_has_its_own_distance(rng, monkeypatch):
    # Only two images of each set may be in a subset of 2 out of 3: nine pairs of subsets, all different.
    monkeypatch.setattr(kernel, "BLOCK", 2)
    x, y = rng.normal(size=(3, 2)), rng.normal(size=(3, 2)) + 1
    possible = [brute_force(np.delete(x, i, axis=0), np.delete(y, j, axis=0)) for i in range(3) for j in range(3)]
    single = [kernel_distance(x, y, subsets=1, size=2, seed=seed).mean for seed in range(100)]
    nearest = np.abs(np.subtract.outer(single, possible)).argmin(axis=1)
    np.testing.assert_allclose(single, np.array(possible)[nearest], rtol=1e-9)
    assert set(nearest) == set(range(9))
    two = [kernel_distance(x, y, subsets=2, size=2, seed=seed) for seed in range(20)]
    ends = np.array([each.mean + sign * each.deviation / math.sqrt(2) for each in two for sign in (-1, 1)])
    assert np.abs(np.subtract.outer(ends, possible)).min(axis=1).max() < 1e-9
    many = kernel_distance(x, y, subsets=20_000, size=2)
    error = np.std(possible) / math.sqrt(20_000)
    assert abs(many.mean - np.mean(possible)) < 4 * error
    assert many.deviation == pytest.approx(np.std(possible), rel=0.03)


def test_blocks_give_the_same_distance(rng, monkeypatch):
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(40, 4)) + 0.5
    whole = kernel_distance(x, y, subsets=7, size=20)
    monkeypatch.setattr(kernel, "BLOCK", 7)
    blocks = kernel_distance(x, y, subsets=7, size=20)
    for a, b in ((whole.full.value, blocks.full.value), (whole.full.error, blocks.full.error), (whole.mean, blocks.mean)):
        assert a == pytest.approx(b, rel=1e-10)
    assert whole.deviation == pytest.approx(blocks.deviation, rel=1e-10)


def test_both_estimates_are_unbiased_where_the_distributions_agree(rng):
    found = [kernel_distance(rng.normal(size=(12, 3)), rng.normal(size=(9, 3)), subsets=5, size=6) for _ in range(1500)]
    for estimates in (np.array([each.full.value for each in found]), np.array([each.mean for each in found])):
        assert abs(estimates.mean()) < 4 * estimates.std() / math.sqrt(1500)
        assert (estimates < 0).any()


def test_the_distance_of_normals_has_the_closed_form_and_intervals_cover_it(rng):
    # (xy + 1)³ = 1 + 3 xy + 3 x²y² + x³y³, so that the distance is 3 dm1² + 3 dm2² + dm3² of the three moments.
    mean, spread = 0.6, 1.2
    truth = 3 * mean**2 + 3 * (mean**2 + spread**2 - 1) ** 2 + (mean**3 + 3 * mean * spread**2) ** 2
    found = [
        kernel_distance(rng.normal(size=(400, 1)), mean + spread * rng.normal(size=(300, 1)), subsets=1).full
        for _ in range(300)
    ]
    values = np.array([each.value for each in found])
    error = values.std() / math.sqrt(300)
    assert abs(values.mean() - truth) < 4 * error < 0.2 * truth
    assert np.mean([each.error for each in found]) == pytest.approx(values.std(), rel=0.15)
    assert 0.9 <= np.mean([each.low <= truth <= each.high for each in found]) <= 0.985


def test_intervals_are_safe_where_the_distributions_agree(rng):
    found = [kernel_distance(rng.normal(size=(60, 8)), rng.normal(size=(60, 8)), subsets=1).full for _ in range(300)]
    assert np.mean([each.low <= 0 <= each.high for each in found]) >= 0.95
    assert 1 <= np.mean([each.error for each in found]) / np.std([each.value for each in found]) <= 1.7


def test_the_distance_is_a_function_of_its_seed(rng):
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    first, again, other = (kernel_distance(x, y, subsets=3, size=10, seed=seed) for seed in (1, 1, 2))
    assert first == again and first.mean != other.mean and first.full == other.full


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros((2, 3)), np.zeros((5, 3)), {}, "at least 3 feature vectors"),
        (np.zeros((5, 2)), np.zeros((5, 3)), {}, "one length each"),
        (np.full((5, 3), np.inf), np.zeros((5, 3)), {}, "must be finite"),
        (np.zeros((5, 3)), np.zeros((5, 3)), {"subsets": 0}, "`subsets` must be at least 1"),
        (np.zeros((5, 3)), np.zeros((5, 3)), {"size": 1}, "`size` at least 2"),
    ],
)
def test_what_has_no_distance_is_refused(x, y, options, message):
    with pytest.raises(InputError, match=message):
        kernel_distance(x, y, **options)
