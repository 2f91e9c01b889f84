"""What is wrong in a table is refused with its row, as a text editor counts, and its column; nothing is misread."""

import pytest

from jaxdiff.data.series import open_table
from jaxdiff.errors import InputError
from tests.data.series.tables import hourly

REFUSED = {
    "text among numbers": (
        "a,b\n1,2\n3,x7\n",
        "row 3 of .* has 'x7' in column 'b', which is no number; a missing value is empty or NaN",
    ),
    "text after lines in quotes": ('a,b,note\n1,2,"two\nlines"\n\n3,x,y\n', "row 5 of .* has 'x' in column 'b'"),
    "thousands in quotes": (
        'a,b\n1,"1,234"\n',
        "row 2 of .* has '1,234' in column 'b', which is 1.234 with a decimal comma and 1234",
    ),
    "thousands, twice": ('a,b\n1,"1,234,567"\n2,5\n', "row 2 of .* has '1,234,567' in column 'b', which is no number"),
    "thousands, German": (
        "a;b\n1;1.234.567\n2;5\n",
        "row 2 of .* has '1.234.567' in column 'b', which is no number",
    ),
    "comma and point": (
        "a;b\n1,5;2\n1;2.5\n",
        "row 2 of .* has '1,5' in column 'a', and row 3 has '2.5' in column 'b': .* one decimal",
    ),
    "ambiguous commas": ("a;b\n1,500;2\n", "row 2 of .* has '1,500' in column 'a', .* give `decimal=,`"),
    "underscores": ("a,b\n1,2\n1_0,2\n", "row 3 of .* has '1_0' in column 'a'"),
    "other digits": ("a,b\n1,2\n٣,2\n", "row 3 of .* in column 'a', which is no number"),
    "hexadecimal": ("a,b\n1,2\n0x10,2\n", "row 3 of .* has '0x10' in column 'a'"),
    "units": ("a,b\n1,2\n5 %,2\n", "row 3 of .* has '5 %' in column 'a'"),
    "infinite": ("a,b\n1,2\n-inf,2\n", "row 3 of .* has '-inf' in column 'a', which is not finite"),
    "infinite, first": ("a,b\nInfinity,2\nx,2\n", "row 2 of .* has 'Infinity' in column 'a', which is not finite"),
    "too large": ("a,b\n1,2\n1e999,2\n", "row 3 of .* has '1e999' in column 'a', which is not finite"),
    "a column twice": ("a,b,a\n1,2,3\n", "distinct, non-empty column names; row 1 has a, b, a"),
    "no numbers": ("a,b\nx,y\n", "has no column of numbers; its columns are a, b"),
    "only times": ("t\n2016-01-01\n", "has no column of numbers; its columns are t"),
    "empty": ("", "is empty; expected a header and rows"),
    "blank": ("\n\n ,\n", "is empty; expected a header and rows"),
    "header only": ("a,b\n", "has no rows below the header"),
    "no header": ("1,2.5\n3,4\n", "row 1 of .* has numbers, 1, 2.5; expected the names of the columns"),
    "too few fields": ("a,b\n1,2\n3\n", "row 3 of .* has 1 fields; expected 2: a, b"),
    "too many fields": ("a,b\n1,2\n1,5,2,5\n", "row 3 of .* has 4 fields; expected 2: a, b"),
    "decimal commas between commas": ("a\n1,5\n", "row 2 of .* has 2 fields; expected 1: a"),
    "a blank line of one column": ("a\n1\n\n3\n", "row 3 of .* is blank: write NaN if its value is missing"),
    "not UTF-8": (b"a,b\n1,\xb2\n", "is damaged: row 2 is not UTF-8; save it as UTF-8"),
    "two columns of dates": (
        "t,u,a\n2016-01-01,2016-01-01,1\n",
        "has several columns of dates, t, u; name the one of times, as in time=t",
    ),
    "no time": ("t,a\n2016-01-01,1\n,2\n", "row 3 of .* has no time in column 't'; each row needs one"),
    "a day that is not": (
        "t,a\n2016-01-01,1\n2016-02-30,2\n",
        "row 3 of .* has '2016-02-30' in column 't', which is no date of the calendar",
    ),
    "an hour that is not": ("t,a\n2016-01-01 25:00,1\n", "row 2 of .* '2016-01-01 25:00' in column 't', which is no date"),
    "an ambiguous day": (
        "t,a\n01/02/2016,1\n02/02/2016,2\n",
        "row 2 of .* has '01/02/2016' in column 't': no row shows which number is the day; "
        "give time_format=%d/%m/%Y or %m/%d/%Y",
    ),
    "two orders of day and month": (
        "t,a\n13/02/2016,1\n02/14/2016,2\n",
        "row 3 of .* has '02/14/2016' in column 't': the day is the first number in",
    ),
    "some zones": ("t,a\n2016-01-01,1\n2016-01-02T00:00Z,2\n", "row 3 of .* in column 't': some times have an offset from UTC"),
    "a far year": ("t,a\n0001-01-01,1\n", "row 2 of .* has '0001-01-01' in column 't': years from 1678 to 2261 are read"),
    "equal times": (
        "t,a\n2016-01-01,1\n2016-01-02,2\n2016-01-02,3\n",
        "row 4 of .* repeats the time of row 3 in column 't': 2016-01-02 after 2016-01-02; "
        "rows must be in the order of time, and `group` names",
    ),
    "times go back": (
        "t,a\n2016-01-01,1\n2016-01-03,2\n2016-01-02,3\n",
        "row 4 of .* is before the time of row 3 in column 't'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_table_is_refused_with_its_row_and_column(what, tmp_path):
    content, message = REFUSED[what]
    path = tmp_path / "load.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as error:
        open_table(path)
    assert "load.csv" in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("columns=a,c", "load.csv has no column 'c', which `columns` names; its columns are date, a, b"),
        ("time=day", "has no column 'day', which `time` names; its columns are date, a, b"),
        ("group=id", "has no column 'id', which `group` names"),
        ("label=kind", "has no column 'kind', which `label` names"),
        ("columns=a,a", "`columns` has 'a' twice"),
        ("columns=a&group=a", "column 'a' is named by `group` and among `columns`"),
        ("columns=date", "row 2 of .* has '2016-07-01 00:00:00' in column 'date', which is no number"),
        ("time=a&columns=a", "column 'a' is named by `time` and among `columns`"),
        ("time=a", "is before the time of row"),
        (
            "time_format=%Y&time=date",
            "row 2 of .* has '2016-07-01 00:00:00' in column 'date', which is no time of `time_format` '%Y'",
        ),
        ("time=&time_format=%Y", "`time_format` needs the name of the column of times"),
        ("gaps=no", "`gaps` must be split or ignore, got 'no'"),
        ("decimal=x", "`decimal` must be a point or a comma, got 'x'"),
        ("decimal=,", "has no column of numbers"),
        ("window=x", "`window` must be a whole number, got 'x'"),
        (
            "rows=3",
            "unknown option 'rows' of .*; it takes time, time_format, columns, group, label, gaps, decimal, window, stride",
        ),
        ("columns", "'columns' of .* is no option; options are like window=24&stride=1"),
    ],
)
def test_options_that_do_not_match_the_table_are_refused(options, message, tmp_path):
    (tmp_path / "load.csv").write_text(hourly())
    with pytest.raises(InputError, match=message):
        open_table(f"{tmp_path}/load.csv?{options}")


