"""Windows of series and their splits."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from jaxdiff.data.series.table import SeriesTable
from jaxdiff.errors import InputError

SPLITS = ("train", "test")
"""The splits of series."""
SPLIT_BY = ("time", "shuffled")
"""How series are split, see `jaxdiff.data.series.open_series`."""


@dataclass(frozen=True)
class Windows:
    """Windows of a table.

    Attributes:
        starts: the first row of each window, as positions in the table's `order`.
        whole: the number of windows over all splits.
        notes: what a person should know of them.
    """

    starts: Int[np.ndarray, " n"]
    whole: int
    notes: tuple[str, ...]


def windows(
    table: SeriesTable, usable: Bool[np.ndarray, " t"], *, split: str | None, by: str, seed: int, test_share: float
) -> Windows:
    """The windows of a split.

    Arguments:
        table: with the number of rows of a window and the stride in its options.
        usable: rows that a window may have.
        split, by, seed, test_share: see `jaxdiff.data.series.open_series`; checked.

    Raises:
        InputError: no series has as many rows without a gap as a window, or the split is empty.
    """
    length, stride = table.options.window, table.options.stride
    found = stretches(table, usable)
    require_length(table, found, length, "`window` must be less")
    every = _starts(found, length, stride)
    notes = _short_note(table, every, length)
    if split is None:
        return Windows(every, len(every), notes)
    if by == "shuffled":
        chosen = shuffled(len(every), split, seed, test_share)
        notes = (*notes, "windows of train and test overlap: they were shuffled before they were split")
        starts, whole = every[chosen], len(every)
    else:
        parts = {each: _starts(_within(table, found, each, test_share), length, stride) for each in SPLITS}
        starts, whole = parts[split], sum(map(len, parts.values()))
    if not len(starts):
        part = f"last {test_share:g}" if split == "test" else f"first {1 - test_share:g}"
        raise InputError(
            f"split {split!r} of {table.what} is empty: the {part} of no series has {length} rows that follow one another; "
            "`window` can be less, or `test_share` another"
        )
    return Windows(starts, whole, notes)


def shuffled(count: int, split: str, seed: int, test_share: float) -> Int[np.ndarray, " n"]:
    """The windows of a split after shuffling, as in the code of Diffusion-TS and TimeBridge: NumPy's legacy permutation, of
    which the first ceil(count (1 - test_share)) are for training."""
    order = np.random.RandomState(seed).permutation(count)
    train = int(np.ceil(count * (1 - test_share)))
    return order[:train] if split == "train" else order[train:]


def stretches(table: SeriesTable, usable: Bool[np.ndarray, " t"]) -> Int[np.ndarray, "s 2"]:
    """Start and end in the table's order of rows that follow one another, are usable and of the same classes."""
    order = table.order
    follows, use = table.follows[order], usable[order]
    for texts in table.labels.values():
        follows = follows & np.append(False, texts[order][1:] == texts[order][:-1])
    begins = use & ~(follows & np.append(False, use[:-1]))
    ends = use & np.append(begins[1:] | ~use[1:], True)
    return np.stack([np.flatnonzero(begins), np.flatnonzero(ends) + 1], axis=1)


def require_length(table: SeriesTable, stretches: Int[np.ndarray, "s 2"], length: int, remedy: str) -> None:
    """Raises `InputError`, with a remedy, unless a stretch of rows is as long as a window of `length` rows."""
    sizes, what = stretches[:, 1] - stretches[:, 0], table.what
    if not len(sizes):
        raise InputError(f"{what} has no row with a value of each of {', '.join(table.labels)}")
    if sizes.max() >= length:
        return
    start, stop = stretches[np.argmax(sizes)]
    rows = table.numbers[table.order[[start, stop - 1]]]
    series = f" (series {str(table.groups[table.order[start]])!r})" if table.group_name else ""
    most = f"the most that follow one another are {stop - start}, rows {rows[0]} to {rows[1]}{series}"
    gaps = "" if table.times is None or table.options.gaps == "ignore" or table.follows.sum() >= len(table) - len(
        np.unique(table.groups)
    ) else "; gaps=ignore takes rows on both sides of a gap as following one another"  # fmt: skip
    raise InputError(f"a window of {length} rows is longer than every series of {what}: {most}; {remedy}{gaps}")


def _starts(stretches: Int[np.ndarray, "s 2"], length: int, stride: int) -> Int[np.ndarray, " n"]:
    return np.concatenate([np.arange(start, stop - length + 1, stride) for start, stop in stretches] or [np.arange(0)])


def _within(table: SeriesTable, stretches: Int[np.ndarray, "s 2"], split: str, test_share: float) -> Int[np.ndarray, "r 2"]:
    """The parts of stretches in a split: the last rows of each series are for testing."""
    groups = table.groups[table.order]
    bounds = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    ends = np.append(bounds[1:], len(groups))
    cuts = ends - np.rint((ends - bounds) * test_share).astype(np.int64)
    of = np.searchsorted(bounds, stretches[:, 0], side="right") - 1
    start, stop = stretches.T
    found = np.stack([start, np.minimum(stop, cuts[of])] if split == "train" else [np.maximum(start, cuts[of]), stop], axis=1)
    return found[found[:, 1] > found[:, 0]]


def _short_note(table: SeriesTable, starts: Int[np.ndarray, " n"], length: int) -> tuple[str, ...]:
    if table.group_name is None:
        return ()
    groups = table.groups[table.order]
    short = len(np.unique(groups)) - len(np.unique(groups[starts]))
    return (f"{short} series have no window of {length} rows and are left out",) if short else ()
