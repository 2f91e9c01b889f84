"""Converts columns of raw values, as read from files, to attributes and integer labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Int, Int32, Shaped

from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError

MOST_VALUES = 32
"""A column with more distinct values than this is not used as an attribute unless its values are named."""

MISSING = frozenset({"", "nan", "NaN", "NA", "N/A", "#N/A", "None", "NULL", "null"})
"""Texts that mean that a value is missing, as pandas, R, databases and spreadsheets write them."""

ValueNames: TypeAlias = Sequence[str] | Mapping[str, str] | Mapping[int, str]
"""The names of the values of a column: a list, whose k-th name (from 0) is that of the integer code k, or a name by code."""


class Incomplete(InputError):
    """No attribute was asked for, and none has a value of every element."""


@dataclass(frozen=True)
class Labelled:
    """The attributes of a table.

    Attributes:
        attributes: the A attributes.
        labels: int32 (M, A), of the elements that are kept.
        kept: the indices of the M elements that have a value of every attribute, in order.
        notes: a line for each column that is not used, and for each attribute without a value in some elements.
    """

    attributes: tuple[Attribute, ...]
    labels: Int32[np.ndarray, "m a"]
    kept: Int[np.ndarray, " m"]
    notes: tuple[str, ...]


def label(
    columns: Mapping[str, Shaped[np.ndarray, " n"]],
    count: int,
    *,
    where: str,
    attributes: Sequence[str] | None,
    value_names: Mapping[str, ValueNames],
    of: str = "images",
) -> Labelled:
    """The attributes and labels of a table.

    What a value means never depends on which other values the column has. Without names a value is its text; values are sorted,
    integers as numbers and before other text. With a list of names, a value is one of the names, or the integer code k of the
    k-th name from 0. With names by code, a value is one of the codes; codes with the same name are one value.

    Elements whose value of an attribute is missing (`MISSING`, unless it is named) are left out if the attribute is asked for.
    With `attributes=None` a column with missing values is not used.

    Arguments:
        columns: values by column name, integers or strings; each column has one entry per element.
        count: the number of elements.
        where: the name of the table in error messages.
        attributes: the columns to use, in this order; None uses every column without missing values that has named values or at
            most 32 distinct ones.
        value_names: names of the values of some columns.
        of: what the elements are, in notes and error messages.

    Raises:
        Incomplete: with `attributes=None`, if columns have missing values and no attribute is left.
        InputError: an attribute is unknown, has too many values or none at all, or the names do not match the values.
    """
    for name in [*(attributes or ()), *value_names]:
        if name not in columns:
            raise InputError(f"{where}: unknown attribute {name!r}; it has {', '.join(columns) or 'none'}")
    if attributes is not None and len(set(attributes)) != len(attributes):
        raise InputError(f"`attributes` must be distinct, got {', '.join(attributes)}")
    found, labels, notes = [], [], []
    present, incomplete = np.ones(count, bool), False
    for name in columns if attributes is None else attributes:
        what, names = f"{where}: attribute {name!r}", value_names.get(name)
        if names is not None and not isinstance(names, Mapping) and len(set(names)) < len(names):
            raise InputError(f"{what} takes distinct names of its values, got {', '.join(map(str, names))}")
        texts, inverse = np.unique(_texts(columns[name]), return_inverse=True)
        named = () if names is None else tuple(map(str, names))
        missing = np.isin(texts, [text for text in MISSING if text not in named])
        lacking = int(missing[inverse].sum())
        if lacking and attributes is None:
            incomplete = True
            notes.append(f"column {name!r} is not used: {lacking} of {count} {of} have no value of it; "
                         f"name it as an attribute to use the {of} that have one")  # fmt: skip
            continue
        values = texts[~missing].tolist()
        if not values:
            raise InputError(f"{what} has no value in any of {count} {of}")
        if names is not None:
            own, codes = _named(values, names, name, what)
        elif len(values) <= MOST_VALUES:
            own = tuple(sorted(values, key=order))
            codes = [own.index(value) for value in values]
        elif attributes is None:
            notes.append(f"column {name!r} is not used: it has {len(values)} distinct values, more than {MOST_VALUES}")
            continue
        else:
            raise InputError(f"{what} has {len(values)} distinct values, more than {MOST_VALUES}; name them")
        if lacking:
            notes.append(f"{lacking} of {count} {of} have no value of {name!r} and are left out")
            present &= ~missing[inverse]
        by_text = np.zeros(len(texts), np.int32)
        by_text[~missing] = codes
        found.append(Attribute(name, own))
        labels.append(by_text[inverse])
    if incomplete and not found:
        raise Incomplete(f"{where} has no attribute that every {of.removesuffix('s')} has: {'; '.join(notes)}")
    kept = np.flatnonzero(present)
    if count and not len(kept):
        raise InputError(f"{where} has no {of} with a value of each of {', '.join(attributes or ())}")
    return Labelled(tuple(found), np.array(labels, np.int32).reshape(len(found), count).T[kept].copy(), kept, tuple(notes))


def integer(text: str) -> int | None:
    """The integer that a text writes in the usual way, with no other character; None for any other text, such as 01 or 1_0."""
    try:
        value = int(text)
    except ValueError:
        return None
    return value if str(value) == text else None


def _texts(column: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """The values of a column as text; booleans are 0 and 1."""
    return column.astype(np.int64).astype(str) if column.dtype.kind == "b" else column.astype(str)


def order(text: str) -> tuple[bool, int, str]:
    """The key that sorts integers as numbers, before other text."""
    value = integer(text)
    return value is None, value or 0, text


def _named(values: Sequence[str], names: ValueNames, name: str, what: str) -> tuple[tuple[str, ...], list[int]]:
    """The names of the values, and the label of each distinct value; see `label`."""
    if isinstance(names, Mapping):
        by_code = {str(code): str(each) for code, each in names.items()}
        own = tuple(dict.fromkeys(by_code.values()))
        unknown = [value for value in values if value not in by_code]
        if unknown:
            raise InputError(f"{what} has the values {_some(unknown)}, which are none of the codes {', '.join(by_code)}")
        return own, [own.index(by_code[value]) for value in values]
    own = tuple(map(str, names))
    by_name = {value: own.index(value) for value in values if value in own}
    codes = {value: code for value in values if (code := integer(value)) is not None and 0 <= code < len(own)}
    unknown = [value for value in values if value not in by_name and value not in codes]
    clash = [value for value in by_name.keys() & codes.keys() if by_name[value] != codes[value]]
    mixed = by_name.keys() - codes.keys() and codes.keys() - by_name.keys()
    if unknown or clash or mixed:
        ordered = sorted(values, key=order)
        keys = ordered if len(ordered) == len(own) else [str(k) for k in range(1, len(own) + 1)]
        example = f"{name}=" + ",".join(f"{code}:{each}" for code, each in zip(keys, own, strict=True))
        raise InputError(
            f"{what} has the values {_some(ordered)}, which the names {', '.join(own)} do not match: names stand for "
            f"themselves or for the codes 0 to {len(own) - 1}; give the code of each name, such as {example}"
        )
    return own, [by_name.get(value, codes.get(value, 0)) for value in values]


def _some(values: Sequence[str]) -> str:
    return ", ".join(values[:8]) + (f" and {len(values) - 8} more" if len(values) > 8 else "")
