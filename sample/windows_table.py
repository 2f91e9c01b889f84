"""The drawn windows of a model of time series as a table, beside the set."""

from pathlib import Path

import numpy as np

from jaxdiff.data.series.columns import require_suffix, write_columns
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Series

NAME = "windows"
"""The name of the file, without its suffix."""
PLACE = ("window", "step")
"""The columns that say which value a row has."""


def check_table(suffix: str, model: Model) -> None:
    """Raises `InputError` unless windows of a model can be written as a table of this suffix."""
    space = model.space
    if not isinstance(space, Series):
        raise InputError(f"--table is for models of time series, and this model draws {space.shown.array}")
    require_suffix(f"{NAME}.{suffix}", "--table")
    names = [*PLACE, *(attribute.name for attribute in model.conditions.attributes), *space.columns]
    if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
        raise InputError(f"--table has no place for a column {twice!r} of the model: {', '.join(PLACE)} and the attributes are "
                         "columns of the table")  # fmt: skip


def write_windows(samples: SampleSet, suffix: str) -> Path:
    """Writes a finished set as a table: a row for each step of each window, both from 0, with the names of the window's classes
    and its values in the units of the table that the model was trained on. Returns the file."""
    space = samples.space
    assert isinstance(space, Series)
    count, length = len(samples), space.length
    windows = np.concatenate([samples.image(i) for i in range(count)])
    columns = {"window": np.repeat(np.arange(count), length), "step": np.tile(np.arange(length), count)}
    for attribute, labels in zip(samples.attributes, samples.labels.T, strict=True):
        names = [attribute.values[label] if label >= 0 else "" for label in labels.tolist()]
        columns[attribute.name] = np.repeat(np.array(names), length)
    columns |= dict(zip(space.columns, windows.T, strict=True))
    path = samples.path / f"{NAME}.{suffix}"
    write_columns(path, columns)
    return path
