"""The columns of a table by what they are for: times, values, names of series and classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Shaped

from jaxdiff.bounds import shortened
from jaxdiff.data.csv_table import CsvTable
from jaxdiff.data.series import numbers, times
from jaxdiff.data.series.options import TableOptions
from jaxdiff.errors import InputError


@runtime_checkable
class Grid(Protocol):
    """A table as it was read, by columns.

    Attributes:
        what: the table in error messages.
        header: the names of the columns.
        rows: the row numbers.
    """

    @property
    def what(self) -> str: ...

    @property
    def header(self) -> Sequence[str]: ...

    @property
    def rows(self) -> Sequence[int]: ...

    def kind(self, name: str) -> str:
        """What a column is of: "numbers", "times", "texts", or the name of another type."""
        ...

    def is_label(self, name: str) -> bool:
        """Whether `texts` takes a column."""
        ...

    def texts(self, name: str) -> list[str]:
        """The values of a column as text; a missing one is the empty text."""
        ...

    def numbers(self, name: str) -> Float[np.ndarray, " t"]:
        """The values of a column of numbers; NaN where missing."""
        ...

    def times(self, name: str) -> tuple[Shaped[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
        """The values of a column of times, datetime64[ns], and which of them are missing."""
        ...


@dataclass(frozen=True)
class CsvGrid:
    """A CSV file as a `Grid`: all of its columns are of texts."""

    table: CsvTable

    @property
    def what(self) -> str:
        return self.table.what

    @property
    def header(self) -> Sequence[str]:
        return self.table.header

    @property
    def rows(self) -> Sequence[int]:
        return self.table.numbers

    def kind(self, name: str) -> str:
        return "texts"

    def is_label(self, name: str) -> bool:
        return True

    def texts(self, name: str) -> list[str]:
        return self.table.column(name)

    def numbers(self, name: str) -> Float[np.ndarray, " t"]:
        raise TypeError(f"column {name!r} is of texts")

    def times(self, name: str) -> tuple[Shaped[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
        raise TypeError(f"column {name!r} is of texts")


def require_columns(grid: Grid, names: Sequence[str], option: str = "") -> None:
    """Raises `InputError` unless a table has these columns, which an option names."""
    for name in names:
        if name not in grid.header:
            named = f", which `{option}` names" if option else ""
            raise InputError(f"{grid.what} has no column {name!r}{named}; its columns are {', '.join(grid.header)}")


def decimal_separator(grid: Grid, options: TableOptions) -> str:
    """The decimal separator of the texts of a table; see `jaxdiff.data.series.numbers.decimal_separator`."""
    if options.decimal is not None:
        return options.decimal
    require_columns(grid, options.columns or (), "columns")
    names = options.columns or [name for name in grid.header if name not in (options.group, *options.label)]
    texts = {name: grid.texts(name) for name in names if grid.kind(name) == "texts"}
    return numbers.decimal_separator(texts, grid.rows, grid.what)


def read_times(grid: Grid, options: TableOptions, decimal: str) -> tuple[str | None, Shaped[np.ndarray, " t"] | None]:
    """The name of the column of times and the times, datetime64[ns] or float64; None and None without one.

    Raises:
        InputError: the column is unknown, several columns are of dates and none is named, or a time is missing or cannot be
            read.
    """
    name = options.time
    if name is None:
        taken = (options.group, *options.label, *(options.columns or ()))
        found = [each for each in grid.header if each not in taken and _is_of_dates(grid, each)]
        if len(found) > 1:
            raise InputError(
                f"{grid.what} has several columns of dates, {', '.join(found)}; name the one of times, as in time={found[0]}"
            )
        name = found[0] if found else ""
    if not name:
        if options.time_format is not None:
            raise InputError("`time_format` needs the name of the column of times, `time`")
        return None, None
    require_columns(grid, [name], "time")
    kind = grid.kind(name)
    if kind == "times":
        read, missing = grid.times(name)
        return name, _complete(read, missing, grid, name)
    if kind not in ("texts", "numbers"):
        raise InputError(f"column {name!r} of {grid.what} is of {kind}; `time` takes one of times, numbers or texts")
    texts = grid.texts(name)
    if options.time_format is None and times.compact(texts):
        raise InputError(
            f"row {grid.rows[0]} of {grid.what} has {texts[0]!r} in column {name!r}, which is a number and a date; give "
            "time_format=%Y%m%d if it is a date"
        )
    first = next((text for text in texts if text), "")
    if options.time_format is None and (kind == "numbers" or numbers.is_number(first.replace(",", "."))):
        return name, _numbers(grid, name, decimal, "; each row needs a time", every=True)
    return name, times.parsed(texts, grid.rows, name, grid.what, options.time_format)


def read_values(
    grid: Grid, options: TableOptions, time_name: str | None, decimal: str
) -> tuple[tuple[str, ...], Float[np.ndarray, "t f"], list[str]]:
    """The names of the columns of values, the values, NaN where missing, and notes on the columns that are left out.

    Raises:
        InputError: a column is unknown, none is of numbers, or a cell is no finite number.
    """
    notes, columns = [], {}
    if options.columns is not None:
        require_columns(grid, options.columns, "columns")
        if time_name in options.columns:
            raise InputError(f"column {time_name!r} of {grid.what} has the times; `columns` takes columns of numbers")
        columns = {name: _numbers(grid, name, decimal, "; a missing value is empty or NaN") for name in options.columns}
        return tuple(columns), np.stack(list(columns.values()), axis=1), notes
    for name in grid.header:
        if name in (time_name, options.group, *options.label):
            continue
        read = numbers.parsed(grid.texts(name), decimal) if grid.kind(name) == "texts" else None
        if (reason := _no_numbers(grid, name, read)) is not None:
            notes.append(f"column {name!r} is not used: {reason}")
            continue
        hint = "; a missing value is empty or NaN, and `columns` names the columns to use"
        columns[name] = _numbers(grid, name, decimal, hint, read)
    if not columns:
        raise InputError(f"{grid.what} has no column of numbers; its columns are {', '.join(grid.header)}")
    return tuple(columns), np.stack(list(columns.values()), axis=1), notes


def read_names(grid: Grid, option: str, names: Sequence[str]) -> dict[str, list[str]]:
    """The texts of columns of names, by the name of the column.

    Raises:
        InputError: a column is unknown, or is of values that are no names.
    """
    require_columns(grid, names, option)
    for name in names:
        if not grid.is_label(name):
            raise InputError(f"column {name!r} of {grid.what} is of {grid.kind(name)}; `{option}` takes texts or numbers")
    return {name: grid.texts(name) for name in names}


def _is_of_dates(grid: Grid, name: str) -> bool:
    kind = grid.kind(name)
    return kind == "times" or (kind == "texts" and times.are_dates(grid.texts(name)))


def _no_numbers(grid: Grid, name: str, read: numbers.Column | None) -> str | None:
    """Why a column is not one of numbers; None if a cell is one. `read` are the numbers of a column of texts."""
    kind = grid.kind(name)
    if kind == "numbers":
        return "it has no values" if np.isnan(grid.numbers(name)).all() else None
    if read is None:
        return f"it is of {kind}"
    if read.count or read.infinite is not None:
        return None
    return "it has no values" if read.other is None else "it is of texts"


def _numbers(
    grid: Grid, name: str, decimal: str, hint: str, read: numbers.Column | None = None, *, every: bool = False
) -> Float[np.ndarray, " t"]:
    """The finite numbers of a column; NaN where missing, unless `every` row needs one. `read` are those of a column of texts,
    where they have been read."""

    def fault(i: int, found: str, why: str) -> InputError:
        return InputError(f"row {grid.rows[i]} of {grid.what} has {found} in column {name!r}{why}")

    kind = grid.kind(name)
    if kind == "texts":
        texts = grid.texts(name)
        read = read or numbers.parsed(texts, decimal)
        if read.other is not None and (read.infinite is None or read.other < read.infinite):
            raise fault(read.other, shortened(texts[read.other]), f", which is no number{hint}")
        if read.infinite is not None:
            raise fault(read.infinite, shortened(texts[read.infinite]), ", which is not finite")
        values = read.values
    elif kind == "numbers":
        values = grid.numbers(name)
        if (infinite := np.isinf(values)).any():
            i = int(np.argmax(infinite))
            raise fault(i, str(values[i]), ", which is not finite")
    else:
        raise InputError(f"column {name!r} of {grid.what} is of {kind}; expected numbers")
    if every and (missing := np.isnan(values)).any():
        raise fault(int(np.argmax(missing)), "no value", hint)
    return values


def _complete(
    read: Shaped[np.ndarray, " t"], missing: Bool[np.ndarray, " t"], grid: Grid, name: str
) -> Shaped[np.ndarray, " t"]:
    if missing.any():
        raise InputError(f"row {grid.rows[int(np.argmax(missing))]} of {grid.what} has no time in column {name!r}")
    return read
