"""The steps of time between the rows of a table: the usual one, and where it is another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped

from jaxdiff.errors import InputError

TOLERANCE = 0.05
"""The share by which a step may differ from the usual one: clocks are read late, and days of local time have 23 to 25 hours."""

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


@dataclass(frozen=True)
class Steps:
    """The steps of a table.

    Attributes:
        follows: whether a row comes one usual step after the row before it in its series; False for the first of a series.
        usual: the usual step in words; empty if no series has two rows.
        gaps: how many irregular steps are longer than the usual one.
        irregular: the rows that come another step after the row before them, in the order of the file.
        before: the row before each of these.
    """

    follows: Bool[np.ndarray, " t"]
    usual: str
    gaps: int
    irregular: Int[np.ndarray, " k"]
    before: Int[np.ndarray, " k"]


def steps(
    times: Shaped[np.ndarray, " t"], order: Int[np.ndarray, " t"], first: Bool[np.ndarray, " t"], rows: Sequence[int],
    column: str, what: str,
) -> Steps:  # fmt: skip
    """The steps between successive rows of each series.

    The usual step is the median of all. Of dates that fall on one day of the month at one time of the day, or all on its last
    day, steps are counted in months, whose lengths differ.

    Arguments:
        times: of each row: datetime64[ns], or finite numbers.
        order: the rows, series by series, in the order of the file.
        first: whether each row, in this order, is the first of its series.
        rows: the row numbers in the file.
        column, what: the names of the column of times and of the table, for errors.

    Raises:
        InputError: times of a series do not increase from row to row.
    """
    later, earlier = order[1:][~first[1:]], order[:-1][~first[1:]]
    for wrong, text in ((times[later] == times[earlier], "repeats"), (times[later] < times[earlier], "is before")):
        if wrong.any():
            i = np.flatnonzero(wrong)[np.argmin(later[wrong])]
            raise InputError(
                f"row {rows[later[i]]} of {what} {text} the time of row {rows[earlier[i]]} in column {column!r}: "
                f"{time_text(times[later[i]])} after {time_text(times[earlier[i]])}; rows must be in the order of time, and "
                "`group` names the column that tells several series apart"
            )
    follows = np.zeros(len(times), bool)
    if not len(later):
        return Steps(follows, "", 0, later, earlier)
    differences, usual, months = _differences(times, later, earlier)
    regular = np.abs(differences / usual - 1) <= TOLERANCE if months is None else differences == usual
    follows[later] = regular
    irregular = np.argsort(later[~regular])
    gaps = int(np.count_nonzero(~regular & (differences > usual)))
    text = _step_text(usual, months is not None)
    return Steps(follows, text, gaps, later[~regular][irregular], earlier[~regular][irregular])


def continued(
    times: Shaped[np.ndarray, " t"], order: Int[np.ndarray, " t"], first: Bool[np.ndarray, " t"], last: int, count: int
) -> Shaped[np.ndarray, " n"]:
    """The times of the rows that would follow a row at the usual step of a table, see `steps`.

    Arguments:
        times, order, first: as of `steps`; a series has two rows at least.
        last: the row.
        count: how many times.
    """
    later, earlier = order[1:][~first[1:]], order[:-1][~first[1:]]
    _, usual, months = _differences(times, later, earlier)
    ahead = np.arange(1, count + 1)
    if months is None:
        return times[last] + ahead * usual
    begins = (months[last] + ahead * usual).astype("datetime64[M]")
    of_months = times.astype("datetime64[M]")
    within, left = times - of_months, (of_months + 1) - times
    from_start = not np.ptp(within)  # otherwise all are at the ends of months
    return (begins + within[last] if from_start else (begins + 1) - left[last]).astype(times.dtype)


def time_text(time: Shaped[np.ndarray, ""] | np.generic, *, clock: bool = False) -> str:
    """A time in words, without digits of seconds that are 0; at midnight a date without a clock, unless that is asked for."""
    if time.dtype.kind != "M":
        return f"{time:.15g}"
    text = str(time.astype("datetime64[ns]")).replace("T", " ")
    text = text.rstrip("0").rstrip(".") if not text.endswith(".000000000") else text[:-10]
    return text if clock else text.removesuffix(" 00:00:00")


def _differences(
    times: Shaped[np.ndarray, " t"], later: Int[np.ndarray, " n"], earlier: Int[np.ndarray, " n"]
) -> tuple[Shaped[np.ndarray, " n"], Shaped[np.generic, ""], Int[np.ndarray, " t"] | None]:
    """The steps from earlier rows to later ones, their median, and the months of all rows if steps are counted in these."""
    months = _months(times)
    position = times if months is None else months
    differences = position[later] - position[earlier]
    return differences, np.sort(differences)[(len(differences) - 1) // 2], months


def _months(times: Shaped[np.ndarray, " t"]) -> Int[np.ndarray, " t"] | None:
    """The months of dates, counted from 1970, if all are on one day of the month; None otherwise."""
    if times.dtype.kind != "M":
        return None
    months = times.astype("datetime64[M]")
    within = times - months
    ends = (months + 1) - times
    if np.ptp(within) and np.ptp(ends):
        return None
    counted = months.astype(np.int64)
    return counted if np.ptp(counted) else None


def _step_text(step: np.generic, months: bool) -> str:
    if months:
        count = int(step)
        return _counted(count // 12, "year") if count % 12 == 0 else _counted(count, "month")
    if not isinstance(step, np.timedelta64):
        return f"{step:.6g}"
    seconds = int(step.astype(np.int64)) / 1e9
    name, size = next(((name, size) for name, size in _UNITS if seconds >= size and seconds % size == 0), ("second", 1))
    return _counted(seconds / size, name)


def _counted(count: int | float, unit: str) -> str:
    return f"{count:g} {unit}{'' if count == 1 else 's'}"
