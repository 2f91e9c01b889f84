"""The nearest images are exact, their number, mirror images and groups among them: against brute force in float64."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from jaxdiff.errors import InputError
from jaxdiff.quality import pixels
from jaxdiff.quality.pixels import neighbours


def images(rng, count, size=4):
    return rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def squares(x, y):
    return cdist(*(each.reshape(len(each), -1).astype(float) for each in (x, y)), "sqeuclidean")


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks that cut every axis several times."""
    for name, value in {"ROWS": 7, "COLUMNS": 11, "EXACT": 13, "ENTRIES": 300}.items():
        monkeypatch.setattr(pixels, name, value)


def test_the_nearest_are_those_of_brute_force(rng, small_blocks):
    x, y = images(rng, 50), images(rng, 70)
    found, brute = neighbours(x, y, 9), np.sort(squares(x, y), axis=1)[:, :9]
    np.testing.assert_array_equal(found.distances, np.sqrt(brute / 48))
    np.testing.assert_array_equal(np.take_along_axis(squares(x, y), found.indices, axis=1), brute)
    assert not found.mirrored.any()


def test_large_sums_are_exact(rng):
    """Nearly black against white: sums of odd products, beyond what float32 holds, and one grey level in one place more."""
    dark, white = np.ones((1, 64, 64, 3), np.uint8), np.full((2, 64, 64, 3), 255, np.uint8)
    white[1, -1, -1, -1] = 254
    found = neighbours(dark, white, 2)
    assert found.indices.tolist() == [[1, 0]]
    exact = 12288 * 254**2
    np.testing.assert_array_equal(found.distances, np.sqrt(np.array([[exact - 254**2 + 253**2, exact]]) / 12288))


def test_mirror_images_count_where_they_are_nearer(rng, small_blocks):
    x, y = images(rng, 30), images(rng, 40)
    y[6] = np.maximum(y[6], y[6, :, ::-1])  # its own mirror image
    x[3], x[8] = y[5, :, ::-1], y[6]
    straight, turned = squares(x, y), squares(x, y[:, :, ::-1])
    found, brute = neighbours(x, y, 4, flips=True), np.minimum(straight, turned)
    np.testing.assert_array_equal(found.distances, np.sqrt(np.sort(brute, axis=1)[:, :4] / 48))
    np.testing.assert_array_equal(found.mirrored, np.take_along_axis(turned < straight, found.indices, axis=1))
    assert (found.indices[3, 0], found.distances[3, 0], found.mirrored[3, 0]) == (5, 0, True)
    assert (found.indices[8, 0], found.distances[8, 0], found.mirrored[8, 0]) == (6, 0, False)
    assert neighbours(x, y).distances[3, 0] > 0


def test_of_each_group_the_nearest_member_alone_is_a_neighbour(rng, small_blocks):
    x, y = images(rng, 40), images(rng, 60)
    groups = rng.integers(0, 25, 60)
    groups[50:] = np.arange(100, 110)
    y[7] = y[3]
    groups[7] = groups[3]
    x[0] = y[3]
    brute = squares(x, y)
    kinds = np.unique(groups)
    by_group = np.stack([brute[:, groups == kind].min(axis=1) for kind in kinds], axis=1)
    found = neighbours(x, y, 12, groups=groups)
    np.testing.assert_array_equal(found.distances, np.sqrt(np.sort(by_group, axis=1)[:, :12] / 48))
    np.testing.assert_array_equal(np.take_along_axis(brute, found.indices, axis=1) / 48, np.round(found.distances**2 * 48) / 48)
    assert all(len(set(groups[row])) == 12 for row in found.indices)
    assert found.indices[0, 0] == 3


def test_of_equally_near_images_the_first_is_the_nearest(rng):
    x = images(rng, 1)
    found = neighbours(x, np.repeat(x, 400, axis=0), 3)
    assert found.indices[0, 0] == 0 and len(set(found.indices[0])) == 3


def test_progress_counts_every_image(rng, small_blocks):
    done = []
    neighbours(images(rng, 30), images(rng, 20), advance=done.append)
    assert sum(done) == 30 and len(done) > 1


def test_too_few_are_refused(rng):
    x = images(rng, 3)
    with pytest.raises(InputError, match="3 other images of one size, got 4"):
        neighbours(x, x, 4)
    with pytest.raises(InputError, match="2 other images of one size, got 3"):
        neighbours(x, count=3)
    with pytest.raises(InputError, match="2 other groups of one size, got 3"):
        neighbours(x, x, 3, groups=np.array([0, 0, 1]))
    with pytest.raises(InputError, match="one size"):
        neighbours(x, images(rng, 3, 5))
