"""A written table has the missing values filled, and all else as it was read, to the bit."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxdiff.data.csv_table import CsvTable
from jaxdiff.data.series import open_table, write_table
from jaxdiff.data.series.writing import cell_spans
from jaxdiff.errors import InputError

LAYOUTS = {
    "plain": "date,a,note,b\n2016-01-01,1.50,x,\n2016-01-02,NaN,y,2e0\n2016-01-03,3,z,-0.1000\n",
    "odd": '"date", a,"note","b"\r\n2016-01-01, 1.50 ,"x, ""y""\nz",""\r\n\r\n2016-01-02, NA ,y,2e0\r\n2016-01-03,3,z,-0.1000',
    "index": ",date,a,note,b\n0,2016-01-01,1.50,x,\n1,2016-01-02,null,y,2e0\n2,2016-01-03,3,,-0.1000\n",
    "semicolons": "sep=;\r\ndate;a;note;b\r\n01.02.2016;1,50;x;\r\n13.02.2016;?;y;2e0\r\n14.02.2016;3;;-0,1000\r\n;;;\r\n",
    "tabs": "date\ta\tnote\tb\r2016-01-01\t1.50\tx\t\r2016-01-02\t\ty\t2e0\r2016-01-03\t3\tz\t-0.1000\r",
}
FILLED = np.array([[-9.0, 1 / 3], [1e-17, -9.0], [-9.0, -9.0]])
"""Where a value is observed, -9: it must not be used."""


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    (tmp_path / "in.csv").write_bytes(LAYOUTS[request.param].encode())
    return tmp_path


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_table_without_filled_values_is_the_file_that_was_read(layout, codec):
    mark = b"\xfe\xff" if codec == "utf-16-be" else b""
    content = mark + (layout / "in.csv").read_bytes().decode().replace("note", "nöte").encode(codec)
    (layout / "in.csv").write_bytes(content)
    table = open_table(layout / "in.csv")
    write_table(layout / "out.csv", table, np.full((3, 2), np.nan))
    assert (layout / "out.csv").read_bytes() == content
    write_table(layout / "out.csv", table, FILLED)
    again = open_table(layout / "out.csv")
    assert again.mask.all() and "nöte" in again.original.header


def test_only_missing_cells_change(layout):
    table = open_table(layout / "in.csv")
    assert table.mask.tolist() == [[True, False], [False, True], [True, True]]
    write_table(layout / "out.csv", table, FILLED)
    before, after = ((layout / name).read_bytes().decode() for name in ("in.csv", "out.csv"))
    third, small = ("0,3333333333333333", "1e-17") if "sep=" in before else ("0.3333333333333333", "1e-17")
    assert third in after and small in after and "-9" not in after
    again = open_table(layout / "out.csv")
    np.testing.assert_array_equal(again.values, np.where(table.mask, table.values, FILLED))
    for name in ("date", "note"):
        assert again.texts(name) == table.texts(name)
    # all that is not in the filled cells is where it was
    missing = next(text for text in (" NA ", "NaN", "null", "?", "") if text in before)
    empty = '""' if '"",' in before.replace('""y""', "") or '""\r' in before else ""
    expected = after.replace(third, empty, 1).replace(small, missing, 1)
    assert expected == before


@pytest.mark.parametrize("digits", [1, 3, 17])
def test_filled_values_have_as_many_digits_as_asked(layout, digits):
    table = open_table(layout / "in.csv")
    for name in ("out.csv", "out.parquet"):
        write_table(layout / name, table, FILLED, digits=digits)
        values = open_table(layout / name).values
        assert values[0, 1] == float(f"{1 / 3:.{digits}g}") and values[0, 0] == 1.5
    text = (layout / "out.csv").read_bytes().decode().replace(",", ".")
    assert ("0.333." in text or "0.333;" in text or "0.333\r" in text or "0.333\n" in text or "0.333\t" in text) == (
        digits == 3
    )


def test_what_stays_missing_stays_as_it_was(layout):
    table = open_table(layout / "in.csv")
    partly = np.where([[1, 1], [0, 1], [1, 1]], FILLED, np.nan)
    write_table(layout / "out.csv", table, partly)
    again = open_table(layout / "out.csv")
    assert again.texts("a") == table.texts("a") and again.values[0, 1] == 1 / 3


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_every_kind_of_file_has_the_values_and_times(layout, suffix):
    table = open_table(layout / "in.csv")
    write_table(layout / f"out{suffix}", table, FILLED)
    expected = np.where(table.mask, table.values, FILLED)
    if suffix == ".npz":
        with np.load(layout / "out.npz") as arrays:
            np.testing.assert_array_equal(arrays["values"], expected)
            np.testing.assert_array_equal(arrays["mask"], table.mask)
            np.testing.assert_array_equal(arrays["times"], table.times)
            assert arrays["columns"].tolist() == ["a", "b"] and arrays["rows"].tolist() == table.numbers.tolist()
        return
    again = open_table(layout / f"out{suffix}")
    np.testing.assert_array_equal(again.values, expected)
    np.testing.assert_array_equal(again.times, table.times)
    assert list(again.texts("note")) == list(table.texts("note")) and list(again.original.header) == list(table.original.header)


def test_parquet_keeps_types_and_the_bits_of_observed_values(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    rng = np.random.default_rng(0)
    wide, narrow = rng.normal(size=5), rng.normal(size=5).astype(np.float32)
    wide[1], narrow[2] = np.nan, np.nan
    columns = {
        "t": pa.array(np.arange(5) * 60, pa.timestamp("s", "Europe/Berlin")), "wide": wide, "narrow": pa.array(narrow),
        "count": pa.array([1, None, 3, 4, 2**40]), "full": pa.array(range(5), pa.int8()), "name": pa.array(list("abcde")),
    }  # fmt: skip
    pyarrow.parquet.write_table(pa.table(columns).replace_schema_metadata({"owner": "me"}), tmp_path / "in.parquet")
    table = open_table(tmp_path / "in.parquet")
    assert table.columns == ("wide", "narrow", "count", "full") and table.mask.sum() == 17
    filled = np.full((5, 4), 0.1)
    write_table(tmp_path / "out.parquet", table, filled)
    written = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert [str(field.type) for field in written.schema] == [
        "timestamp[ms, tz=Europe/Berlin]",
        "double",
        "float",
        "double",
        "int8",
        "string",
    ]
    assert written.schema.metadata[b"owner"] == b"me"
    np.testing.assert_array_equal(written["wide"].to_numpy(), np.where(np.isnan(wide), 0.1, wide))
    np.testing.assert_array_equal(written["narrow"].to_numpy(), np.where(np.isnan(narrow), np.float32(0.1), narrow))
    assert written["count"].to_pylist() == [1, 0.1, 3, 4, 2**40] and written["name"].to_pylist() == list("abcde")
    write_table(tmp_path / "out.csv", table, filled)
    lines = (tmp_path / "out.csv").read_text().split("\n")
    assert (
        lines[0] == "t,wide,narrow,count,full,name"
        and lines[2].startswith("1970-01-01 00:01:00,0.1,")
        and lines[5].endswith(",1099511627776,4,e")
    )
    np.testing.assert_array_equal(open_table(tmp_path / "out.csv").values, np.where(table.mask, table.values, 0.1))


@pytest.mark.parametrize(
    ("name", "filled", "options", "message"),
    [
        ("out.xlsx", FILLED, {}, "`path` must end in .csv, .parquet, .npz, got '.*out.xlsx'"),
        ("out.csv", FILLED[:2], {}, r"`filled` must be of shape \(3, 2\) as the values of .*in.csv, got \(2, 2\)"),
        ("out.csv", FILLED * np.inf, {}, "`filled` is infinite at row 2 of .*in.csv, column 'b'"),
        ("out.csv", FILLED, {"digits": 18}, "`digits` must be 1 to 17 significant digits, got 18"),
    ],
)
def test_what_cannot_be_written_is_refused(name, filled, options, message, tmp_path):
    (tmp_path / "in.csv").write_text(LAYOUTS["plain"])
    with pytest.raises(InputError, match=message):
        write_table(tmp_path / name, open_table(tmp_path / "in.csv"), filled, **options)
    assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]


_CELLS = st.text(st.sampled_from('ab ,;"\n\r\t'), max_size=5)


@given(
    st.lists(st.lists(_CELLS, min_size=3, max_size=3), min_size=1, max_size=4),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_cells_are_where_they_are_read(rows, separator, end):
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["x", "y", "z"], *rows])
    if not any(cell.strip() for row in rows for cell in row):
        return
    table = CsvTable.parse(written.getvalue().encode(), "a.csv", empty_rows=True)
    for i, row in enumerate(table.rows):
        texts = [table.layout.text[start:stop] for start, stop in cell_spans(table.layout, i)]
        read = [next(csv.reader(io.StringIO(f"{text}\n", newline=""), delimiter=separator, strict=True), []) for text in texts]
        assert ["".join(cell).strip() for cell in read] == list(row)
