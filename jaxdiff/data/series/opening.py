"""Opening windows of series: `open_series`."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff.boundary import reading
from jaxdiff.data.columns import label
from jaxdiff.data.selection import description, matches
from jaxdiff.data.series import mujoco
from jaxdiff.data.series.options import KINDS, split_options
from jaxdiff.data.series.sines import Sines
from jaxdiff.data.series.source import SeriesSource
from jaxdiff.data.series.stored import is_stored, open_stored
from jaxdiff.data.series.table import SeriesTable, open_table
from jaxdiff.data.series.windows import SPLIT_BY, SPLITS, shuffled, windows
from jaxdiff.data.spec import split_spec
from jaxdiff.errors import InputError


def open_series(
    spec: str | PathLike[str],
    *,
    split: str | None = None,
    by: str = "time",
    window: int | None = None,
    stride: int | None = None,
    columns: Sequence[str] | None = None,
    seed: int = 123,
    test_share: float = 0.1,
) -> SeriesSource:
    """Opens windows of series. What was understood is in the source's `notes`; `jaxdiff.data.describe` puts it in words.

    Windows never cross a gap in time, a change of class or the border of a series.

    Arguments:
        spec: one of

            - a table, as of `jaxdiff.data.series.open_table`: `load.csv?time=date&columns=OT,HUFL&window=24&stride=1`;
            - `sines`, optionally `sines?count=10000&length=24&features=5&seed=0`: see `jaxdiff.data.series.sines`;
            - `mujoco`, optionally `mujoco?count=10000&length=24&seed=0`: see `jaxdiff.data.series.mujoco`;
            - a set that `sample draw` wrote, or an npz file of windows: see `jaxdiff.data.series.stored`. They have no
              splits, so every `split` is the whole set;
            - any of these followed by a selection of classes: `sines?label=yes:speed=fast`, see `jaxdiff.data.selection`.

        split: train or test; None takes all windows.
        by: how the splits are made.

            - "time": the last rows of each series are for testing, and windows of the two splits share no row.
            - "shuffled": all windows are shuffled, then split, as in published comparisons. Windows that begin a row apart are
              nearly equal, so that nearly every window of the test split has a near copy in the training split: what is
              measured on such a split rewards copies.

        window, stride: rows of a window, and from one window to the next; they take precedence over those of the spec, which
            are 24 and 1. Of generated series, whose windows are independent, only `window` of the same number is taken.
        columns: the columns of values, such as those of a model; they take precedence over those of the spec.
        seed: of the shuffle; 123 as in the papers.
        test_share: the share of rows (by time) or windows (shuffled) for testing, in (0, 1).

    Raises:
        InputError: the data cannot be read (see `open_table`), no series is as long as a window, a split is empty or unknown.
    """
    if split not in (None, *SPLITS):
        raise InputError(f"`split` must be {' or '.join(SPLITS)}, or None for all windows, got {split!r}")
    if by not in SPLIT_BY:
        raise InputError(f"`by` must be {' or '.join(SPLIT_BY)}, got {by!r}")
    if not 0 < test_share < 1:
        raise InputError(f"`test_share` must lie in (0, 1), got {test_share:g}")
    if not 0 <= seed < 2**32:
        raise InputError(f"`seed` must lie in [0, {2**32 - 1}], got {seed}")
    base, selected = split_spec(str(spec))
    if selected:
        how: dict[str, Any] = dict(
            split=split, by=by, window=window, stride=stride, columns=columns, seed=seed, test_share=test_share
        )
        source = open_series(base, **how)
        if not (kept := matches(source, selected)).any():
            raise InputError(f"{source.name} has no window with {description(selected)}")
        return source.take(np.flatnonzero(kept), f"{source.name}:{description(selected)}")
    if is_stored(Path(base).expanduser()):
        return open_stored(base, window=window, columns=columns)
    kind, _, given = split_options(str(spec))
    if kind in KINDS:
        table = open_table(spec, columns=columns, window=window, stride=stride)
        return _of_table(table, split=split, by=by, seed=seed, test_share=test_share)
    if kind not in GENERATED:
        raise InputError(
            f"no series at {str(spec)!r}; expected a path of a table, csv:PATH, parquet:PATH, {', '.join(GENERATED)}, a set of "
            "samples or an .npz"
        )
    made = GENERATED[kind].of_options(given)
    names = [f"x{i + 1}" for i in range(made.features)]
    if window not in (None, made.length):
        raise InputError(f"`window` is {window}, but windows of {str(spec)!r} have {made.length} rows; its option is `length`")
    if columns is not None and list(columns) != names:
        raise InputError(f"{str(spec)!r} has the columns {', '.join(names)}, got {', '.join(columns)}")
    found = np.arange(made.count)
    if split is not None:
        first = round(made.count * (1 - test_share))
        found = (
            shuffled(made.count, split, seed, test_share) if by == "shuffled" else np.split(found, [first])[SPLITS.index(split)]
        )
    if not len(found):
        raise InputError(f"split {split!r} of {made.count} windows of {str(spec)!r} is empty")
    source = SeriesSource(
        made.windows().reshape(-1, made.features), found * made.length, made.length, names, made.labels()[found],
        made.attributes, name=_name(str(spec), split), whole=made.count,
    )  # fmt: skip
    source.layout = kind
    return source


GENERATED: Mapping[str, type[Sines] | type[mujoco.Hopper]] = {"sines": Sines, "mujoco": mujoco.Hopper}
"""Generated series by name."""


def _of_table(table: SeriesTable, *, split: str | None, by: str, seed: int, test_share: float) -> SeriesSource:
    with reading(table.what):
        found = label(table.labels, len(table), where=table.what, attributes=list(table.labels), value_names={}, of="rows")
    usable = np.zeros(len(table), bool)
    usable[found.kept] = True
    made = windows(table, usable, split=split, by=by, seed=seed, test_share=test_share)
    of_rows = np.zeros((len(table), len(found.attributes)), np.int32)
    of_rows[found.kept] = found.labels
    source = SeriesSource(
        table.values[table.order], made.starts, table.options.window, table.columns, of_rows[table.order][made.starts],
        found.attributes, name=_name(table.what, split), table=table, whole=made.whole,
    )  # fmt: skip
    source.layout = "parquet" if hasattr(table.original, "content") else "csv"
    source.notes = (*table.notes, *found.notes, *made.notes)
    return source


def _name(name: str, split: str | None) -> str:
    return name if split is None else f"{name} (split {split!r})"
