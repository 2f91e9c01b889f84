"""The space of series: a column's range becomes [-1, 1] and back, the scaling is that of the training windows, and is kept."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import spaces
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Series
from jaxdiff.spaces.series import COLOURS, PICTURE

SPACE = Series(("load", "price"), 4, (-1.0, 1e6), (3.0, 1e6 + 0.5))
"""The second column is a small range far from 0, which float32 does not resolve before it is scaled."""


def windows(count=6):
    return np.random.default_rng(0).uniform(SPACE.low, SPACE.high, (count, *SPACE.shape))


def test_the_range_of_each_column_becomes_minus_one_to_one():
    ends = np.array([[SPACE.low, SPACE.high, np.add(SPACE.low, SPACE.high) / 2, (5.0, 1e6 - 0.5)]])
    x = SPACE.encode(ends)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, [[[-1, -1], [1, 1], [0, 0], [2, -3]]])
    np.testing.assert_array_equal(SPACE.decode(x), ends)


def test_the_ends_are_decoded_to_the_bit():
    rng = np.random.default_rng(1)
    for low, high in np.sort(rng.normal(size=(50, 2)) * 10 ** rng.uniform(-8, 8, (50, 2))).tolist():
        space = Series(("a",), 2, (low,), (high,))
        assert space.decode(np.float32([[[-1], [1]]])).ravel().tolist() == [low, high]


def test_values_are_restored_to_the_accuracy_of_float32_of_their_range():
    restored = SPACE.decode(SPACE.encode(windows(100)))
    assert restored.dtype == np.float64
    assert (np.abs(restored - windows(100)) <= np.subtract(SPACE.high, SPACE.low) * 2**-25).all()


def test_missing_values_stay_missing():
    shown = windows()
    shown[2, 1, 0] = np.nan
    x = SPACE.encode(shown)
    np.testing.assert_array_equal(np.isnan(x), np.isnan(shown))
    np.testing.assert_array_equal(np.isnan(SPACE.decode(x)), np.isnan(shown))
    SPACE.pictures(shown)


def test_arrays_of_jax_stay_arrays_of_jax():
    space = Series(("a", "b"), 4, (0.0, -2.0), (1.0, 2.0))
    shown = np.random.default_rng(0).uniform(space.low, space.high, (3, 4, 2))
    for encode in (space.encode, jax.jit(space.encode)):
        x = encode(jnp.asarray(shown))
        assert isinstance(x, jax.Array) and x.dtype == np.float32
        np.testing.assert_allclose(x, space.encode(shown), atol=3e-7)
    np.testing.assert_array_equal(space.decode(x), space.decode(np.asarray(x)))


def test_scaling_is_that_of_the_training_windows_without_missing_values():
    rows = np.array([[5.0, -2.0], [np.nan, 7.0], [1.0, 0.5]])
    fitted = Series.fit(np.stack([rows, rows + 1]), ("a", "b"))
    assert fitted == Series(("a", "b"), 3, (1.0, -2.0), (6.0, 8.0))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([2.5, 2.5, np.nan], "column 'b' is constant: it is 2.5 in all of 1 windows; leave it out"),
        ([np.nan, np.nan, np.nan], "column 'b' has no value in any of 1 windows"),
        ([1.0, np.inf, 2.0], "column 'b' has infinite values"),
    ],
)
def test_a_column_that_cannot_be_scaled_is_named(column, message):
    with pytest.raises(InputError, match=message):
        Series.fit(np.array([[[0, 1, 2], column]], float).transpose(0, 2, 1), ("a", "b"))


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 3, 1), (2, 0, 2)])
def test_windows_of_another_number_of_columns_are_refused(shape):
    with pytest.raises(InputError, match=r"`windows` must be \(N, L, 2\) for 2 columns, got"):
        Series.fit(np.zeros(shape), ("a", "b"))


def test_a_space_is_restored_from_its_config_to_the_bit():
    space = Series(("ä", "b c"), 24, (0.1, -1 / 3), (0.1 + 1e-12, 2e300**0.1))
    restored = spaces.from_config(json.loads(json.dumps(space.config())))
    assert restored == space and hash(restored) == hash(space)
    assert isinstance(restored.columns, tuple) and isinstance(restored.low, tuple)
    assert space.shape == (24, 2) and space.shown is space and str(space) == "windows of 24 rows of ä, b c"


CONFIG = {"name": "series", "columns": ["a", "b"], "length": 4, "low": [0, 0], "high": [1, 2.5]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": "ab"}, "`columns` must be 1 to 10,000 distinct, non-empty names, got 'ab'"),
        ({"columns": ["a", "a"]}, "distinct, non-empty names, got"),
        ({"columns": ["a", ""]}, "distinct, non-empty names, got"),
        ({"columns": ["a", 3]}, "distinct, non-empty names, got"),
        ({"columns": ["a", "\ud800"]}, "distinct, non-empty names, got"),
        ({"columns": []}, "distinct, non-empty names, got"),
        ({"length": 0}, "`length` must be at least 1, got 0"),
        ({"length": 2.5}, "`length` must be a whole number, got 2.5"),
        ({"low": [0]}, "`low` must be 2 numbers, one for each column, got 1"),
        ({"high": [1, 2, 3]}, "`high` must be 2 numbers, one for each column, got 3"),
        ({"low": 0}, "`low` must be a list of numbers, got 0"),
        ({"low": ["0", 0]}, "`low` must be a number, got '0'"),
        ({"low": [float("nan"), 0]}, "`low` must be a finite number, got nan"),
        ({"high": [1, float("inf")]}, "`high` must .*3e.38, got inf"),
        ({"low": [0, 2.5]}, "`low` must be below `high` in each column; column 'b' has 2.5 and 2.5"),
        ({"low": [7, 0]}, "column 'a' has 7 and 1"),
        ({"scale": 1}, "space 'series' does not take"),
    ],
)
def test_what_is_no_space_of_series_is_refused(change, message):
    assert spaces.from_config(CONFIG) == Series(("a", "b"), 4, (0.0, 0.0), (1.0, 2.5))
    with pytest.raises(InputError, match=message):
        spaces.from_config(CONFIG | change)


@pytest.mark.parametrize("shown", [np.zeros((2, 4, 2), np.float32), np.zeros((2, 5, 2)), np.zeros((2, 4, 2), np.uint8)])
def test_other_arrays_are_refused(shown):
    with pytest.raises(InputError, match=r"`series` must be float64 \(B, 4, 2\), got"):
        SPACE.encode(shown)
    with pytest.raises(InputError, match=r"`series` must be float64 \(B, 4, 2\), got"):
        SPACE.encode(jnp.zeros((2, 5, 2)))


def test_a_picture_shows_each_column_as_a_line_through_its_values():
    height, width = PICTURE
    space = Series(("up", "down"), 5, (0.0, 10.0), (1.0, 30.0))
    ramp = np.linspace(0, 1, 5)
    (picture,) = space.pictures(np.stack([ramp, 10 + 20 * ramp[::-1]], axis=-1)[None])
    assert picture.shape == (height, width, 3)
    for colour, rising in zip(COLOURS[:2], (True, False), strict=True):
        row, column = np.nonzero((picture == colour).all(-1))
        # the second line covers the first where they cross
        assert width - 3 <= len(set(column)) <= width
        expected = np.interp(column, [0, width - 1], [height - 4, 3] if rising else [3, height - 4])
        assert np.abs(row - expected).max() < 2
    assert (picture == 255).all(-1).mean() > 0.9


def test_a_picture_has_no_line_where_values_are_missing_and_points_where_neighbours_are():
    space = Series(("a",), 9, (0.0,), (1.0,))
    shown = np.full((2, 9, 1), np.nan)
    shown[0, 4], shown[0, 5], shown[1, 8] = 0.5, 0.5, 2.0
    first, second = (space.pictures(shown) != 255).any(-1)
    width = PICTURE[1]
    assert set(np.nonzero(first)[1]) == set(range(width * 4 // 8, width * 5 // 8 + 1))
    # one value alone, above the range: a point at the upper edge, where the last pixel is
    assert np.argwhere(second).tolist() == [[3, width - 1]]
    one = Series(("a",), 1, (0.0,), (1.0,)).pictures(np.full((1, 1, 1), 0.5))
    assert (one != 255).any((-1, -3)).all()


def test_samples_are_stored_as_float64_in_the_units_of_the_table(tmp_path):
    labels = np.zeros((6, 0), np.int32)
    made = SampleSet.create(tmp_path / "set", {"seed": 0}, (), labels, SPACE)
    made.write(0, windows())
    made.finish()
    samples = SampleSet.open(tmp_path / "set")
    assert samples.space == SPACE
    stored = np.stack([samples.image(i) for i in range(6)])
    assert stored.dtype == np.float64
    np.testing.assert_array_equal(stored, windows())