@pytest.mark.parametrize("text", ["20160701", "19991231"])
def test_dates_that_are_numbers_need_a_format(text, tmp_path):
    """Steps of 20160731 to 20160801 would be 70."""
    (tmp_path / "load.csv").write_text(f"t,a\n{text},1\n")
    with pytest.raises(
        InputError, match=f"row 2 of .* has '{text}' in column 't', which is a number and a date; give time_format"
    ):
        open_table(tmp_path / "load.csv", time="t")
    assert open_table(tmp_path / "load.csv", time="t", time_format="%Y%m%d").time_name == "t"


def test_a_series_without_a_name_is_refused(tmp_path):
    (tmp_path / "load.csv").write_text("id,a\nx,1\n,2\n")
    with pytest.raises(InputError, match="row 3 of .* has no value in column 'id', the `group`"):
        open_table(tmp_path / "load.csv", group="id")


def test_an_explicit_decimal_separator_decides(tmp_path):
    (tmp_path / "load.csv").write_text("a;b\n1,500;2\n")
    assert open_table(tmp_path / "load.csv", decimal=",").values.tolist() == [[1.5, 2]]
    with pytest.raises(InputError, match="row 2 of .* has '1,500' in column 'a', which is no number"):
        open_table(tmp_path / "load.csv", decimal=".", columns=["a"])


@pytest.mark.parametrize("path", ["none.csv", "none.parquet"])
def test_a_file_that_is_not_there_is_refused(path, tmp_path):
    with pytest.raises(InputError, match=f"file .*{path} does not exist"):
        open_table(tmp_path / path)
    with pytest.raises(
        InputError, match="is no table; expected a path that ends in .csv, .tsv, .txt, .parquet, .pq, or csv:PATH"
    ):
        open_table(tmp_path / "load.xlsx")


def test_parquet_is_refused_where_it_is_wrong(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    path = tmp_path / "load.parquet"

    def refused(message, **columns):
        pyarrow.parquet.write_table(pa.table(columns), path)
        with pytest.raises(InputError, match=message):
            open_table(path, **options)

    options = {}
    refused("row 2 of .* has inf in column 'a', which is not finite", a=[1.0, float("inf")])
    refused("has no column of numbers; its columns are a", a=["x", "y"])
    refused("row 2 of .* has no time in column 't'", t=pa.array([0, None], pa.timestamp("s")), a=[1.0, 2.0])
    refused("has no rows", a=pa.array([], pa.float64()))
    options = {"columns": ["a"]}
    refused("column 'a' of .* is of bool; expected numbers", a=[True, False])
    pyarrow.parquet.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(InputError, match="distinct, non-empty column names; it has a, a"):
        open_table(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="load.parquet is damaged"):
        open_table(path)
