"""Precision, recall, density and coverage are the shares that their definitions count."""

import math

import numpy as np
import pytest

from jaxdiff import InputError
from jaxdiff.quality import density_coverage, neighbours, precision_recall


def shares(real, synthetic, k):
    """Precision, recall, density and coverage by the definitions, distance by distance."""

    def distance(a, b):
        return np.array([[np.linalg.norm(p - q) for q in b] for p in a])

    def radii(x):
        return np.array([np.sort(np.delete(row, i))[k - 1] for i, row in enumerate(distance(x, x))])

    between = distance(real, synthetic)
    by_real = between <= radii(real)[:, None]
    by_synthetic = between <= radii(synthetic)
    return (
        by_real.any(axis=0).mean(),
        by_synthetic.any(axis=1).mean(),
        by_real.sum() / (k * len(synthetic)),
        by_real.any(1).mean(),
    )


def measured(real, synthetic, k, **options):
    found = (*precision_recall(real, synthetic, k=k, **options), *density_coverage(real, synthetic, k=k, **options))
    return [each.value for each in found]


@pytest.mark.parametrize(("n", "m", "d", "k"), [(40, 30, 2, 3), (25, 60, 10, 5), (30, 30, 1, 1), (12, 12, 40, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shares_are_those_counted_distance_by_distance(rng, n, m, d, k, dtype):
    real, synthetic = rng.normal(size=(n, d)).astype(dtype), (0.7 * rng.normal(size=(m, d)) + 0.8).astype(dtype)
    expected = shares(real.astype(np.float64), synthetic.astype(np.float64), k)
    np.testing.assert_allclose(measured(real, synthetic, k, replicates=2), expected, rtol=1e-12)


def test_every_replicate_is_the_shares_of_its_members(rng, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 16)
    x, y = rng.normal(size=(150, 3)), rng.normal(size=(90, 3)) + 0.5
    of_x, of_y = rng.random((4, 150)) < 0.5, rng.random((4, 90)) < 0.5
    counts, holds = neighbours._contained(x, neighbours._radii(x, 3, of_x), y, of_y)
    for i in range(4):
        precision, _, density, coverage = shares(x[of_x[i]], y[of_y[i]], 3)
        np.testing.assert_allclose((counts[i, of_y[i]] > 0).mean(), precision)
        np.testing.assert_allclose(counts[i, of_y[i]].mean() / 3, density)
        np.testing.assert_allclose(holds[i, of_x[i]].mean(), coverage)


def test_the_error_is_the_spread_over_halves(rng):
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(40, 2)) + 0.7
    halves = [shares(rng.permutation(x)[:30], rng.permutation(y)[:20], 3) for _ in range(100)]
    found = (*precision_recall(x, y, k=3, replicates=400), *density_coverage(x, y, k=3, replicates=400))
    np.testing.assert_allclose([each.error for each in found], np.std(halves, axis=0, ddof=1), rtol=0.25)


def test_two_halves_spread_by_their_difference(rng):
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(40, 2)) + 0.7
    for estimate, count in zip(precision_recall(x, y, replicates=2), (20, 30), strict=True):
        images = estimate.error * math.sqrt(2) * count
        assert images > 0.5 and images == pytest.approx(round(images), abs=1e-9)


def test_blocks_give_the_same_shares(rng, monkeypatch):
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(40, 4)) + 0.5
    whole = precision_recall(x, y, replicates=5), density_coverage(x, y, replicates=5)
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    assert (precision_recall(x, y, replicates=5), density_coverage(x, y, replicates=5)) == whole


def test_identical_sets_agree_in_everything(rng):
    x = rng.normal(size=(50, 6)) + 100
    # Each point is in its own ball and, as the k-th neighbour, on the boundary of others.
    np.testing.assert_allclose(measured(x, x[rng.permutation(50)], 4), [1, 1, 5 / 4, 1])


def test_sets_far_apart_share_nothing(rng):
    x = rng.normal(size=(50, 6))
    assert measured(x, x + 1000, 3) == [0, 0, 0, 0]


def test_a_collapsed_set_is_precise_but_recalls_nothing_and_covers_little(rng):
    x = rng.normal(size=(300, 2))
    precision, recall, density, coverage = measured(x, np.tile([[0.01, 0.02]], (300, 1)), 5)
    assert precision == 1 and recall == 0 and coverage == pytest.approx(density * 5 / 300) and 0 < coverage < 0.1


def test_density_exceeds_one_where_images_crowd_around_a_mode(rng):
    # In many dimensions, where the balls around outer points reach far inward; in few the count of balls is k everywhere.
    x = rng.normal(size=(100, 16))
    precision, recall, density, _ = measured(x, 0.5 * rng.normal(size=(100, 16)), 5)
    assert precision == 1 and recall < 0.1 and density > 3


def test_a_wide_set_is_less_precise_but_recalls(rng):
    precision, recall, density, _ = measured(rng.normal(size=(300, 2)), 4 * rng.normal(size=(300, 2)), 3)
    assert precision < 0.5 and density < 0.5 and recall > 0.8


