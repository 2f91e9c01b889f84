"""Moments add up over shards, and the Fréchet distance is the one of normal distributions."""

import math
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import block_diag, sqrtm
from scipy.stats import ortho_group

from jaxdiff import InputError
from jaxdiff.quality import Estimate, Moments, frechet_distance, frechet_estimate


def exact(mean, covariance, count=1000):
    """The moments of a set with just this mean and covariance."""
    return Moments(count, np.asarray(mean, np.float64), np.asarray(covariance, np.float64) * (count - 1))


def assert_close(moments, expected, rtol=1e-12):
    assert moments.count == expected.count
    np.testing.assert_allclose(moments.mean, expected.mean, rtol=rtol)
    np.testing.assert_allclose(moments.scatter, expected.scatter, atol=rtol * np.trace(expected.scatter))


@given(st.lists(st.integers(0, 60), max_size=5), st.randoms(use_true_random=False), st.integers(0, 2**31))
def test_shards_merged_in_any_order_are_the_whole(cuts, random, seed):
    features = 100 + np.random.default_rng(seed).normal(size=(60, 4)) * [1, 10, 0.1, 1]
    shards = [Moments.from_features(part) for part in np.split(features, sorted(cuts))]  # some are empty
    random.shuffle(shards)
    merged = reduce(Moments.merge, shards)
    assert merged.count == 60
    np.testing.assert_allclose(merged.mean, features.mean(axis=0), rtol=1e-12)
    scale = np.sqrt(np.diag(np.cov(features.T)))
    np.testing.assert_allclose(merged.covariance, np.cov(features.T), atol=1e-12 * np.outer(scale, scale).max())


def test_streamed_batches_are_the_whole(rng):
    features = rng.normal(size=(70, 5)) + 3
    streamed = reduce(Moments.add, np.split(features, [20, 21, 50]), Moments.from_features(features[:0]))
    assert_close(streamed, Moments.from_features(features))


def test_single_precision_features_are_summed_in_double(rng):
    features = (1000 + rng.normal(size=(500, 3))).astype(np.float32)
    moments = reduce(Moments.add, np.split(features, 10), Moments.from_features(features[:0]))
    np.testing.assert_allclose(moments.covariance, np.cov(features.T.astype(np.float64)), rtol=1e-10, atol=1e-12)


def test_diagonal_covariances_have_the_closed_form(rng):
    (m1, m2), (s1, s2) = rng.normal(size=(2, 6)), rng.uniform(0.1, 3, size=(2, 6))
    expected = np.square(m1 - m2).sum() + np.square(s1 - s2).sum()
    assert frechet_distance(exact(m1, np.diag(s1**2)), exact(m2, np.diag(s2**2))) == pytest.approx(expected, rel=1e-12)


def test_commuting_covariances_have_the_closed_form_in_every_basis(rng):
    basis = ortho_group.rvs(20, random_state=1)
    first, second = 10.0 ** rng.uniform(-4, 1, size=(2, 20))
    expected = np.square(np.sqrt(first) - np.sqrt(second)).sum()
    moments = [exact(np.zeros(20), (basis * each) @ basis.T) for each in (first, second)]
    assert frechet_distance(*moments) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_covariances_that_do_not_commute_have_the_closed_form(seed):
    # Of 2x2 blocks: tr (AB)^{1/2} = (tr AB + 2 (det AB)^{1/2})^{1/2}, by Cayley and Hamilton; then a common rotation.
    rng = np.random.default_rng(seed)
    blocks = [[(lambda a: a @ a.T)(rng.normal(size=(2, 2))) for _ in range(4)] for _ in range(2)]
    roots = [math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a @ b))) for a, b in zip(*blocks, strict=True)]
    basis = ortho_group.rvs(8, random_state=seed)
    first, second = (basis @ block_diag(*each) @ basis.T for each in blocks)
    assert np.abs(first @ second - second @ first).max() > 0.1
    shift = rng.normal(size=8)
    expected = shift @ shift + np.trace(first) + np.trace(second) - 2 * sum(roots)
    assert frechet_distance(exact(shift, first), exact(np.zeros(8), second)) == pytest.approx(expected, rel=1e-10)


