"""Windows in which the missing values of a table are filled."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxdiff.data.series.table import SeriesTable
from jaxdiff.data.series.windows import require_length, stretches
from jaxdiff.interpolation import linear


@dataclass(frozen=True)
class GapWindows:
    """Windows that fill every missing value of a table once.

    Rows are positions in the table's `order`, and -1 where a window is longer than its stretch of rows.

    Attributes:
        rows: the rows of each window, (N, L).
        first, last: the rows that each window fills, both included, (N,).
        lines: the line between the nearest observed values of the stretch of rows, constant beyond the first and the last one,
            and NaN where the stretch has none; (T, F), in the table's `order`.
        short: how many windows are longer than their stretch.
    """

    rows: Int[np.ndarray, "n length"]
    first: Int[np.ndarray, " n"]
    last: Int[np.ndarray, " n"]
    lines: Float[np.ndarray, "t f"]
    short: int


def gap_windows(table: SeriesTable, length: int, fill: int, usable: Bool[np.ndarray, " t"] | None = None) -> GapWindows:
    """The windows of a table in which its missing values are filled.

    A window never crosses a gap in time, a change of class or the border of a series. It fills the missing values of at most
    `fill` rows that lie in its middle, or as near to it as the ends of the stretch of rows allow.

    Arguments:
        table: with a missing value at least.
        length: L, the rows of a window.
        fill: rows that a window fills, 1 to L. With fewer each is nearer to the middle, and there are more windows.
        usable: rows that a window may have, in the file's order; None takes all.

    Raises:
        InputError: no stretch of rows is as long as a window.
    """
    found = stretches(table, np.ones(len(table), bool) if usable is None else usable)
    require_length(table, found, length, "the model must have shorter windows")
    missing = ~table.mask[table.order]
    windows = []
    for start, stop in found.tolist():
        lacking = start + np.flatnonzero(missing[start:stop].any(axis=1))
        at = 0
        while at < len(lacking):
            first = int(lacking[at])
            at = int(np.searchsorted(lacking, first + fill))
            last = int(lacking[at - 1])
            begin = max(start, min((first + last + 1) // 2 - length // 2, stop - length))
            windows.append((begin, stop, first, last))
    begin, stop, first, last = np.array(windows, np.int64).reshape(-1, 4).T
    rows = begin[:, None] + np.arange(length)
    beyond = rows >= stop[:, None]
    return GapWindows(np.where(beyond, -1, rows), first, last, lines(table, found), int(beyond.any(axis=1).sum()))


def lines(table: SeriesTable, found: Int[np.ndarray, "s 2"]) -> Float[np.ndarray, "t f"]:
    """See `GapWindows.lines`; `found` are the stretches of rows."""
    values = table.values[table.order]
    made = np.full_like(values, np.nan)
    for start, stop in found.tolist():
        part = values[start:stop]
        known = ~np.isnan(part)
        made[start:stop] = np.where(known.any(axis=0), linear(part, known), np.nan)
    return made
