"""The region that shows a group: nothing outside it depends on the group, whatever pose and size, and it is not much larger."""

import numpy as np
import pytest

from jaxdiff.data import ArraySource, embedded, open_data
from jaxdiff.data.images import fit, fit_region
from jaxdiff.data.view import View
from jaxdiff.errors import InputError


def both_groups(count, size, **values):
    """The same faces with a square and with a round jaw."""
    indices = np.arange(count)
    labels = embedded.labels(indices, seed=7)
    for column, attribute in enumerate(embedded.ATTRIBUTES):
        if attribute.name in values:
            labels[:, column] = values[attribute.name]
    pair = np.stack([labels, labels])
    pair[:, :, 0] = [[0], [1]]
    return [embedded.render(each, indices, seed=7, size=size) for each in pair]


def changed(square, other):
    return (square != other).any(axis=(0, 3))


@pytest.mark.parametrize("size", [16, 17, 32, 64, 128])
def test_only_the_region_depends_on_the_group(size):
    count = 400 if size < 64 else 60
    differs = changed(*both_groups(count, size))
    region = embedded.group_region(size)
    assert not (differs & ~region).any()
    # and the region is used: its pixels are those that differ in some of few images, and their neighbours
    assert differs.sum() > 0.55 * region.sum()


@pytest.mark.parametrize("corner", range(16))
def test_poses_at_the_ends_of_their_ranges_stay_within_the_region(corner, monkeypatch):
    ends = {
        name: (pair[corner >> bit & 1],) * 2 if name in ("shift_x", "shift_y", "scale", "width") else pair
        for bit, (name, pair) in enumerate(embedded._VARIATIONS.items())
    }
    region = embedded.group_region(48)
    monkeypatch.setattr(embedded, "_VARIATIONS", ends)
    assert not (changed(*both_groups(24, 48, beard=1)) & ~region).any()


def test_other_attributes_are_seen_outside_the_region():
    region, indices = embedded.group_region(32), np.arange(64)
    seen = {}
    for column, attribute in enumerate(embedded.ATTRIBUTES[1:], 1):
        labels = embedded.labels(indices)
        pair = []
        for value in (0, 1):
            labels[:, column] = value
            pair.append(embedded.render(labels, indices, size=32))
        differs = changed(*pair)
        seen[attribute.name] = (differs & ~region).sum() / differs.sum()
    assert 0.1 < seen.pop("beard") < 0.3 and seen.pop("lipstick") > 0.4, seen
    assert min(seen.values()) > 0.5, seen
    assert region.mean() < 0.25


def test_sources_pass_it_on():
    source = open_data("embedded", split="test", size=32)
    assert (source.defining_region("group") == embedded.group_region(32)).all()
    assert source.defining_region("hair") is None
    few = View(source, indices=np.arange(3), attributes=["hair", "group"], channels=1)
    assert (few.defining_region("group") == embedded.group_region(32)).all()
    images, labels = embedded.generate(np.arange(4), size=16)
    assert ArraySource(images, labels, embedded.ATTRIBUTES).defining_region("group") is None
    with pytest.raises(InputError, match="size"):
        embedded.group_region(8)


@pytest.mark.parametrize("size", [(16, 16), (20, 32), (40, 24), (33, 33)])
def test_resized_images_depend_on_the_resized_region(size):
    square, other = both_groups(40, 32)
    region = fit_region(embedded.group_region(32), size)
    resized = [np.stack([fit(image, size) for image in images]) for images in (square, other)]
    assert region.shape == size and not (changed(*resized) & ~region).any()
    assert (open_data("embedded", size=size).defining_region("group").shape) == size


def test_resized_region_is_where_a_filter_reaches(rng):
    """Any image that changes within a region changes within the resized region alone, for single pixels too."""
    for before, after in (((9, 12), (6, 8)), ((12, 9), (16, 24)), ((10, 10), (10, 7))):
        for _ in range(30):
            region = np.zeros(before, bool)
            region[rng.integers(before[0]), rng.integers(before[1])] = True
            image = rng.integers(256, size=(*before, 3), dtype=np.uint8)
            other = np.where(region[..., None], 255 - image, image)
            differs = (fit(image, after) != fit(other, after)).any(axis=-1)
            assert not (differs & ~fit_region(region, after)).any()