def test_distance_is_that_of_the_matrix_square_root(rng):
    x, y = rng.normal(size=(50, 12)), rng.normal(size=(70, 12)) @ rng.normal(size=(12, 12))
    first, second = np.cov(x.T), np.cov(y.T)
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(first + second - 2 * np.real(sqrtm(first @ second)))
    for each in (
        frechet_distance(Moments.from_features(x), Moments.from_features(y)),
        frechet_distance(Moments.from_features(y), Moments.from_features(x)),
    ):
        assert each == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("shape", [(50, 8), (8, 50), (2, 5)])
def test_a_set_is_at_distance_zero_of_itself_and_of_its_translation_at_the_square(rng, shape):
    features = rng.normal(size=shape) * np.arange(1, shape[1] + 1.0) ** -1
    own, shift = Moments.from_features(features), rng.normal(size=shape[1])
    scale = np.trace(own.covariance)
    assert 0 <= frechet_distance(own, own) < 1e-9 * scale
    assert frechet_distance(own, Moments.from_features(features + shift)) == pytest.approx(shift @ shift, abs=1e-9 * scale)


def test_rounding_makes_no_distance_negative(rng):
    assert min(frechet_distance(m, m) for m in (Moments.from_features(rng.normal(size=(20, 7))) for _ in range(20))) >= 0


@pytest.mark.parametrize("shape", [(30, 5), (10, 20)])
def test_features_in_another_unit_scale_the_distance_and_its_error(rng, shape):
    x, y = rng.normal(size=shape), 1.4 * rng.normal(size=shape)
    found, small = frechet_estimate(x, y), frechet_estimate(1e-4 * x, 1e-4 * y)
    for name in ("value", "error", "low", "high"):
        assert getattr(small, name) == pytest.approx(1e-8 * getattr(found, name), rel=1e-8, abs=0)


@pytest.mark.parametrize(("n", "m"), [(10, 15), (15, 60), (60, 15)])
def test_sets_of_fewer_images_than_features_have_the_distance_of_their_images(rng, n, m):
    # tr (C1 C2)^{1/2} is the sum of the singular values of X Y^T, the centred images: a small matrix of full rank.
    x, y = rng.normal(size=(n, 40)), 1.5 * rng.normal(size=(m, 40)) + 1
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    cross = np.linalg.svd(a @ b.T / math.sqrt((n - 1) * (m - 1)), compute_uv=False).sum()
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.square(a).sum() / (n - 1) + np.square(b).sum() / (m - 1) - 2 * cross
    assert frechet_distance(Moments.from_features(x), Moments.from_features(y)) == pytest.approx(expected, rel=1e-9)


def test_covariances_on_orthogonal_planes_share_nothing():
    first, second = np.diag([2.0, 3, 0, 0]), np.diag([0.0, 0, 5, 0])
    zero = exact(np.ones(4), np.zeros((4, 4)))
    assert frechet_distance(exact(np.zeros(4), first), exact(np.zeros(4), second)) == pytest.approx(10)
    assert frechet_distance(exact(np.zeros(4), first), zero) == pytest.approx(9)
    assert frechet_distance(zero, zero) == 0


def derivatives(own, other):
    """Of the distance to `other` by the weight of each image of `own`, numerically."""
    mean, covariance = own.mean(axis=0), np.cov(own.T).reshape(own.shape[1], -1)

    def distance(image, step):
        apart = image - mean
        weighed = (1 - step) * covariance + step * np.outer(apart, apart)
        return frechet_distance(exact(mean + step * apart, weighed, len(own)), other)

    # Steps far below 1/n keep each weight positive.
    return np.array([(distance(image, 1e-5) - distance(image, -1e-5)) / 2e-5 for image in own])


