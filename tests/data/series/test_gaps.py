"""Windows of gaps: each missing value is filled once, near the middle of a window that crosses nothing."""

import numpy as np
import pytest

from jaxdiff.data.series import open_table
from jaxdiff.data.series.gaps import gap_windows
from jaxdiff.errors import InputError

LENGTH = 8


def table_of(tmp_path, missing, *, groups=None, days=None):
    """A table of two columns with these entries missing (T, 2)."""
    rng = np.random.default_rng(1)
    days = np.arange(len(missing)) if days is None else days
    lines = ["date,id,a,b"]
    for day, group, row in zip(days, groups or ["x"] * len(missing), missing, strict=True):
        cells = ["" if gone else f"{value:.3f}" for value, gone in zip(rng.normal(size=2), row, strict=True)]
        lines.append(f"{np.datetime64('2020-01-01') + int(day)},{group},{','.join(cells)}")
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    return open_table(tmp_path / "in.csv", time="date", group="id")


@pytest.mark.parametrize("fill", [1, 3, 4, 8])
def test_each_missing_value_is_filled_once_and_near_the_middle(tmp_path, rng, fill):
    missing = rng.random((90, 2)) < 0.15
    missing[[0, 89], 0] = True
    missing[40:60] = True
    groups = [("x", "y")[i % 2] if i < 40 else "x" for i in range(90)]  # series in turn, then one alone: y has 20 rows
    days = np.where(np.arange(90) < 40, np.arange(90) // 2, np.arange(90) - 20)
    days[75:] += 3  # a gap in time
    table = table_of(tmp_path, missing, groups=groups, days=days)
    found = gap_windows(table, LENGTH, fill)
    assert (found.rows >= 0).all() and not found.short
    order, times = table.order, table.times[table.order].astype("datetime64[D]")
    filled = np.zeros(90, int)
    for rows, first, last in zip(found.rows, found.first, found.last, strict=True):
        filled[first : last + 1] += 1
        assert rows[0] <= first <= last <= rows[-1] and last - first < fill
        assert len(set(table.groups[order[rows]])) == 1
        np.testing.assert_array_equal(np.diff(times[rows]), np.timedelta64(1, "D"))
        assert (~table.mask[order[[first, last]]]).any(axis=1).all()  # no row more than needed
        # in the middle, as far as the ends of its stretch allow
        before, after = first - rows[0], rows[-1] - last
        start, stop = next((start, stop) for start, stop in table.segments() if start <= rows[0] < stop)
        assert abs(before - after) <= 1 or (before > after and rows[-1] == stop - 1) or (after > before and rows[0] == start)
    lacking = (~table.mask[order]).any(axis=1)
    assert (filled[lacking] == 1).all()
    assert len(found.rows) <= lacking.sum() and (fill > 1 or len(found.rows) == lacking.sum())


def test_windows_without_a_missing_value_are_not_run(tmp_path):
    missing = np.zeros((60, 2), bool)
    missing[[30, 31, 50], [0, 1, 0]] = True
    found = gap_windows(table_of(tmp_path, missing), LENGTH, 4)
    assert found.first.tolist() == [30, 50] and found.last.tolist() == [31, 50]
    assert found.rows[:, 0].tolist() == [27, 46]


def test_lines_join_the_values_of_a_stretch(tmp_path):
    missing = np.zeros((30, 2), bool)
    missing[[0, 1, 5, 6, 7, 29], 0] = True
    missing[10:20, 1] = missing[12:, 1] = True
    days = np.arange(30)
    days[12:] += 5
    table = table_of(tmp_path, missing, days=days)
    found = gap_windows(table, LENGTH, 4).lines
    values, rows = table.values, np.arange(30)
    seen = ~missing[:12, 0]
    np.testing.assert_allclose(found[:12, 0], np.interp(rows[:12], rows[:12][seen], values[:12, 0][seen]))
    assert found[0, 0] == values[2, 0] and found[29, 0] == values[28, 0] and found[11, 1] == values[9, 1]
    assert np.isnan(found[12:, 1]).all()  # the rows after the gap show nothing of it


def test_short_stretches_have_windows_that_go_beyond_them(tmp_path):
    missing = np.zeros((20, 2), bool)
    missing[[3, 17], 0] = True
    days = np.arange(20)
    days[15:] += 1
    found = gap_windows(table_of(tmp_path, missing, days=days), LENGTH, 4)
    assert found.short == 1 and found.rows[1].tolist() == [15, 16, 17, 18, 19, -1, -1, -1]
    with pytest.raises(
        InputError, match=r"a window of 16 rows is longer than every series .* are 15, rows 2 to 16 \(series 'x'\)"
    ):
        gap_windows(table_of(tmp_path, missing, days=days), 16, 4)


def test_rows_that_may_not_be_used_are_in_no_window(tmp_path):
    missing = np.zeros((40, 2), bool)
    missing[[10, 30], 0] = True
    usable = np.ones(40, bool)
    usable[[12, 30]] = False
    found = gap_windows(table_of(tmp_path, missing), LENGTH, 4, usable)
    assert found.first.tolist() == [10] and found.rows[0].tolist() == list(range(4, 12))
