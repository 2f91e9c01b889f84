"""Dates and times in the cells of a table.

Read without a format are ISO 8601 (`2016-07-01`, `2016-07-01 00:00:00`, `2016-07-01T00:00Z`, also with slashes in the place of
hyphens) and dates of numbers whose year comes last (`31/12/2016 23:00`, `12/31/2016 11:00 PM`). Of the latter the column must
show which number is the day: one is above 12. Every other form takes a format, as of Python's `strptime`.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from jaxtyping import Shaped

from jaxdiff.bounds import shortened
from jaxdiff.data.series.steps import time_text
from jaxdiff.errors import InputError

_CLOCK = r"(?:[T ]+(?P<clock>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?))?"
_ZONE = r"\s*(?P<zone>Z|[+-]\d{2}:?\d{2}|[+-]\d{2})?"
_YEAR_FIRST = re.compile(rf"(?P<year>\d{{4}})([-/])(?P<month>\d{{1,2}})(?:\2(?P<day>\d{{1,2}}))?{_CLOCK}{_ZONE}", re.ASCII)
_YEAR_LAST = re.compile(
    rf"(?P<first>\d{{1,2}})([-/.])(?P<second>\d{{1,2}})\2(?P<year>\d{{4}}){_CLOCK}(?:\s*(?P<half>[AaPp][Mm]))?", re.ASCII
)
_COMPACT = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII)
YEARS = (1678, 2261)
"""The years of NumPy's times in nanoseconds."""


FORMS = tuple(
    f"{day}{clock}"
    for day in ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y")
    for clock in ("", " %H:%M:%S", "T%H:%M:%S", " %H:%M", "T%H:%M", " %H:%M:%SZ", "T%H:%M:%SZ", "T%H:%MZ")
)
"""Forms of times in which tables are written, as of Python's `strftime`."""


def are_dates(cells: Sequence[str]) -> bool:
    """Whether the cells of a column are dates that are read without a format, also ones with an ambiguous day."""
    present = [cell for cell in cells if cell]
    return bool(present) and all(_YEAR_FIRST.fullmatch(cell) or _YEAR_LAST.fullmatch(cell) for cell in present)


def parsed(
    cells: Sequence[str], rows: Sequence[int], column: str, what: str, time_format: str | None = None
) -> Shaped[np.ndarray, " t"]:
    """The times in the cells of a column, datetime64[ns]; those with an offset from UTC in UTC.

    Arguments:
        cells: texts without spaces around them.
        rows: the row numbers of the cells, for errors.
        column, what: the names of the column and the table, for errors.
        time_format: as of Python's `strptime`; None reads the forms that this module names.

    Raises:
        InputError: a cell is empty or no time, its day is ambiguous, the year is not one of `YEARS`, or some times have an
            offset from UTC and others none.
    """

    def fault(i: int, text: str) -> InputError:
        found = shortened(cells[i]) if cells[i] else "no time"
        return InputError(f"row {rows[i]} of {what} has {found} in column {column!r}{text}")

    for i, cell in enumerate(cells):
        if not cell:
            raise fault(i, "; each row needs one")
    if time_format is not None:
        return _by_format(cells, time_format, fault)
    matches = [_YEAR_FIRST.fullmatch(cell) or _YEAR_LAST.fullmatch(cell) for cell in cells]
    for i, match in enumerate(matches):
        if match is None:
            raise fault(i, ", which is no date that is read without `time_format`, such as time_format=%d.%m.%y")
    found = [match.groupdict() for match in matches if match is not None]
    day_first = _day_first(found, fault)
    texts, offsets = [], []
    for i, parts in enumerate(found):
        if not YEARS[0] <= int(parts["year"]) <= YEARS[1]:
            raise fault(i, f": years from {YEARS[0]} to {YEARS[1]} are read")
        month, day = parts.get("month"), parts.get("day") or "1"
        if month is None:
            month, day = (parts["second"], parts["first"]) if day_first else (parts["first"], parts["second"])
        texts.append(f"{parts['year']}-{int(month):02d}-{int(day):02d}T{_clock(parts, i, fault)}")
        offsets.append(_offset(parts.get("zone")))
    _same_zone(offsets, fault)
    return _instants(texts, fault) - np.array([offset or 0 for offset in offsets], "timedelta64[s]")


