"""Tables of series: times, values, what is missing, and the text of every cell as it was read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxdiff.boundary import MOST_TEXT, read_bytes, reading
from jaxdiff.data.csv_table import CsvTable
from jaxdiff.data.series import numbers
from jaxdiff.data.series.options import KINDS, TableOptions, split_options, table_options
from jaxdiff.data.series.parquet import ParquetTable
from jaxdiff.data.series.reading import (
    CsvGrid,
    Grid,
    decimal_separator,
    read_names,
    read_times,
    read_values,
    require_columns,
)  # fmt: skip
from jaxdiff.data.series.steps import Steps, steps, time_text
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class SeriesTable:
    """A table of one series or several, T rows with values in F columns.

    Attributes:
        what: the path, as in error messages.
        columns: the names of the F columns of values.
        values: float64 (T, F); NaN where missing.
        mask: bool (T, F), True where a value is observed, False where it is missing.
        numbers: int (T,), the row numbers in the file as a text editor counts, with the header as 1; of parquet from 1.
        time_name: the column of times; None without one.
        times: datetime64[ns] in UTC if they have an offset, or float64 (T,); None without times.
        group_name: the column that tells series apart; None of one series.
        groups: (T,) the name of each row's series; empty of one series.
        labels: the text of each row's classes, by the name of the column.
        follows: bool (T,), whether a row comes one usual step after the row before it in its series.
        step: the usual step in words; empty if it is unknown.
        notes: what a person should know of how it was read, a line each.
        options: how it was read.
        decimal: the decimal separator of the file, a point or a comma.
        original: the file's content as it was read.
    """

    what: str
    columns: tuple[str, ...]
    values: Float[np.ndarray, "t f"]
    mask: Bool[np.ndarray, "t f"]
    numbers: Int[np.ndarray, " t"]
    time_name: str | None
    times: Shaped[np.ndarray, " t"] | None
    group_name: str | None
    groups: Shaped[np.ndarray, " t"]
    labels: Mapping[str, Shaped[np.ndarray, " t"]]
    follows: Bool[np.ndarray, " t"]
    step: str
    notes: tuple[str, ...]
    options: TableOptions
    decimal: str
    original: CsvTable | ParquetTable = field(repr=False)

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def order(self) -> Int[np.ndarray, " t"]:
        """The rows, series by series in the order of their first rows, and within a series in that of the file."""
        return _order(self.groups)

    def segments(self) -> Int[np.ndarray, "s 2"]:
        """Start and end in `order` of each stretch of rows that follow one another."""
        starts = np.flatnonzero(~self.follows[self.order])
        return np.stack([starts, np.append(starts[1:], len(self))], axis=1)

    def texts(self, name: str) -> Sequence[str]:
        """The texts of the cells of any column of the file, without the spaces around them. Raises `InputError` for an unknown
        column."""
        if isinstance(self.original, CsvTable):
            return self.original.column(name)
        require_columns(self.original, [name])
        if self.original.kind(name) == "times":
            times, null = self.original.times(name)
            days = bool((times == times.astype("datetime64[D]")).all())
            return ["" if missing else time_text(time, clock=not days) for time, missing in zip(times, null, strict=True)]
        return self.original.texts(name)

    def place(self, row: int, column: str) -> str:
        """Row and column of a value for error messages, such as `row 5 of load.csv, column 'OT'`."""
        return f"row {self.numbers[row]} of {self.what}, column {column!r}"


def open_table(
    spec: str | PathLike[str],
    *,
    time: str | None = None,
    time_format: str | None = None,
    columns: Sequence[str] | None = None,
    group: str | None = None,
    label: Sequence[str] | None = None,
    gaps: str | None = None,
    decimal: str | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> SeriesTable:
    """Reads a table of series. What was understood is in its `notes`.

    Arguments:
        spec: a path with a suffix of `jaxdiff.data.series.KINDS`, or `csv:PATH` or `parquet:PATH`, followed by options as in
            `load.csv?time=date&columns=OT,HUFL` or not.
        time, time_format, columns, group, label, gaps, decimal, window, stride: take precedence over those of the spec; see
            `jaxdiff.data.series.TableOptions`.

    Raises:
        InputError: the file does not exist or is no table; a column is unknown; a cell of a column of numbers is no number or
            is infinite; the times cannot be read or do not increase. The message names row and column.
    """
    kind, path, given = _split(spec)
    options = table_options(given, str(spec)).changed(
        time=time, time_format=time_format, group=group, gaps=gaps, decimal=decimal, window=window, stride=stride,
        columns=None if columns is None else tuple(columns), label=None if label is None else tuple(label),
    )  # fmt: skip
    with reading(path):
        content = _content(kind, path)
        return _table(content, content if isinstance(content, ParquetTable) else CsvGrid(content), options)


def header(spec: str | PathLike[str]) -> tuple[str, ...]:
    """The names of all columns of a table; for `spec` and errors see `open_table`."""
    kind, path, _ = _split(spec)
    with reading(path):
        return tuple(_content(kind, path).header)


def _split(spec: str | PathLike[str]) -> tuple[str, Path, dict[str, str]]:
    """The kind of a table, its path, and the text of its options."""
    kind, path, given = split_options(str(spec))
    if kind not in KINDS:
        suffixes = ", ".join(suffix for each in KINDS.values() for suffix in each)
        raise InputError(f"{str(spec)!r} is no table; expected a path that ends in {suffixes}, or csv:PATH or parquet:PATH")
    return kind, Path(path).expanduser(), given


def _content(kind: str, path: Path) -> CsvTable | ParquetTable:
    if kind == "parquet":
        return ParquetTable.read(path)
    csv = CsvTable.parse(read_bytes(path, MOST_TEXT), str(path), empty_rows=True)
    if all(map(numbers.is_number, csv.header)):
        raise InputError(f"row 1 of {path} has numbers, {', '.join(csv.header)}; expected the names of the columns")
    return csv


def _table(original: CsvTable | ParquetTable, grid: Grid, options: TableOptions) -> SeriesTable:
    rows, what, notes = grid.rows, grid.what, []
    decimal = decimal_separator(grid, options)
    if decimal == numbers.COMMA:
        notes.append("numbers have decimal commas")
    time_name, times = read_times(grid, options, decimal)
    columns, values, left_out = read_values(grid, options, time_name, decimal)
    groups = read_names(grid, "group", [options.group] if options.group else [])
    labels = read_names(grid, "label", options.label)
    by_row = np.array(groups[options.group] if options.group else [""] * len(rows))
    if options.group and not all(by_row.tolist()):
        raise InputError(
            f"row {rows[int(np.argmax(by_row == ''))]} of {what} has no value in column {options.group!r}, the `group`"
        )
    order = _order(by_row)
    first = np.append(True, by_row[order][1:] != by_row[order][:-1])
    follows = np.ones(len(rows), bool)
    follows[order[first]] = False
    step = ""
    if times is None:
        notes.append("there is no column of times: rows follow one another at one step")
    else:
        found = steps(times, order, first, rows, str(time_name), what)
        follows, step = follows if options.gaps == "ignore" else found.follows, found.usual
        notes.append(_time_note(str(time_name), times, found, rows, options))
    if options.group:
        notes.append(f"{len(np.unique(by_row))} series, by column {options.group!r}")
    missing = np.isnan(values)
    if missing.any():
        counts = ", ".join(f"{name!r} {count:,}" for name, count in zip(columns, missing.sum(0), strict=True) if count)
        notes.append(f"{missing.sum():,} of {missing.size:,} values are missing: {counts}")
    return SeriesTable(
        what, columns, values, ~missing, np.array(rows), time_name, times, options.group, by_row,
        {name: np.array(texts) for name, texts in labels.items()}, follows, step, (*notes, *left_out), options, decimal,
        original,
    )  # fmt: skip


def _order(groups: Shaped[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
    """See `SeriesTable.order`."""
    _, first, series = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(first[series], kind="stable")


def _time_note(
    name: str, times: Shaped[np.ndarray, " t"], found: Steps, rows: Sequence[int], options: TableOptions
) -> str:  # fmt: skip
    note = f"times are in column {name!r}, from {time_text(times.min())} to {time_text(times.max())}"
    if not found.usual:
        return note
    note = f"{note}, at a step of {found.usual}"
    if not len(found.irregular):
        return f"{note} without gaps"
    later, earlier = found.irregular[0], found.before[0]
    shorter = len(found.irregular) - found.gaps
    counts = [_counted(found.gaps, "gap")] * (found.gaps > 0) + [_counted(shorter, "shorter step")] * (shorter > 0)
    crossed = "which windows cross" if options.gaps == "ignore" else "which no window crosses"
    return (
        f"{note} with {' and '.join(counts)}, {crossed}: the first from row {rows[earlier]} ({time_text(times[earlier])}) to "
        f"row {rows[later]} ({time_text(times[later])})"
    )


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
