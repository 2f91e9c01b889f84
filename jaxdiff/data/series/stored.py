"""Windows that are stored as such: a set of samples that `sample draw` wrote, or an npz file.

The arrays of an npz file:

- `series`: floating point (N, L, F), in the units of the table;
- `columns`, optional: the names of the F columns, by default x1, x2, ...;
- `labels`, `attributes`, `values_NAME`, optional: as of images, see `jaxdiff.data.readers.npz`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxdiff.boundary import reading
from jaxdiff.data import samples
from jaxdiff.data.columns import label
from jaxdiff.data.readers.npz import label_columns
from jaxdiff.data.series.source import SeriesSource
from jaxdiff.data.source import load_arrays
from jaxdiff.errors import InputError
from jaxdiff.npz_file import load_npz
from jaxdiff.spaces import Series


def is_stored(path: Path) -> bool:
    """Whether a path is that of a set of samples or of an npz file."""
    return (path / samples.FILE).is_file() or path.suffix.lower() == ".npz"


def open_stored(spec: str, *, window: int | None, columns: Sequence[str] | None) -> SeriesSource:
    """The windows of a set of samples or of an npz file, in memory. They have no splits.

    Arguments:
        spec: the path.
        window, columns: those that the windows must have; None takes any.

    Raises:
        InputError: the file is damaged, holds no windows, or windows of another length or of other columns.
    """
    path = Path(spec).expanduser()
    made = _of_set(path, spec) if path.is_dir() else _of_npz(path, spec)
    length, own = made.shape[0], made.columns
    if window not in (None, length):
        raise InputError(f"{spec} has windows of {length} rows, not of {window}")
    if columns is not None and tuple(columns) != own:
        raise InputError(f"{spec} has the columns {', '.join(own)}, not {', '.join(columns)}")
    return made


def _of_set(path: Path, spec: str) -> SeriesSource:
    found = samples.Samples.open(path)
    if not isinstance(space := found.space, Series):
        raise InputError(f"{spec} contains {space.array} of shape {space.shape}; expected a set of windows of series")
    if (refused := found.refused).all():
        raise InputError(f"{spec} has no windows: a gate refused all {len(found)}")
    windows, labels = load_arrays(found)
    # an attribute that a method leaves open has no labels
    complete = [column for column in range(len(found.attributes)) if labels[:, column].min() >= 0]
    attributes = [found.attributes[column] for column in complete]
    made = _source(windows[~refused], space.columns, labels[~refused][:, complete], attributes, spec)
    made.layout, made.space = "samples", space
    if refused.any():
        made.notes = (f"{refused.sum()} of {len(found)} windows were refused by a gate and are left out",)
    return made


def _of_npz(path: Path, spec: str) -> SeriesSource:
    arrays = load_npz(path)
    if "series" not in arrays:
        raise InputError(f"{spec} has no array 'series' of windows (N, L, F); it has {', '.join(arrays) or 'none'}")
    windows = arrays["series"]
    if windows.ndim != 3 or 0 in windows.shape or windows.dtype.kind not in "fiu":
        raise InputError(f"{spec}: array 'series' must be numbers of shape (N, L, F), got {windows.dtype} {windows.shape}")
    columns = [str(name) for name in arrays["columns"].ravel()] if "columns" in arrays else []
    if columns and (len(columns) != windows.shape[2] or len(set(columns)) != len(columns)):
        raise InputError(
            f"{spec}: array 'columns' must be {windows.shape[2]} distinct names, one for each column, got {', '.join(columns)}"
        )
    with reading(path):
        given = label_columns(arrays, len(windows), spec, of="windows")
        names = {name: arrays[f"values_{name}"].ravel().tolist() for name in given if f"values_{name}" in arrays}
        found = label(given, len(windows), where=spec, attributes=list(given), value_names=names, of="windows")
    columns = columns or [f"x{i + 1}" for i in range(windows.shape[2])]
    made = _source(windows.astype(np.float64)[found.kept], columns, found.labels, found.attributes, spec)
    made.layout, made.notes = "npz", found.notes
    return made


def _source(windows, columns, labels, attributes, name) -> SeriesSource:
    count, length, features = windows.shape
    starts = np.arange(count) * length
    return SeriesSource(windows.reshape(-1, features), starts, length, columns, labels, attributes, name=name)
