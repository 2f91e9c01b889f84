"""Windows never cross a gap, a series or a class; splits by time share no row, and shuffled ones are those of the papers."""

import numpy as np
import pytest

from jaxdiff.data import describe, load_arrays
from jaxdiff.data.series import SeriesSource, open_series
from jaxdiff.errors import InputError
from jaxdiff.spaces import Series
from tests.data.series.tables import HOURS, csv_text, hourly, rows


@pytest.fixture
def load(tmp_path):
    """The path of a table of two days with a gap after ten hours."""
    (tmp_path / "load.csv").write_text(hourly(drop=(10, 11)))
    return tmp_path / "load.csv"


def test_windows_are_the_rows_that_follow_one_another(load):
    kept = np.delete(rows(), (10, 11), axis=0)
    source = open_series(f"{load}?window=4&stride=3")
    starts = [*range(0, 10 - 3, 3), *range(10, 46 - 3, 3)]
    assert isinstance(source, SeriesSource) and len(source) == source.whole == len(starts) and source.shape == (4, 2)
    windows, labels = load_arrays(source)
    assert windows.dtype == np.float64 and labels.shape == (len(starts), 0)
    hours = np.delete(HOURS, (10, 11))
    for i, start in enumerate(starts):
        np.testing.assert_array_equal(source.image(i), kept[start : start + 4])
        np.testing.assert_array_equal(windows[i], kept[start : start + 4])
        np.testing.assert_array_equal(source.times[i], hours[start : start + 4])
        # the header is row 1
        assert source.rows(i).tolist() == list(range(start + 2, start + 6))
    assert (np.diff(source.times, axis=1) == np.timedelta64(1, "h")).all()
    assert describe(source).startswith(
        f"{load}?window=4&stride=3"[: len(str(load))] + f": {len(starts)} windows; 4 rows of a, b; read as csv"
    )
    assert Series.fit(windows, source.columns).columns == ("a", "b")
    assert len(open_series(load, window=4)) == 7 + 33 and len(open_series(f"{load}?window=4&gaps=ignore")) == 43


def test_splits_by_time_share_no_row_and_test_is_last(load):
    parts = {split: open_series(load, split=split, window=4, test_share=0.25) for split in ("train", "test")}
    used = {split: {row for i in range(len(part)) for row in part.rows(i)} for split, part in parts.items()}
    # 46 rows, of which the last 11.5, rounded to 12, are for testing
    assert used["train"] == set(range(2, 36)) and used["test"] == set(range(36, 48))
    assert len(parts["train"]) == 7 + 21 and len(parts["test"]) == 9
    assert parts["train"].whole == parts["test"].whole == 37


def test_each_series_has_a_test_part_and_short_ones_are_left_out(tmp_path):
    """The rows of three series of 20, 10 and 3 rows, mixed."""
    names = np.random.default_rng(0).permutation(["x"] * 20 + ["y"] * 10 + ["z"] * 3)
    times = [np.count_nonzero(names[:i] == name) for i, name in enumerate(names)]
    path = tmp_path / "many.csv"
    path.write_text(csv_text(["id", "t", "a"], names, times, range(33)))
    spec = f"{path}?time=t&group=id&window=4"
    train, test = (open_series(spec, split=split, test_share=0.4) for split in ("train", "test"))
    assert sorted(train.groups) == ["x"] * 9 + ["y"] * 3 and sorted(test.groups) == ["x"] * 5 + ["y"]
    for part in (train, test):
        for i in range(len(part)):
            assert set(names[part.positions(i)]) == {part.groups[i]}
            np.testing.assert_array_equal(part.image(i)[:, 0], part.positions(i))
            assert (np.diff(part.times[i]) == 1).all()
    assert "1 series have no window of 4 rows and are left out" in train.notes


def test_the_shuffled_split_is_that_of_the_papers(load):
    every = open_series(load, window=4)
    np.random.seed(123)  # noqa: NPY002 (as in the published code)
    order = np.random.permutation(len(every))  # noqa: NPY002
    count = int(np.ceil(len(every) * 0.9))
    for split, expected in (("train", order[:count]), ("test", order[count:])):
        found = open_series(load, split=split, by="shuffled", window=4)
        assert [found.rows(i)[0] for i in range(len(found))] == [every.rows(i)[0] for i in expected.tolist()]
        assert found.whole == len(every) and "overlap" in found.notes[-1]
    other = open_series(load, split="train", by="shuffled", window=4, seed=124)
    assert sorted(other.rows(0)) != sorted(found.rows(0))


def test_windows_have_one_class_and_those_without_one_are_left_out(tmp_path):
    classes = ["run"] * 6 + [""] * 2 + ["run"] * 3 + ["walk"] * 5
    path = tmp_path / "steps.csv"
    path.write_text(csv_text(["a", "kind"], range(16), classes))
    source = open_series(f"{path}?label=kind&window=3")
    assert [source.rows(i)[0] - 2 for i in range(len(source))] == [0, 1, 2, 3, 8, 11, 12, 13]
    (attribute,) = source.attributes
    assert (attribute.name, attribute.values) == ("kind", ("run", "walk"))
    assert source.labels.tolist() == [[0]] * 5 + [[1]] * 3 and source.labels.dtype == np.int32
    assert source.columns == ("a",) and "2 of 16 rows have no value of 'kind' and are left out" in source.notes


def test_missing_values_are_counted(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n,4\n5,\n7,8\n9,1\n")
    source = open_series(path, window=2)
    np.testing.assert_array_equal(source.missing, [1 / 4, 2 / 4, 1 / 4, 0])
    np.testing.assert_array_equal(source.mask[1], [[False, True], [True, False]])
    with pytest.raises(InputError, match="row 3 of .*a.csv has no value in column 'a'; 3 of 4 windows have missing values"):
        source.require_complete()
    open_series(path, window=2, split="test", test_share=0.4).require_complete()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"window": 37},
            "a window of 37 rows is longer than every series of .*: the most that follow one another are 36, rows 12 to "
            "47; `window` must be less; gaps=ignore takes rows",
        ),
        (
            {"window": 24, "split": "test"},
            "split 'test' of .* is empty: the last 0.1 of no series has 24 rows .*`test_share` another",
        ),
        ({"split": "validation"}, "`split` must be train or test, or None for all windows, got 'validation'"),
        ({"by": "chance"}, "`by` must be time or shuffled, got 'chance'"),
        ({"test_share": 1.0}, r"`test_share` must lie in \(0, 1\), got 1"),
        ({"seed": -1}, r"`seed` must lie in \[0, 4294967295\], got -1"),
        ({"window": 0}, "`window` must be a whole number of rows from 1 to 1,000,000, got 0"),
        ({"stride": 0}, "`stride` must be a whole number of rows"),
        ({"columns": ["a", "c"]}, "has no column 'c', which `columns` names; its columns are date, a, b"),
    ],
)
def test_what_has_no_windows_is_refused(options, message, load):
    with pytest.raises(InputError, match=message):
        open_series(load, **options)


@pytest.mark.parametrize("spec", ["nothing", "load.xlsx", "sine", "embedded"])
def test_what_is_no_series_is_refused(spec):
    with pytest.raises(InputError, match=f"no series at '{spec}'; expected a path of a table, .*sines, mujoco"):
        open_series(spec)
