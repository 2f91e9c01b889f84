"""Tables of series are read right however they are written: numbers, times, gaps, several series, missing values."""

import datetime

import numpy as np
import pytest

from jaxdiff.data.series import open_table
from tests.data.series.tables import HOURS, csv_text, hourly, rows


@pytest.fixture
def table(tmp_path):
    """Opens a table of these bytes or this text."""

    def opened(content, name="load.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return open_table(path, **options)

    return opened


def comma(text):
    return text.replace(",", ";").replace(".", ",")


WRITTEN = {
    "commas": str.encode,
    "byte-order mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "decimal commas": lambda text: comma(text).encode(),
    "decimal commas in quotes": lambda text: "\n".join(
        ",".join(f'"{cell.replace(".", ",")}"' for cell in row.split(",")) for row in text.split("\n")[:-1]
    ).encode(),
    "old line ends": lambda text: text.replace("\n", "\r").encode(),
    "carriage returns": lambda text: text.replace("\n", "\r\n").encode(),
    "sep=": lambda text: ("sep=;\n" + text.replace(",", ";")).encode(),
    "spaces": lambda text: text.replace(",", " ,  ").encode(),
    "pandas index": lambda text: "\n".join(f"{i or ''},{row}" for i, row in enumerate(text.split("\n")[:-1])).encode(),
    "empty rows at the end": lambda text: (text + ",,\n,,\n\n").encode(),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_values_and_times_do_not_depend_on_how_a_table_is_written(how, table):
    found = table(WRITTEN[how](hourly()))
    assert found.columns == ("a", "b") and found.time_name == "date"
    np.testing.assert_array_equal(found.values, rows())
    np.testing.assert_array_equal(found.times, HOURS)
    assert found.mask.all() and found.step == "1 hour" and found.follows.tolist() == [False] + [True] * 47
    assert found.numbers.tolist() == list(range(2 + (how == "sep="), 50 + (how == "sep=")))
    assert ("numbers have decimal commas" in found.notes) == ("decimal" in how)


def test_numbers_are_read_to_the_bit(table):
    values = np.random.default_rng(1).normal(size=500) * 10.0 ** np.random.default_rng(2).integers(-300, 300, 500)
    found = table(csv_text(["a", "b"], map(repr, values.tolist()), range(500)))
    np.testing.assert_array_equal(found.values, np.stack([values, np.arange(500)], axis=1))
    forms = [".5", "5.", "+1e3", "-1.5E-2", "007", "1e-400"]
    assert table(csv_text(["a", "b"], forms, range(6))).values[:, 0].tolist() == [0.5, 5, 1000, -0.015, 7, 0]


MISSING = ["", " ", "NaN", "nan", "NA", "N/A", "#N/A", "null", "NULL", "None", "-nan", "<NA>", "?", '""']


def test_missing_values_are_nan_and_not_in_the_mask(table):
    found = table(csv_text(["a", "b"], MISSING, range(len(MISSING))), columns=["b", "a"])
    np.testing.assert_array_equal(found.values[:, 0], range(len(MISSING)))
    assert np.isnan(found.values[:, 1]).all() and not found.mask[:, 1].any() and found.mask[:, 0].all()
    assert found.notes[-1] == f"{len(MISSING)} of {2 * len(MISSING)} values are missing: 'a' {len(MISSING)}"


def test_a_row_without_values_is_a_row(table):
    """Without times, a dropped row would join the rows around it."""
    found = table("a,b\n1,2\n,\n3,4\n,\n")
    np.testing.assert_array_equal(found.values, [[1, 2], [np.nan, np.nan], [3, 4]])
    np.testing.assert_array_equal(table('a\n1\n""\n3\n').values, [[1], [np.nan], [3]])


def test_columns_of_other_things_are_left_out_with_a_note(table):
    text = csv_text(["a", "name", "empty", "day"], [1, 2], ["x", "7y"], ["", "NA"], ["2016-07-01", "2016-07-02"])
    found = table(text)
    assert found.columns == ("a",) and found.time_name == "day"
    assert "column 'name' is not used: it is of texts" in found.notes
    assert "column 'empty' is not used: it has no values" in found.notes
    assert table(text, columns=["empty"]).values.tolist() != [] and not table(text, columns=["empty"]).mask.any()
    assert table(text, time="").time_name is None
    assert list(table(text).texts("name")) == ["x", "7y"]


ISO = ["2016-07-01", "2016-07-01 05:00:00", "2016-07-02T00:00:00.25", "2016/07/03 1:05"]
AT = ["2016-07-01", "2016-07-01T05", "2016-07-02T00:00:00.25", "2016-07-03T01:05"]


@pytest.mark.parametrize(
    ("texts", "options", "times"),
    [
        (ISO, {}, AT),
        (["2016-07", "2016-08", "2016-11"], {}, ["2016-07-01", "2016-08-01", "2016-11-01"]),
        (
            ["2016-07-01T00:00Z", "2016-07-01 02:30:00+01:30", "2016-06-30T23:00-03"],
            {},
            ["2016-07-01T00", "2016-07-01T01", "2016-07-01T02"],
        ),
        (["01/02/2016", "13/02/2016", "01/03/2016"], {}, ["2016-02-01", "2016-02-13", "2016-03-01"]),
        (["02/01/2016 11:00 PM", "02/13/2016 12:00 am"], {}, ["2016-02-01T23", "2016-02-13T00"]),
        (["31.12.2016 23:00", "01.01.2017 00:00"], {}, ["2016-12-31T23", "2017-01-01T00"]),
        (["01/02/2016", "02/02/2016"], {"time": "t", "time_format": "%m/%d/%Y"}, ["2016-01-02", "2016-02-02"]),
        (["1 Feb 16", "3 Mar 16"], {"time": "t", "time_format": "%d %b %y"}, ["2016-02-01", "2016-03-03"]),
        (["20160229", "20160301"], {"time": "t", "time_format": "%Y%m%d"}, ["2016-02-29", "2016-03-01"]),
        (
            ["2016-07-01 00:00 +0200", "2016-07-01 00:00 +0100"],
            {"time": "t", "time_format": "%Y-%m-%d %H:%M %z"},
            ["2016-06-30T22", "2016-06-30T23"],
        ),
    ],
)
def test_times_are_those_that_are_written(texts, options, times, table):
    found = table(csv_text(["t", "a"], texts, range(len(texts))), **options)
    assert found.time_name == "t" and found.times.dtype == "datetime64[ns]"
    np.testing.assert_array_equal(found.times, np.array(times, "datetime64[ns]"))


def test_times_agree_with_the_standard_library(table):
    rng = np.random.default_rng(0)
    moments = sorted(
        datetime.datetime(1900, 1, 1) + datetime.timedelta(microseconds=int(x)) for x in rng.integers(0, 10**16, 200)
    )
    for text in (lambda t: t.isoformat(" "), lambda t: t.strftime("%d/%m/%Y %H:%M:%S.%f")):
        found = table(csv_text(["t", "a"], map(text, moments), range(200)))
        assert [t.isoformat() for t in found.times.astype("datetime64[us]").tolist()] == [t.isoformat() for t in moments]


def test_times_may_be_numbers(table):
    found = table(csv_text(["t", "a"], [0, 0.1, 0.2, 0.30000000000000004, 0.7], range(5)), time="t")
    assert found.times.dtype == np.float64 and found.step == "0.1"
    assert found.follows.tolist() == [False, True, True, True, False]
    assert "with 1 gap, which no window crosses: the first from row 5 (0.3) to row 6 (0.7)" in found.notes[0]


@pytest.mark.parametrize(
    ("times", "step", "breaks"),
    [
        (["2016-01-31", "2016-02-29", "2016-03-31", "2016-05-31"], "1 month", [3]),
        (["2016-01-01", "2016-02-01", "2016-03-01", "2016-04-01"], "1 month", []),
        (["2014-07-01", "2015-07-01", "2016-07-01"], "1 year", []),
        (["2016-01-01", "2016-04-01", "2016-07-01"], "3 months", []),
        (["2016-01-04", "2016-01-05", "2016-01-06", "2016-01-07", "2016-01-08", "2016-01-11"], "1 day", [5]),
        # local midnights where clocks change: days of 23 and 25 hours
        (["2016-03-26T00+01:00", "2016-03-27T00+01:00", "2016-03-28T00+02:00", "2016-03-29T00+02:00"], "1 day", []),
        (["2016-01-01 00:00", "2016-01-01 00:15", "2016-01-01 00:30", "2016-01-01 00:35"], "15 minutes", [3]),
        (["2016-01-01 00:00:00.000", "2016-01-01 00:00:00.020", "2016-01-01 00:00:00.0405"], "0.02 seconds", []),
    ],
)
def test_the_usual_step_is_found_and_other_steps_are_breaks(times, step, breaks, table):
    times = [time.replace("T00", "T00:00") for time in times]
    found = table(csv_text(["t", "a"], times, range(len(times))))
    assert found.step == step
    assert np.flatnonzero(~found.follows).tolist() == [0, *breaks]
    ignored = table(csv_text(["t", "a"], times, range(len(times))), gaps="ignore")
    assert np.flatnonzero(~ignored.follows).tolist() == [0]


def test_gaps_are_named_with_their_rows(table):
    found = table(hourly(drop=(10, 11, 30)))
    assert found.notes == (
        "times are in column 'date', from 2016-07-01 to 2016-07-02 23:00:00, at a step of 1 hour with 2 gaps, which no window "
        "crosses: the first from row 11 (2016-07-01 09:00:00) to row 12 (2016-07-01 12:00:00)",
    )
    assert found.segments().tolist() == [[0, 10], [10, 28], [28, 45]]


def test_several_series_in_one_table_are_told_apart(table):
    """Rows of two series take turns; each has steps and gaps of its own."""
    times = ["2016-01-01", "2016-01-01", "2016-01-02", "2016-01-02", "2016-01-04", "2016-01-03"]
    text = csv_text(["t", "id", "a"], times, ["x", "y"] * 3, range(6))
    found = table(text, group="id")
    assert found.group_name == "id" and found.groups.tolist() == ["x", "y"] * 3 and found.columns == ("a",)
    assert found.order.tolist() == [0, 2, 4, 1, 3, 5]
    assert found.follows.tolist() == [False, False, True, True, False, True]
    assert found.segments().tolist() == [[0, 2], [2, 3], [3, 6]]
    assert "2 series, by column 'id'" in found.notes


def test_options_are_read_from_the_name(table, tmp_path):
    text = csv_text(["t", "id", "rh (%)", '"x,y"', "a&b"], [1, 2], [0, 0], [1, 2], [3, 4], [5, 6])
    found = table(text, "a.csv")
    for spec in (f"csv:{tmp_path}/a.csv", f"{tmp_path}/a.csv"):
        found = open_table(rf"{spec}?time=t&columns=x\,y,rh (%),a\&b&group=id&window=2&stride=3&gaps=ignore")
        assert found.columns == ("x,y", "rh (%)", "a&b") and (found.options.window, found.options.stride) == (2, 3)
        assert open_table(f"{spec}?columns=a\\&b&time=t", columns=["id"]).columns == ("id",)
    (tmp_path / "a?b.csv").write_text(text)
    assert open_table(tmp_path / "a?b.csv").columns == ("t", "id", "rh (%)", "x,y", "a&b")
    assert open_table(f"csv:{tmp_path}/a?b.csv?columns=id").columns == ("id",)


def parquet(path, **columns):
    import pyarrow as pa
    import pyarrow.parquet

    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def test_parquet_reads_as_csv(table, tmp_path):
    import pyarrow as pa

    values = rows()
    values[3, 1] = np.nan
    path = parquet(
        tmp_path / "load.parquet",
        date=pa.array(HOURS.astype("datetime64[us]")),
        a=values[:, 0],
        b=pa.array(values[:, 1], from_pandas=True),
        n=pa.array(range(48), pa.int16()),
        flag=[True] * 48,
        name=["x"] * 48,
    )
    for spec in (path, f"parquet:{path}?time=date"):
        found = open_table(spec)
        assert found.columns == ("a", "b", "n") and found.time_name == "date" and found.step == "1 hour"
        np.testing.assert_array_equal(found.values[:, :2], values)
        np.testing.assert_array_equal(found.times, HOURS)
        assert not found.mask[3, 1] and found.mask.sum() == 143 and found.numbers.tolist() == list(range(1, 49))
    assert "column 'flag' is not used: it is of bool" in found.notes
    grouped = open_table(path, group="flag", label=["name"])
    assert set(grouped.groups) == {"1"} and set(grouped.labels["name"]) == {"x"}


def test_a_parquet_file_may_take_less_than_a_byte_a_row(tmp_path):
    """Constant rows are compressed to nothing, unlike those of images."""
    path = parquet(tmp_path / "a.parquet", a=np.repeat([1.0, 2.0], 50_000))
    assert path.stat().st_size < 10_000 and len(open_table(path)) == 100_000
