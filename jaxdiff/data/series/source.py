"""Windows of series as a source."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Int32, Shaped

from jaxdiff.data.attributes import Attribute, find
from jaxdiff.data.series.table import SeriesTable
from jaxdiff.data.source import Source
from jaxdiff.errors import InputError
from jaxdiff.spaces import Series


class SeriesSource(Source):
    """Windows of rows that follow one another, by index. `image(i)` is window i, float64 (L, F), NaN where a value is missing.

    Arguments:
        values: float64 (T, F), of all rows, series by series.
        starts: the first row of each of N windows; its other rows follow.
        length: L, the rows of a window.
        columns: the names of the F columns.
        labels: int32 (N, A).
        attributes: the A attributes.
        name: the name of the source in error messages and reports.
        table: the table of the values, with its rows in `order`; None of generated series.
        whole: the number of windows over all splits.

    Attributes:
        columns, table: see above.
        space: the space of the model that drew the windows; None of data.
    """

    noun = "windows"
    space: Series | None = None

    def __init__(
        self,
        values: Float[np.ndarray, "t f"],
        starts: Int[np.ndarray, " n"],
        length: int,
        columns: Sequence[str],
        labels: Int32[np.ndarray, "n a"],
        attributes: Sequence[Attribute],
        *,
        name: str,
        table: SeriesTable | None = None,
        whole: int | None = None,
    ):
        self.columns, self.labels, self.attributes = tuple(columns), labels, tuple(attributes)
        self.name, self.table = name, table
        self._values, self._starts, self._length = values, starts, length
        self._whole = len(starts) if whole is None else whole

    @property
    def shape(self) -> tuple[int, int]:
        """(L, F)."""
        return (self._length, len(self.columns))

    @property
    def time_name(self) -> str | None:
        """The column of times; None without one."""
        return self.table.time_name if self.table else None

    @property
    def times(self) -> Shaped[np.ndarray, "n length"] | None:
        """The times of the rows of each window, datetime64[ns] or float64; None without times."""
        return None if self.table is None or self.table.times is None else self._of_table(self.table.times)

    @property
    def groups(self) -> Shaped[np.ndarray, " n"]:
        """The name of the series of each window; the empty text where there is one series."""
        return np.full(len(self), "") if self.table is None else self._of_table(self.table.groups)[:, 0]

    @property
    def mask(self) -> Bool[np.ndarray, "n length f"]:
        """Which values of each window are observed."""
        return ~np.isnan(self._values[self._rows()])

    @property
    def missing(self) -> Float[np.ndarray, " n"]:
        """The share of missing values in each window."""
        counts = np.cumsum(np.append(0, np.isnan(self._values).sum(axis=1)))
        return (counts[self._starts + self._length] - counts[self._starts]) / np.prod(self.shape)

    def rows(self, i: int) -> Int[np.ndarray, " length"]:
        """The row numbers of window i in the file, as a text editor counts; of generated series those of all rows, from 0."""
        rows = self._starts[i] + np.arange(self._length)
        return rows if self.table is None else self.table.numbers[self.table.order[rows]]

    def positions(self, i: int) -> Int[np.ndarray, " length"]:
        """The positions of the rows of window i in `table.values`."""
        rows = self._starts[i] + np.arange(self._length)
        return rows if self.table is None else self.table.order[rows]

    def image(self, i: int) -> Float[np.ndarray, "length f"]:
        return self._values[self._starts[i] : self._starts[i] + self._length].copy()

    def gather(self, indices: Int[np.ndarray, " n"]) -> list[Float[np.ndarray, "length f"]]:
        return list(self._values[self._rows()[indices]])

    @property
    def whole(self) -> int:
        return self._whole

    def form(self) -> str:
        return f"{self._length} rows of {', '.join(self.columns)}"

    def cached(self, limit: int = 2**30) -> "SeriesSource":
        """This source, which is in memory."""
        return self

    def complete(self) -> "SeriesSource":
        """The windows without missing values; a note says how many were left out.

        Raises:
            InputError: every window has missing values.
        """
        kept = self.missing == 0
        if kept.all():
            return self
        if not kept.any():
            self.require_complete()
        made = self.take(np.flatnonzero(kept))
        made.notes = (*self.notes, f"{int((~kept).sum()):,} windows with missing values are left out")
        return made

    def take(self, indices: Int[np.ndarray, " n"], name: str | None = None) -> "SeriesSource":
        """Some of the windows, under another name or the same."""
        made = SeriesSource(
            self._values, self._starts[indices], self._length, self.columns, self.labels[indices], self.attributes,
            name=name or self.name, table=self.table, whole=self._whole,
        )  # fmt: skip
        made.layout, made.notes, made.space = self.layout, self.notes, self.space
        return made

    def with_attributes(self, names: Sequence[str]) -> "SeriesSource":
        """The windows with these attributes alone, in this order. Raises `InputError` for an unknown one."""
        columns = [find(self.attributes, name) for name in names]
        made = self.take(np.arange(len(self)))
        made.attributes, made.labels = tuple(self.attributes[column] for column in columns), self.labels[:, columns]
        return made

    def require_complete(self) -> None:
        """Raises `InputError` if a value is missing; the first is named."""
        lacking = np.flatnonzero(self.missing)
        if not len(lacking):
            return
        i = int(lacking[0])
        row, column = np.argwhere(np.isnan(self.image(i)))[0]
        raise InputError(
            f"row {self.rows(i)[row]} of {self.name} has no value in column {self.columns[column]!r}; {len(lacking):,} of "
            f"{len(self):,} windows have missing values"
        )

    def _rows(self) -> Int[np.ndarray, "n length"]:
        return self._starts[:, None] + np.arange(self._length)

    def _of_table(self, values: Shaped[np.ndarray, " t"]) -> Shaped[np.ndarray, "n length"]:
        assert self.table is not None
        return values[self.table.order][self._rows()]