@pytest.mark.parametrize(("n", "m", "d"), [(40, 30, 5), (30, 40, 1), (12, 9, 20), (12, 60, 20)])
def test_the_error_is_of_the_derivatives_by_each_images_weight(rng, n, m, d):
    x, y = rng.normal(size=(n, d)), 1.3 * rng.normal(size=(m, d)) + 0.4
    variance = sum(derivatives(own, Moments.from_features(other)).var(ddof=1) / len(own) for own, other in ((x, y), (y, x)))
    assert frechet_estimate(x, y).error == pytest.approx(math.sqrt(variance), rel=1e-4)


def test_intervals_cover_the_true_distance_where_images_are_many(rng):
    s1, s2, shift = np.array([1, 0.5, 2]), np.array([1.5, 0.5, 1]), np.array([0.5, 0, 1])
    truth = np.square(s1 - s2).sum() + shift @ shift
    covered = 0
    for _ in range(300):
        found = frechet_estimate(rng.normal(size=(1500, 3)) * s1, rng.normal(size=(1000, 3)) * s2 + shift)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / 300 <= 0.985  # 95 %, give or take three standard errors


@pytest.mark.parametrize(("n", "d", "shift"), [(30, 40, 0.0), (40, 8, 0.0), (40, 8, 0.5)])
def test_intervals_cover_the_expected_distance_where_images_are_few(rng, n, d, shift):
    spread = np.arange(1, d + 1) ** -0.5
    found = [
        frechet_estimate(rng.normal(size=(n, d)) * spread, (1 + shift) * rng.normal(size=(n, d)) * spread + shift * spread)
        for _ in range(300)
    ]
    values = np.array([each.value for each in found])
    expected = values.mean()
    assert np.mean([each.low <= expected <= each.high for each in found]) >= 0.91
    # Never too sure, and at most √2 too wide where the distributions agree.
    assert 0.95 <= np.mean([each.error for each in found]) / values.std() <= 1.6


def test_few_images_bias_the_distance_upward(rng):
    means = [
        np.mean([frechet_distance(*(Moments.from_features(rng.normal(size=(n, 6))) for _ in range(2))) for _ in range(50)])
        for n in (25, 50, 100)
    ]
    np.testing.assert_allclose(means, means[0] / np.array([1, 2, 4]), rtol=0.15)  # as 1/N


def test_an_interval_for_a_positive_value_is_positive_and_finite():
    sure, unsure, none = Estimate.log_normal(2.0, 0.1), Estimate.log_normal(1e-9, 1.0), Estimate.log_normal(0.0, 0.0)
    assert 1.8 < sure.low < 2 < sure.high < 2.25 and sure.low * sure.high == pytest.approx(4)
    assert unsure.low == 0 and unsure.high == pytest.approx(1.96, rel=1e-4)
    assert (none.low, none.high) == (0, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: frechet_distance(Moments.from_features(np.zeros((1, 3))), Moments.from_features(np.zeros((5, 3)))),
            "at least 2 images, got 1",
        ),
        (
            lambda: frechet_distance(Moments.from_features(np.zeros((5, 2))), Moments.from_features(np.zeros((5, 3)))),
            "one length, got 2 and 3",
        ),
        (
            lambda: Moments.from_features(np.zeros((5, 2))).merge(Moments.from_features(np.zeros((5, 3)))),
            "`other` must have 2 features",
        ),
        (lambda: Moments.from_features(np.array([[0.0], [np.inf]])), "`features` must be finite"),
        (lambda: exact([np.nan], [[1.0]]), "`mean` and `scatter` must be finite"),
        (lambda: frechet_estimate(np.zeros((1, 3)), np.zeros((5, 3))), "at least 2 feature vectors"),
        (lambda: frechet_estimate(np.zeros((5, 2)), np.zeros((5, 3))), "one length each"),
        (lambda: frechet_estimate(np.full((5, 2), np.nan), np.zeros((5, 2))), "must be finite"),
    ],
)
def test_what_has_no_distance_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
