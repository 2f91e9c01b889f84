"""Copies are found by exact distances and an exact test; roughness has its closed forms."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import binom

from jaxdiff.errors import InputError
from jaxdiff.quality.copies import RealImages, nearest
from jaxdiff.quality.roughness import image_roughness


def images(rng, count, size=4):
    return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_nearest_is_exact(rng):
    x, y = images(rng, 1100), images(rng, 700)
    squares = cdist(*(each.reshape(len(each), -1).astype(float) for each in (x, y)), "sqeuclidean")
    distances, indices = nearest(x, y)
    assert (indices == squares.argmin(axis=1)).all()
    np.testing.assert_array_equal(distances, np.sqrt(squares.min(axis=1) / 48))


def test_nearest_within_a_set_is_another_image(rng):
    x = images(rng, 600)
    x[7], x[590] = x[3], x[512]
    own = cdist(*[x.reshape(600, -1).astype(float)] * 2, "sqeuclidean")
    np.fill_diagonal(own, np.inf)
    distances, indices = nearest(x)
    np.testing.assert_array_equal(distances, np.sqrt(own.min(axis=1) / 48))
    assert indices[[3, 7, 512, 590]].tolist() == [7, 3, 590, 512] and not distances[[3, 7, 512, 590]].any()


def test_copies_are_counted(rng):
    """A quarter are copies; the others are nearer to a training image in two of three cases, as there are twice as many."""
    train, held_out = images(rng, 1200, 2), images(rng, 600, 2)
    synthetic = np.concatenate([train[:150], images(rng, 450, 2)])
    found = RealImages(train, held_out).copy_test(synthetic)
    assert found.expected == pytest.approx(2 / 3) and found.count == (600, 1200, 600)
    assert found.excess == pytest.approx(0.25, abs=0.12) and found.p_value < 0.001
    assert found.near_duplicates[0] == pytest.approx(0.25, abs=0.03) and found.near_duplicates[1] < 0.03


def test_what_is_near_to_everything_is_no_copy(rng):
    """Grey images are nearer to any image than images are to one another."""
    train, held_out = images(rng, 300), images(rng, 300)
    found = RealImages(train, held_out).copy_test(rng.integers(120, 136, (200, 4, 4, 3), dtype=np.uint8))
    assert found.distance[0] < found.distance[1] and found.p_value > 0.01


@pytest.mark.parametrize("level", [0.05])
def test_the_level_holds_where_few_real_images_are_near_to_all(rng, level):
    """Smooth synthetic images share their nearest real ones, which a binomial test would take for independent."""
    trials, flags, binomial = 600, 0, 0
    for trial in range(trials):
        real = images(rng, 90, 3)
        smooth = rng.integers(100, 156, (60, 3, 3, 3), dtype=np.uint8)
        found = RealImages(real[:60], real[60:]).copy_test(smooth, permutations=199, seed=trial)
        flags += found.p_value <= level
        binomial += binom.sf(round(found.share * 60) - 1, 60, 2 / 3) <= level
    assert flags <= binom.ppf(0.999, trials, level)
    assert flags > 0.2 * level * trials and binomial > 2 * level * trials


def test_wrong_images_are_refused(rng):
    with pytest.raises(InputError, match="one size"):
        RealImages(images(rng, 3), images(rng, 3, 5))
    with pytest.raises(InputError, match="permutations"):
        RealImages(images(rng, 3), images(rng, 3)).copy_test(images(rng, 2), permutations=0)
    with pytest.raises(InputError, match="one size"):
        nearest(images(rng, 1))


def test_roughness_has_its_closed_forms(rng):
    flat = np.full((1, 8, 8, 3), 77, np.uint8)
    slope = np.broadcast_to(np.arange(8, dtype=np.uint8)[None, :, None, None] * 9, (1, 8, 8, 3))
    board = np.broadcast_to(np.where(np.indices((8, 8)).sum(0) % 2, 20, 10).astype(np.uint8)[None, :, :, None], (1, 8, 8, 3))
    assert image_roughness(np.concatenate([flat, slope, board])).tolist() == [0, 0, 40]  # four neighbours, each 10 away
    noise = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    expected = np.sqrt(20 * (256**2 - 1) / 12)
    assert np.sqrt(np.square(image_roughness(noise)).mean()) == pytest.approx(expected, rel=0.01)
    with pytest.raises(InputError, match="3x3"):
        image_roughness(noise[:, :2])
