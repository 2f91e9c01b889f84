"""Readers of series: tables in CSV and parquet."""

from pathlib import Path

import numpy as np

from jaxdiff.data import describe
from jaxdiff.data.series import open_series, open_table, write_table
from tests.data.series.tables import HOURS, csv_text, rows
from tests.fuzzing.property import Target


def _read(path: Path) -> None:
    table = open_table(path)
    assert table.values.shape == table.mask.shape == (len(table), len(table.columns)) and len(set(table.columns)) > 0
    assert np.isfinite(table.values[table.mask]).all() and np.isnan(table.values[~table.mask]).all()
    assert sorted(table.order) == list(range(len(table))) and (np.diff(table.numbers) > 0).all()
    assert table.times is None or (table.times[1:] > table.times[:-1]).all()
    write_table(path.with_name("out.csv"), table, np.zeros_like(table.values))
    path.with_name("out.csv").unlink()
    source = open_series(path, window=2)
    assert source.image(len(source) - 1).shape == source.shape and describe(source)


def _csv(folder: Path) -> Path:
    values = rows(6).tolist()
    values[2][0], values[3][1] = "", "NA"
    times = [str(hour).replace("T", " ") + ":00:00" for hour in HOURS[:6]]
    text = csv_text(["date", "a", "b", "note"], times, *zip(*values, strict=True), ['"x, y"', "", *"wxyz"])
    (folder / "load.csv").write_text(text)
    return folder / "load.csv"


def _parquet(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet

    columns = {
        "t": HOURS[:6].astype("datetime64[ms]"),
        "a": rows(6)[:, 0],
        "n": pa.array([1, None, 3, 4, 5, 6]),
        "s": list("uvwxyz"),
    }
    pyarrow.parquet.write_table(pa.table(columns), folder / "load.parquet")
    return folder / "load.parquet"


SERIES: dict[str, Target] = {"series, csv": Target(_csv, _read, examples=80), "series, parquet": Target(_parquet, _read)}
