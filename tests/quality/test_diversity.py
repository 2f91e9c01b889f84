"""Diversity: the mean distance over all pairs of different images of a prompt, and an interval that covers it."""

import itertools

import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.quality.diversity import measure_diversity


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_it_is_the_mean_over_all_pairs_of_each_context(rng):
    vectors, contexts = unit(rng.standard_normal((11, 4))), np.array([0] * 5 + [2] * 4 + [1] + [3])
    found = measure_diversity(vectors, contexts)
    expected = [np.mean([1 - a @ b for a, b in itertools.combinations(vectors[contexts == context], 2)]) for context in (0, 2)]
    np.testing.assert_allclose(found.by_context[[0, 2]], expected, rtol=1e-12)
    assert np.isnan(found.by_context[[1, 3]]).all()
    assert found.mean == pytest.approx(np.mean(expected)) and found.interval[0] < found.mean < found.interval[1]


def test_equal_images_have_none_and_single_ones_no_number():
    same = np.tile(unit(np.ones((1, 3))), (6, 1))
    found = measure_diversity(same, np.arange(6) % 2)
    np.testing.assert_allclose([found.mean, *found.interval], 0, atol=1e-12)
    alone = measure_diversity(same, np.arange(6))
    assert np.isnan(alone.mean) and np.isnan(alone.interval).all()
    with pytest.raises(InputError, match="as many, got 6 and 5"):
        measure_diversity(same, np.arange(5))


def test_its_interval_covers_the_distance_of_independent_images(rng):
    """Vectors of mean m have the expected distance 1 - |m|², here of two contexts."""
    draws = 40_000
    drawn = [unit(shift + rng.standard_normal((draws, 3))) for shift in (0.5, 2.0)]
    truth = np.mean([1 - np.sum(each.mean(axis=0) ** 2) for each in drawn])
    covered = 0
    for repeat in range(400):
        rows = slice(40 * repeat, 40 * (repeat + 1))
        found = measure_diversity(np.concatenate([each[rows] for each in drawn]), np.repeat([0, 1], 40))
        covered += found.interval[0] <= truth <= found.interval[1]
    assert 0.92 < covered / 400 < 0.985  # 95 % with 400 repeats