def test_where_distributions_agree_density_and_coverage_have_their_closed_form(rng):
    # Both follow from ranks: a new point is as likely as any other to be among the k nearest of a centre.
    n, m, k = 20, 15, 3
    found = np.array([
        [each.value for each in density_coverage(rng.normal(size=(n, 4)), rng.normal(size=(m, 4)), k=k, replicates=2)]
        for _ in range(1000)
    ])  # fmt: skip
    missed = math.prod((n - i) / (n + m - i) for i in range(1, k + 1))
    expected, error = np.array([1, 1 - missed]), found.std(axis=0) / math.sqrt(1000)
    assert (np.abs(found.mean(axis=0) - expected) < 4 * error).all() and (error < 0.02).all()


def test_copies_beyond_k_have_a_ball_that_holds_the_copies_alone():
    # Five copies each of four points: every radius is 0, and rounding must not make it miss a copy.
    points = np.array([[0.1, 0.2, 0.3], [1e3 + 0.1, 7.7, 0.3], [-5.5, 1e-3, 123.456], [1 / 3, 2 / 3, 1e2]])
    real = np.repeat(points, 5, axis=0)
    synthetic = np.repeat(points[[0, 1, 2, 2]] + [[0, 0, 0], [0, 0, 0], [0, 0, 0], [1e-3, 0, 0]], 5, axis=0)
    np.testing.assert_allclose(measured(real, synthetic, 3), [3 / 4, 3 / 4, 3 * 5 / (4 * 3), 3 / 4])


def test_a_set_of_one_point_agrees_with_itself_alone():
    point = np.full((12, 2), 0.5)  # whose mean is exactly itself: every distance is exactly 0
    assert measured(point, point, 5)[:2] == measured(point, point, 5)[3:] * 2 == [1, 1]
    assert measured(point, point + 1e-3, 5) == [0, 0, 0, 0]


def test_points_at_the_radius_are_inside_whatever_the_rounding(rng):
    # A lattice far from the origin: distances tie in crowds, and none of its coordinates is a binary fraction.
    lattice = np.stack(np.meshgrid(*[np.arange(5)] * 2), axis=-1).reshape(-1, 2)
    shuffled = np.random.default_rng(1).permutation(lattice)[:15]
    expected = shares(lattice.astype(np.float64), shuffled.astype(np.float64), 4)
    np.testing.assert_allclose(measured(lattice * 0.1 + 7.7, shuffled * 0.1 + 7.7, 4), expected)


def test_moving_and_rotating_both_sets_changes_nothing(rng):
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + 0.5
    basis, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    assert measured(x @ basis + 50, y @ basis + 50, 3) == measured(x, y, 3)


@pytest.mark.parametrize(("d", "n", "shift"), [(2, 100, 0.7), (8, 60, 0.0)])
def test_intervals_cover_what_is_expected_of_as_many_images(rng, d, n, shift):
    found = [
        (*precision_recall(x, y, replicates=40), *density_coverage(x, y, replicates=40))
        for x, y in ((rng.normal(size=(n, d)), (1 - shift / 3) * rng.normal(size=(n, d)) + shift / 2) for _ in range(150))
    ]
    values = np.array([[each.value for each in row] for row in found])
    expected, spread = values.mean(axis=0), values.std(axis=0)
    covered = np.mean([[each.low <= e <= each.high for each, e in zip(row, expected, strict=True)] for row in found], axis=0)
    errors = np.array([[each.error for each in row] for row in found]).mean(axis=0)
    assert (covered >= 0.88).all()
    assert (errors >= 0.9 * spread).all() and (errors <= 1.7 * spread).all()


def test_intervals_stay_within_the_possible(rng):
    x = rng.normal(size=(30, 2))
    for each in (*precision_recall(x, 0.8 * x + 0.1), density_coverage(x, 0.8 * x)[1]):
        assert 0 <= each.low <= each.value <= each.high <= 1


def test_shares_are_a_function_of_their_seed(rng):
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 2)) + 0.5
    first, again, other = (density_coverage(x, y, seed=seed, replicates=9) for seed in (1, 1, 2))
    assert first == again and first[0].error != other[0].error and first[0].value == other[0].value


@pytest.mark.parametrize("share", [precision_recall, density_coverage])
@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros((7, 3)), np.zeros((20, 3)), {"k": 3}, "at least 8 feature vectors"),
        (np.zeros((20, 2)), np.zeros((20, 3)), {}, "one length each"),
        (np.full((20, 3), np.nan), np.zeros((20, 3)), {}, "must be finite"),
        (np.zeros((20, 3)), np.zeros((20, 3)), {"k": 0}, "`k` must be at least 1"),
        (np.zeros((20, 3)), np.zeros((20, 3)), {"replicates": 1}, "`replicates` at least 2"),
    ],
)
def test_what_has_no_neighbours_is_refused(share, x, y, options, message):
    with pytest.raises(InputError, match=message):
        share(x, y, **options)
