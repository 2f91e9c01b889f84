"""The range of floating-point images is inferred from many values, or given."""

import numpy as np
import pytest

from jaxdiff.data import load_arrays, open_data
from jaxdiff.errors import InputError

RANGES = [(0, 1), (-1, 1), (0, 255)]


def levels():
    return np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8)


def written(tmp_path, images):
    np.savez(tmp_path / "x.npz", images=images.astype(np.float32), labels=np.arange(16) % 2)
    return tmp_path / "x.npz"


@pytest.mark.parametrize(("low", "high"), RANGES)
@pytest.mark.parametrize("beyond", [0.0, 1e-4, 0.015])
def test_a_few_values_just_outside_do_not_change_the_range(tmp_path, low, high, beyond):
    images = levels() / 255 * (high - low) + low
    images[0, 0, 0, 0], images[1, 0, 0, 0] = low - beyond * (high - low), high + beyond * (high - low)
    want = levels()
    want[0, 0, 0, 0], want[1, 0, 0, 0] = 0, 255
    path = written(tmp_path, images)
    source = open_data(path, split="all")
    np.testing.assert_array_equal(load_arrays(source)[0], want)
    assert f"[{low}, {high}], inferred" in source.notes[0]
    assert ("2 of 3072 values" in source.notes[0]) == (beyond > 0)
    np.testing.assert_array_equal(load_arrays(open_data(path, split="all", range=(low, high)))[0], want)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(lambda unit: (unit - 0.45) / 0.22, id="standardised"),
        pytest.param(lambda unit: unit * 10, id="to ten"),
        pytest.param(lambda unit: unit * 2 - 0.5, id="shifted"),
        pytest.param(lambda unit: unit * 65535, id="16 bits"),
        pytest.param(lambda unit: np.where(np.arange(3072).reshape(unit.shape) == 5, -0.5, unit), id="one far outside"),
    ],
)
def test_other_ranges_are_errors_unless_given(tmp_path, values):
    path = written(tmp_path, values(levels() / 255))
    with pytest.raises(InputError, match="`range` takes another"):
        open_data(path, split="all")


def test_a_given_range_is_used_and_checked(tmp_path):
    path = written(tmp_path, levels() / 255 * 10 - 3)
    np.testing.assert_array_equal(load_arrays(open_data(path, split="all", range=(-3, 7)))[0], levels())
    with pytest.raises(InputError, match=r"must be in \[0, 7\]"):
        open_data(path, split="all", range=(0, 7))
    for wrong in ((1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)):
        with pytest.raises(InputError, match="`range` must be"):
            open_data(path, split="all", range=wrong)


def test_a_range_is_refused_where_no_image_is_floating_point(tmp_path):
    np.savez(tmp_path / "bytes.npz", images=levels())
    with pytest.raises(InputError, match="`range` is for floating-point images; .*bytes.npz: array 'images' is uint8"):
        open_data(tmp_path / "bytes.npz", split="all", range=(-3, 7))
    with pytest.raises(InputError, match="`range` is for floating-point images, which embedded, read as embedded, has none of"):
        open_data("embedded", split="all", range=(0, 1))


def test_sample_files_of_guided_diffusion(tmp_path):
    images = levels()
    images[:, 0, 0, 0] = np.arange(16) % 4
    np.savez(tmp_path / "samples_16x8x8x3.npz", images, np.arange(16) % 4)
    source = open_data(tmp_path / "samples_16x8x8x3.npz", split="all")
    found, labels = load_arrays(source)
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(labels[:, 0], found[:, 0, 0, 0])
    assert "arr_0" in source.notes[0]
    np.savez(tmp_path / "alone.npz", images)
    assert open_data(tmp_path / "alone.npz", split="all").attributes == ()
    np.savez(tmp_path / "moments.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(InputError, match="no array 'images'; it has mu, sigma"):
        open_data(tmp_path / "moments.npz")
