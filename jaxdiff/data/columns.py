"""Converts columns of raw values, as read from files, to attributes and integer labels."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int32, Shaped

from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError

MOST_VALUES = 32
"""A column with more distinct values than this is not used as an attribute unless its values are named."""


def label(
    columns: Mapping[str, Shaped[np.ndarray, " n"]],
    count: int,
    *,
    where: str,
    attributes: Sequence[str] | None,
    value_names: Mapping[str, Sequence[str]],
) -> tuple[tuple[Attribute, ...], Int32[np.ndarray, "n a"]]:
    """The attributes and labels of a table.

    Without names, a column's values are sorted (as numbers if all are integers) and the label is the rank, so integers 0
    to K - 1 are unchanged. With K names, the label is the position in the names if every value is one of them; otherwise
    the values must be integers, either in 0 to K - 1 (unchanged) or K distinct ones (ranked).

    Arguments:
        columns: values by column name, integers or strings; each column has one entry per element.
        count: the number of elements.
        where: the name of the table in error messages.
        attributes: the columns to use, in this order; None uses every column that has named values or at most 32 distinct ones.
        value_names: names of the values of some columns.

    Raises:
        InputError: an attribute is unknown or has too many values, or the names do not match the values.
    """
    for name in [*(attributes or ()), *value_names]:
        if name not in columns:
            raise InputError(f"unknown attribute {name!r}; {where} has {', '.join(columns) or 'none'}")
    if attributes is not None and len(set(attributes)) != len(attributes):
        raise InputError(f"`attributes` must be distinct, got {', '.join(attributes)}")
    found, labels = [], []
    for name in columns if attributes is None else attributes:
        values, ranks = np.unique(_numbers(columns[name]), return_inverse=True)
        if name in value_names:
            names = tuple(map(str, value_names[name]))
            codes = _positions(values, names, f"attribute {name!r} of {where}")
        elif len(values) <= MOST_VALUES:
            names, codes = tuple(map(str, values)), np.arange(len(values))
        elif attributes is None:
            continue
        else:
            raise InputError(
                f"attribute {name!r} of {where} has {len(values)} distinct values, more than {MOST_VALUES}; name them"
            )
        found.append(Attribute(name, names))
        labels.append(codes[ranks])
    return tuple(found), np.array(labels, np.int32).reshape(len(found), count).T.copy()


def _numbers(column: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """The column as integers if all its values are integers, otherwise unchanged."""
    try:
        return column.astype(np.int64)
    except (ValueError, OverflowError):
        return column


def _positions(values: Shaped[np.ndarray, " k"], names: tuple[str, ...], what: str) -> Shaped[np.ndarray, " k"]:
    """The label of each distinct value; see `label`."""
    if all(str(value) in names for value in values):
        return np.array([names.index(str(value)) for value in values])
    if values.dtype.kind == "i":
        if values[0] >= 0 and values[-1] < len(names):
            return values
        if len(values) == len(names):
            return np.arange(len(names))
    some = ", ".join(map(str, values[:8]))
    raise InputError(f"the names {', '.join(names)} do not match the values {some} of {what}")
