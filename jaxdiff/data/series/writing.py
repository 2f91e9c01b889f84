"""Writing a table of series with its missing values filled; all else stays as it was read, to the bit."""

import csv
import io
import re
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jaxdiff.data.csv_table import CsvTable, Layout
from jaxdiff.data.series.parquet import ParquetTable
from jaxdiff.data.series.table import SeriesTable
from jaxdiff.errors import InputError
from jaxdiff.writing import unwritable, whole

SUFFIXES = (".csv", ".parquet", ".npz")
"""The suffixes of files that are written."""


def write_table(
    path: str | PathLike[str], table: SeriesTable, filled: Float[np.ndarray, "t f"], *, digits: int | None = None
) -> None:
    """Writes a table whose missing values are filled.

    A CSV file that was read from CSV is the file that was read, byte by byte (encoding, separators, quotes, dates, further
    columns, blank lines), with other text in the cells that were empty. A parquet file that was read from parquet keeps its
    columns and types; columns of whole numbers in which values are filled become float64. Between the two, times are written as
    ISO 8601 and as timestamps, and further columns as texts. An npz file has `values` (T, F), `mask` (True where a value was
    observed), `columns`, `rows`, and `times` and `groups` if there are some.

    Arguments:
        path: the file, which ends in .csv, .parquet or .npz; it is written whole or not at all.
        table: the table, whose observed values are written as they were read.
        filled: values in the units of the table, of which those at missing places are used; what is NaN there stays missing.
        digits: significant digits of filled values; None writes as many as restore the float64 exactly. In parquet and npz,
            too, values are rounded to them.

    Raises:
        InputError: the suffix is another, `filled` has another shape or is infinite where it is used, `digits` is not 1 to 17,
            or the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"`path` must end in {', '.join(SUFFIXES)}, got {str(path)!r}")
    if digits is not None and not 1 <= digits <= 17:
        raise InputError(f"`digits` must be 1 to 17 significant digits, got {digits}")
    if filled.shape != table.values.shape:
        raise InputError(f"`filled` must be of shape {table.values.shape} as the values of {table.what}, got {filled.shape}")
    used = ~table.mask & ~np.isnan(filled)
    if (infinite := used & np.isinf(filled)).any():
        row, column = np.argwhere(infinite)[0].tolist()
        raise InputError(f"`filled` is infinite at {table.place(row, table.columns[column])}")
    values = np.where(used, filled, table.values)
    if digits is not None:
        values[used] = [float(f"{value:.{digits}g}") for value in values[used]]
    with whole(path) as partial:
        try:
            _WRITERS[suffix](partial, table, values, used)
        except OSError as error:
            raise unwritable(Path(path), error) from error


def _csv(path: Path, table: SeriesTable, values: Float[np.ndarray, "t f"], used: Bool[np.ndarray, "t f"]) -> None:
    if isinstance(table.original, CsvTable):
        path.write_bytes(_spliced(table, table.original, values, used))
        return
    columns = {name: table.texts(name) for name in table.original.header}
    for name, column, observed in zip(table.columns, values.T, table.mask.T, strict=True):
        whole_numbers = _is_of_whole_numbers(table.original, name)
        columns[name] = [
            "" if value != value else texts if whole_numbers and seen else _text(value)
            for value, seen, texts in zip(column, observed, columns[name], strict=True)
        ]
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    path.write_bytes(written.getvalue().encode())


def _parquet(path: Path, table: SeriesTable, values: Float[np.ndarray, "t f"], used: Bool[np.ndarray, "t f"]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"{path.with_suffix('')} is a parquet file, which needs pyarrow: pip install pyarrow") from error
    if isinstance(table.original, ParquetTable):
        content = table.original.filled(
            {name: (used[:, i], values[:, i]) for i, name in enumerate(table.columns)}
        )  # fmt: skip
    else:
        content = pa.table({name: _arrow(table, name, values) for name in table.original.header})
    pyarrow.parquet.write_table(content, path)


def _arrow(table: SeriesTable, name: str, values: Float[np.ndarray, "t f"]) -> Any:
    """A column of a CSV file as a `pyarrow.Array`."""
    import pyarrow as pa

    if name in table.columns:
        return pa.array(values[:, table.columns.index(name)], pa.float64(), from_pandas=True)
    if name == table.time_name:
        return pa.array(table.times)
    return pa.array(table.texts(name), pa.string())


def _npz(path: Path, table: SeriesTable, values: Float[np.ndarray, "t f"], used: Bool[np.ndarray, "t f"]) -> None:
    arrays: dict[str, Any] = {"values": values, "mask": table.mask, "columns": np.array(table.columns), "rows": table.numbers}
    if table.times is not None:
        arrays["times"] = table.times
    if table.group_name is not None:
        arrays["groups"] = table.groups
    with open(path, "wb") as opened:
        np.savez_compressed(opened, allow_pickle=False, **arrays)


_WRITERS = {".csv": _csv, ".parquet": _parquet, ".npz": _npz}


def _spliced(table: SeriesTable, original: CsvTable, values: Float[np.ndarray, "t f"], used: Bool[np.ndarray, "t f"]) -> bytes:
    """The bytes of a CSV file with the texts of some cells replaced."""
    layout = original.layout
    positions = [original.header.index(name) + layout.index for name in table.columns]
    decimal_comma = table.decimal == ","
    parts, end = [], 0
    for row in np.flatnonzero(used.any(axis=1)).tolist():
        spans = cell_spans(layout, row)
        for column in sorted(np.flatnonzero(used[row]).tolist(), key=lambda each: positions[each]):
            text = _text(values[row, column])
            text = text.replace(".", ",") if decimal_comma else text
            start, stop = spans[positions[column]]
            parts += [layout.text[end:start], f'"{text}"' if layout.separator in text else text]
            end = stop
    return layout.mark + "".join([*parts, layout.text[end:]]).encode(layout.codec)


def cell_spans(layout: Layout, row: int) -> list[tuple[int, int]]:
    """Start and end in the text of each cell of a row, with its quotes and spaces, also of a column that is left out."""
    separator = re.escape(layout.separator)
    cell = re.compile(rf'"(?:[^"]|"")*"|[^{separator}]*')
    position, stop = layout.spans[row]
    spans = []
    while match := cell.match(layout.text, position, stop):
        spans.append(match.span())
        if match.end() >= stop:
            break
        position = match.end() + 1
    return spans


def _text(value: float) -> str:
    """The shortest decimal number that is read as this float64."""
    return repr(float(value))


def _is_of_whole_numbers(original: ParquetTable, name: str) -> bool:
    import pyarrow.types as types

    return types.is_integer(original.content.schema.field(name).type)
