"""`jaxdiff sample forecast`: continues the series of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxdiff._console.parts import Parts, kept_parts
from jaxdiff._console.series_plots import MOST_PANELS, Panel, show_panels
from jaxdiff._console.terminal import console, progress
from jaxdiff.data.series import SeriesTable
from jaxdiff.data.series.columns import write_columns
from jaxdiff.data.series.steps import continued, steps
from jaxdiff.data.series.times import as_written
from jaxdiff.data.series.windows import require_length, stretches
from jaxdiff.errors import InputError

from .table_options import Forecast
from .table_work import Files, Summary, TableWork, at_once, interval_columns, require_observed, table_work, title, write_draws


def forecast(options: Forecast) -> Path:
    """Draws the rows to come and writes the files; returns the table."""
    options.join()
    files = Files.of(options)
    with kept_parts(options.out) as finished:
        work = table_work(options)
        table, space = work.table, work.space
        require_observed(table)
        ends = last_rows(work)
        times = times_to_come(table, ends, options.horizon)
        for note in notes(table, ends, space.length):
            console.print(note, highlight=False)
        draws = drawn(options, work, ends, finished)
        count, horizon, columns = len(ends.stop), options.horizon, len(table.columns)
        every = np.tile(np.arange(columns), count * horizon)
        summary = Summary.of(draws.reshape(options.draws, -1), every, space, options.level)
        made = written(table, ends, times, summary.median.reshape(count, horizon, columns), files.out)
        names = [table.columns[column] for column in every.tolist()]
        intervals = interval_columns(_places(table, ends, made, horizon), names, summary, options.level)
        panels = _panels(table, ends, times, summary, (count, horizon, columns), 3 * space.length)
        arrays = {"draws": draws, "columns": np.array(table.columns), "series": table.groups[table.order[ends.stop - 1]]}
        arrays |= {} if times is None else {"times": times}
        files.write(
            {
                files.out: partial(write_columns, files.out, made, decimal=table.decimal),
                files.intervals: partial(write_columns, files.intervals, intervals, decimal=table.decimal),
                files.picture: partial(show_panels, files.picture, panels, title(options, table)),
                files.draws: partial(write_draws, files.draws, **arrays),
            }
        )
    console.print(
        f"forecast: {horizon:,} rows of {count:,} series, medians of {options.draws} draws; "
        f"written: {', '.join(path.name for path in files.every[::-1])} in {options.out.parent}",
        highlight=False,
    )
    return options.out


@dataclass(frozen=True)
class Ends:
    """The last rows of each series, that follow one another: positions in the table's `order`.

    Attributes:
        start, stop: of each series, (G,).
    """

    start: Int[np.ndarray, " g"]
    stop: Int[np.ndarray, " g"]


def last_rows(work: TableWork) -> Ends:
    """The last stretch of rows of each series.

    Raises:
        InputError: no stretch of rows is as long as a window, or the last row of a series cannot be used.
    """
    table = work.table
    found = stretches(table, work.usable)
    require_length(table, found, work.space.length, "the model must have shorter windows")
    groups = table.groups[table.order]
    last = np.flatnonzero(np.append(groups[1:] != groups[:-1], True)) + 1
    at = np.searchsorted(found[:, 1], last)
    for stop, place in zip(last.tolist(), at.tolist(), strict=True):
        if place == len(found) or found[place, 1] != stop:
            row = table.numbers[table.order[stop - 1]]
            raise InputError(f"row {row} of {table.what}, the last of its series, has no class, which the model needs")
    return Ends(found[at, 0], found[at, 1])


def times_to_come(table: SeriesTable, ends: Ends, horizon: int) -> Shaped[np.ndarray, "g h"] | None:
    """The times of the rows to come, at the usual step of the table; None without times.

    Raises:
        InputError: there is no usual step, or fewer than half of the steps equal it.
    """
    if table.times is None:
        return None
    groups = table.groups[table.order]
    first = np.append(True, groups[1:] != groups[:-1])
    found = steps(table.times, table.order, first, table.numbers.tolist(), str(table.time_name), table.what)
    remedy = "`time=` reads the table without times"
    if not found.usual:
        raise InputError(f"the step of the times in column {table.time_name!r} of {table.what} is unknown: no series has two "
                         f"rows; {remedy}")  # fmt: skip
    count, irregular = int(np.count_nonzero(~first)), len(found.irregular)
    if 2 * irregular > count:
        raise InputError(
            f"the times in column {table.time_name!r} of {table.what} have no usual step: {irregular:,} of {count:,} steps are "
            f"other than {found.usual}, the first from row {table.numbers[found.before[0]]} to row "
            f"{table.numbers[found.irregular[0]]}; {remedy}"
        )
    last = table.order[ends.stop - 1]
    return np.stack([continued(table.times, table.order, first, row, horizon) for row in last.tolist()])


def notes(table: SeriesTable, ends: Ends, length: int) -> list[str]:
    """What a person should know of the rows that a forecast goes on from."""
    found = []
    short = np.flatnonzero(ends.stop - ends.start < length // 2)
    if len(short):
        row = table.numbers[table.order[ends.start[short[0]]]]
        found.append(
            f"{len(short):,} series end{'s' * (len(short) == 1)} with fewer rows than half a window, the first from row {row}: "
            "there is no more before them without a gap"
        )
    values, rows = table.values[table.order], np.stack([ends.start, ends.stop], axis=1).tolist()
    blind = [np.isnan(values[max(start, stop - length) : stop]).all(axis=0).sum() for start, stop in rows]
    if sum(blind):
        found.append(
            f"Warning: {sum(blind):,} columns of series have no value in their last {length} rows: they are drawn around their "
            "last value before these, and their intervals may be too narrow"
        )
    return found


def drawn(options: Forecast, work: TableWork, ends: Ends, finished: Parts) -> Float[np.ndarray, "s g h f"]:
    """The draws of the rows to come; what is finished is kept in parts."""
    count, horizon, length = len(ends.stop), options.horizon, work.space.length
    each, rolls = max(1, at_once(work) // options.draws), -(-horizon // max(1, length // 2))
    digest, starts = work.digest(options, length, horizon), range(0, count, each)
    there = {start for start in starts if f"{digest}-{start}" in finished}
    done = sum(min(start + each, count) - start for start in there) * options.draws * rolls
    draws = np.empty((options.draws, count, horizon, len(work.table.columns)))
    with progress("drawing", count * options.draws * rolls, done=done, unit="windows") as advance:
        for start in starts:
            chosen, name = slice(start, min(start + each, count)), f"{digest}-{start}"
            part = finished.get(name) if start in there else None
            if part is None:
                part = {"draws": _of_series(options, work, ends, chosen, advance)}
                finished[name] = part
            draws[:, chosen] = part["draws"]
    return draws


def _of_series(options: Forecast, work: TableWork, ends: Ends, chosen: slice, advance) -> Float[np.ndarray, "s g h f"]:
    """The draws of some series: each window ends with rows to draw, and the next one begins with those of the same draw."""
    table, length, count = work.table, work.space.length, options.draws
    values, labels = table.values[table.order], work.labels[table.order]
    start, stop = ends.start[chosen], ends.stop[chosen]
    path = np.full((len(stop), length, values.shape[1]), np.nan)
    lines = np.full_like(path, np.nan)
    for window, line, first, last in zip(path, lines, start.tolist(), stop.tolist(), strict=True):
        rows = values[max(first, last - length) : last]
        window[length - len(rows) :] = rows
        line[:] = _last_values(values[first:last])
    path, lines = np.repeat(path, count, axis=0), np.repeat(lines, count, axis=0)
    series, numbers = np.repeat(np.arange(chosen.start, chosen.stop), count), np.tile(np.arange(count), len(stop))
    done, parts = 0, []
    while done < options.horizon:
        rows = min(max(1, length // 2), options.horizon - done)
        window = np.concatenate([path[:, rows:], np.full((len(path), rows, path.shape[2]), np.nan)], axis=1)
        streams = np.stack([series, np.full(len(series), len(parts))], axis=1)
        found = work.filler.draw(window, lines, np.repeat(labels[stop - 1], count, axis=0), streams, numbers, advance)
        path = np.where(np.isnan(window), found, window)
        parts.append(path[:, -rows:])
        done += rows
    made = np.concatenate(parts, axis=1).reshape(len(stop), count, options.horizon, path.shape[2])
    return made.swapaxes(0, 1)


def _last_values(values: Float[np.ndarray, "t f"]) -> Float[np.ndarray, " f"]:
    """The last observed value of each column, NaN without one."""
    found = np.full(values.shape[1], np.nan)
    for column, each in enumerate(values.T):
        observed = each[~np.isnan(each)]
        found[column] = observed[-1] if len(observed) else np.nan
    return found


def written(
    table: SeriesTable, ends: Ends, times: Shaped[np.ndarray, "g h"] | None, median: Float[np.ndarray, "g h f"], out: Path
) -> dict[str, Shaped[np.ndarray, " n"] | Sequence[str]]:
    """The columns of the forecast, in the order of the table: times, names of series, classes of their last rows, medians."""
    last, horizon = table.order[ends.stop - 1], median.shape[1]
    made: dict[str, Shaped[np.ndarray, " n"] | Sequence[str]] = {}
    for name in table.original.header:
        if name == table.time_name and times is not None:
            csv, own = out.suffix.lower() == ".csv", table.times
            texts = as_written(times.ravel(), table.texts(name), own, table.options.time_format) if csv else []
            numbers = times.dtype.kind != "M"
            made[name] = [text.replace(".", table.decimal) if numbers else text for text in texts] if csv else times.ravel()
        elif name == table.group_name or name in table.labels:
            texts = table.groups if name == table.group_name else table.labels[name]
            made[name] = np.repeat(texts[last], horizon).tolist()
        elif name in table.columns:
            made[name] = median[:, :, table.columns.index(name)].ravel()
    return made


def _places(table: SeriesTable, ends: Ends, made, horizon: int) -> dict[str, Shaped[np.ndarray, " n"] | Sequence[str]]:
    """Step, time and series of each value, whose columns vary fastest."""
    count, columns = len(ends.stop), len(table.columns)
    places: dict[str, Shaped[np.ndarray, " n"] | Sequence[str]]
    places = {"step": np.repeat(np.tile(np.arange(1, horizon + 1), count), columns)}
    for place, name in (("time", table.time_name), ("series", table.group_name)):
        if name in made:
            places[place] = np.repeat(np.asarray(made[name]), columns)
    return places


def _panels(
    table: SeriesTable, ends: Ends, times: Shaped[np.ndarray, "g h"] | None, summary: Summary, shape: tuple[int, int, int],
    shown: int,
) -> list[Panel]:  # fmt: skip
    """The last rows of the first series and columns, and what was drawn after them."""
    panels = []
    for place in range(min(shape[0] * shape[2], MOST_PANELS)):
        series, column = divmod(place, shape[2])
        start, stop = max(ends.start[series], ends.stop[series] - shown), ends.stop[series]
        rows = table.order[start:stop]
        x = np.arange(1 - len(rows), shape[1] + 1)
        if times is not None and table.times is not None:
            x = np.concatenate([table.times[rows], times[series]])
        drawn = [each.reshape(shape)[series, :, column] for each in (summary.median, summary.lower, summary.upper)]
        observed = np.append(table.values[rows, column], np.full(shape[1], np.nan))
        before = np.full(len(rows), np.nan)
        of = f", {table.group_name} {table.groups[rows[0]]}" if table.group_name else ""
        panels.append(Panel(f"{table.columns[column]}{of}", x, observed, *(np.append(before, each) for each in drawn)))
    return panels
