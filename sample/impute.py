"""`jaxdiff sample impute`: fills the missing values of a table."""

from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from jaxdiff._console.parts import Parts, kept_parts
from jaxdiff._console.series_plots import MOST_PANELS, Panel, show_panels
from jaxdiff._console.terminal import console, progress
from jaxdiff.data.series import SeriesTable, write_table
from jaxdiff.data.series.columns import write_columns
from jaxdiff.data.series.gaps import GapWindows, gap_windows
from jaxdiff.errors import InputError

from .table_options import Impute
from .table_work import (
    Files,
    Summary,
    TableWork,
    at_once,
    interval_columns,
    places,
    require_observed,
    table_work,
    title,
    write_draws,
)  # fmt: skip


def impute(options: Impute) -> Path:
    """Fills the missing values and writes the files; returns the filled table."""
    options.join()
    files = Files.of(options)
    with kept_parts(options.out) as finished:
        work = table_work(options)
        table, space = work.table, work.space
        if table.mask.all():
            known = ", ".join(table.columns)
            raise InputError(f"{table.what} has no missing value in the columns of the model, {known}: nothing to fill")
        require_observed(table)
        fill = options.fill or max(1, space.length // 2)
        if fill > space.length:
            raise InputError(f"--fill must be at most {space.length}, the rows of a window of the model, got {fill}")
        windows = gap_windows(table, space.length, fill, work.usable)
        missing = (~table.mask & work.usable[:, None])[table.order]
        for note in notes(table, windows, missing):
            console.print(note, highlight=False)
        draws = drawn(options, work, windows, missing, finished)
        rows, columns = np.nonzero(missing)
        rows = table.order[rows]
        by_place = np.lexsort((columns, rows))
        rows, columns, draws = rows[by_place], columns[by_place], draws[:, by_place]
        summary = Summary.of(draws, columns, space, options.level)
        filled = np.full(table.values.shape, np.nan)
        filled[rows, columns] = summary.median
        names = [table.columns[column] for column in columns.tolist()]
        intervals = interval_columns(places(table, rows, options.out), names, summary, options.level)
        panels = _panels(table, rows, columns, summary, 6 * space.length)
        files.write(
            {
                files.out: partial(write_table, files.out, table, filled),
                files.intervals: partial(write_columns, files.intervals, intervals, decimal=table.decimal),
                files.picture: partial(show_panels, files.picture, panels, title(options, table)),
                files.draws: partial(write_draws, files.draws, draws=draws, rows=table.numbers[rows], columns=np.array(names)),
            }
        )
    console.print(
        f"filled: {len(rows):,} missing values by medians of {options.draws} draws; "
        f"written: {', '.join(path.name for path in files.every[::-1])} in {options.out.parent}",
        highlight=False,
    )
    return options.out


def drawn(
    options: Impute, work: TableWork, windows: GapWindows, missing: Bool[np.ndarray, "t f"], finished: Parts
) -> Float[np.ndarray, "s m"]:
    """The draws of all missing values, row by row in the table's order; what is finished is kept in parts.

    Arguments:
        options, work, windows: what is drawn.
        missing: the values to draw, rows in the table's order.
        finished: the parts.
    """
    count, length = windows.rows.shape
    before = np.append(0, np.cumsum(missing.sum(axis=1)))  # missing values before each row
    draws = np.empty((options.draws, int(before[-1])))
    each = max(1, at_once(work) // options.draws)
    digest, starts = work.digest(options, length, options.fill), range(0, count, each)
    there = {start for start in starts if f"{digest}-{start}" in finished}
    sizes = {start: (min(start + each, count) - start) * options.draws for start in starts}
    done = sum(sizes[start] for start in there)
    with progress("drawing", count * options.draws, done=done, unit="windows") as advance:
        for start in starts:
            chosen, name = slice(start, min(start + each, count)), f"{digest}-{start}"
            part = finished.get(name) if start in there else None
            if part is None:
                part = {"draws": _of_windows(options, work, windows, chosen, missing, advance)}
                finished[name] = part
            draws[:, before[windows.first[start]] : before[windows.last[chosen.stop - 1] + 1]] = part["draws"]
    return draws


def _of_windows(options, work, windows, chosen, missing, advance) -> Float[np.ndarray, "s m"]:
    """The draws of the values that some windows fill."""
    table, rows, count = work.table, windows.rows[chosen], options.draws
    values = _with_none(table.values[table.order])[rows]
    found = work.filler.draw(
        np.repeat(values, count, axis=0),
        np.repeat(_with_none(windows.lines)[rows], count, axis=0),
        np.repeat(work.labels[table.order][windows.first[chosen]], count, axis=0),
        np.repeat(np.stack([rows[:, 0], np.zeros(len(rows), int)], axis=1), count, axis=0),
        np.tile(np.arange(count), len(rows)),
        advance,
    ).reshape(len(rows), count, *values.shape[1:])
    parts = []
    for drawn, begin, first, last in zip(found, rows[:, 0], windows.first[chosen], windows.last[chosen], strict=True):
        parts.append(drawn[:, first - begin : last + 1 - begin][:, missing[first : last + 1]])
    return np.concatenate(parts, axis=1)


def _with_none(values: Float[np.ndarray, "t f"]) -> Float[np.ndarray, "u f"]:
    """Rows with one of NaN after them, which position -1 is."""
    return np.append(values, np.full((1, values.shape[1]), np.nan), axis=0)


def notes(table: SeriesTable, windows: GapWindows, missing: Bool[np.ndarray, "t f"]) -> list[str]:
    """What a person should know of values that are drawn from little, or not at all."""
    found = []
    if lacking := int((~table.mask).sum() - missing.sum()):
        found.append(f"{lacking:,} missing values stay missing: their rows have no class, which the model needs")
    if windows.short:
        found.append(f"{windows.short:,} windows are longer than the rows without a gap, and are drawn from fewer rows")
    shown = ~np.isnan(_with_none(table.values[table.order])[windows.rows]).all(axis=1)
    blind = sum(
        int(missing[first : last + 1, ~known].sum())
        for first, last, known in zip(windows.first, windows.last, shown, strict=True)
    )
    if blind:
        found.append(
            f"Warning: {blind:,} missing values are in gaps so long that their window shows no value of their column: they are "
            "drawn around the line across the gap, and their intervals may be too narrow"
        )
    return found


def _panels(table: SeriesTable, rows, columns, summary: Summary, width: int) -> list[Panel]:
    """The stretches of rows with most missing values, of at most `MOST_PANELS` columns."""
    found = []
    place = np.empty(len(table), int)
    place[table.order] = np.arange(len(table))
    for column in np.unique(columns):
        own = columns == column
        at = place[rows[own]]
        filled = np.zeros(len(table), bool)
        filled[at] = True
        counts = np.append(0, np.cumsum(filled))
        tiles = [
            (start, min(start + width, stop))
            for first, stop in table.segments().tolist()
            for start in range(first, max(first + 1, stop - width // 2), max(1, width // 2))
        ]
        # where a gap is long, its border is shown rather than its inside
        start, stop = max(tiles, key=lambda tile: min(counts[tile[1]] - counts[tile[0]], width // 2))
        chosen = table.order[start:stop]
        bands = np.full((3, len(table)), np.nan)
        bands[:, at] = [each[own] for each in (summary.median, summary.lower, summary.upper)]
        series = f", {table.group_name} {table.groups[chosen[0]]}" if table.group_name else ""
        name = f"{table.columns[column]}, rows {table.numbers[chosen[0]]} to {table.numbers[chosen[-1]]}{series}"
        x = table.numbers[chosen] if table.times is None else table.times[chosen]
        panel = Panel(name, x, table.values[chosen, column], *bands[:, start:stop])
        found.append((counts[stop] - counts[start], panel))
    found.sort(key=lambda each: -each[0])
    return [panel for _, panel in found[:MOST_PANELS]]