def as_written(
    times: Shaped[np.ndarray, " n"], like: Sequence[str], read: Shaped[np.ndarray, " m"], time_format: str | None = None
) -> list[str]:
    """Times as texts in the form of a table's own, where that is a common one that shows them whole; otherwise as ISO 8601.

    Arguments:
        times: the times.
        like: the texts of the table, of which some must show which number is the day.
        read: the times that were read from these texts.
        time_format: the format that they were read with, if one was given.
    """
    if times.dtype.kind != "M":
        return [f"{time:.15g}" for time in times.tolist()]
    for form in FORMS if time_format is None else (time_format, *FORMS):
        same = all(_formatted(read[part], form) == list(like[part]) for part in (slice(-1, None), slice(None)))
        if same and (found := _formatted(times, form)) is not None:
            shown = [datetime.strptime(text, form) for text in found]
            if (np.array(shown, "datetime64[ns]") == times.astype("datetime64[us]")).all():
                return found
    zone = "Z" if any(match and match["zone"] for match in map(_YEAR_FIRST.fullmatch, like)) else ""
    return [f"{time_text(time, clock=True)}{zone}" for time in times]


def _formatted(times: Shaped[np.ndarray, " n"], form: str) -> list[str] | None:
    """Times in a form, to the microsecond; None for a form that has a zone or needs one."""
    if "%z" in form or "%Z" in form:
        return None
    return [time.strftime(form) for time in times.astype("datetime64[us]").tolist()]


def compact(cells: Sequence[str]) -> bool:
    """Whether all cells are dates without separators, such as 20160701, which are numbers too."""
    present = [cell for cell in cells if cell]
    return bool(present) and all(_COMPACT.fullmatch(cell) for cell in present)


def _by_format(cells: Sequence[str], time_format: str, fault) -> Shaped[np.ndarray, " t"]:
    times, offsets = [], []
    for i, cell in enumerate(cells):
        try:
            time = datetime.strptime(cell, time_format)
            offsets.append(None if time.utcoffset() is None else 0)
            times.append(time if time.utcoffset() is None else time.astimezone(UTC).replace(tzinfo=None))
        except (ValueError, OverflowError) as error:
            raise fault(i, f", which is no time of `time_format` {time_format!r}") from error
        if not YEARS[0] <= times[-1].year <= YEARS[1]:
            raise fault(i, f": years from {YEARS[0]} to {YEARS[1]} are read")
    _same_zone(offsets, fault)
    return np.array(times, "datetime64[us]").astype("datetime64[ns]")


def _day_first(found: Sequence[dict[str, str]], fault) -> bool:
    """Whether the first number of dates whose year comes last is the day."""
    pairs = {i: (int(parts["first"]), int(parts["second"])) for i, parts in enumerate(found) if parts.get("first")}
    first = next((i for i, pair in pairs.items() if pair[0] > 12), None)
    second = next((i for i, pair in pairs.items() if pair[1] > 12), None)
    if pairs and first is None and second is None:
        raise fault(next(iter(pairs)), ": no row shows which number is the day; give time_format=%d/%m/%Y or %m/%d/%Y")
    if first is not None and second is not None:
        raise fault(max(first, second), ": the day is the first number in some rows and the second in others")
    return first is not None


def _clock(parts: dict[str, str], i: int, fault) -> str:
    """The time of the day as ISO 8601."""
    hour, _, rest = (parts["clock"] or "00:00").replace(",", ".").partition(":")
    if half := parts.get("half"):
        if not parts["clock"] or not 1 <= int(hour) <= 12:
            raise fault(i, ", which is no time of the day")
        hour = str(int(hour) % 12 + 12 * (half.lower() == "pm"))
    return f"{int(hour):02d}:{rest}"


def _offset(zone: str | None) -> int | None:
    """The seconds that a zone such as +02:00 is ahead of UTC; None without one."""
    if zone is None or zone == "Z":
        return None if zone is None else 0
    hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
    return (-1 if zone[0] == "-" else 1) * (3600 * hours + 60 * minutes)


def _same_zone(offsets: Sequence[int | None], fault) -> None:
    odd = next((i for i, offset in enumerate(offsets) if (offset is None) != (offsets[0] is None)), None)
    if odd is not None:
        raise fault(odd, ": some times have an offset from UTC and others none")


def _instants(texts: Sequence[str], fault) -> Shaped[np.ndarray, " t"]:
    try:
        return np.array(texts, "datetime64[ns]")
    except ValueError:
        for i, text in enumerate(texts):
            try:
                np.datetime64(text, "ns")
            except ValueError as error:
                raise fault(i, ", which is no date of the calendar") from error
        raise
