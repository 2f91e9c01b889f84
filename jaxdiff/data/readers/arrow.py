"""Parquet files by pyarrow, which is optional: it is imported when a file is read."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxdiff.boundary import reading, require_regular, require_size
from jaxdiff.errors import InputError


def open_parquet(file: Path | bytes, what: str, *, of_numbers: bool = False) -> Any:
    """A `pyarrow.parquet.ParquetFile`.

    Arguments:
        file: the file, or its bytes.
        what: its name in error messages.
        of_numbers: whether rows are of numbers, which may repeat and then take less than a byte each. Others have a name or an
            image of their own.

    Raises:
        InputError: pyarrow is not installed, the file is damaged, or it says that it holds more than it can.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"{what} is a parquet file, which needs pyarrow: pip install pyarrow") from error
    if isinstance(file, Path):
        require_regular(file)
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    with reading(what):
        opened = pyarrow.parquet.ParquetFile(io.BytesIO(file) if isinstance(file, bytes) else file)
        groups = [opened.metadata.row_group(group) for group in range(opened.metadata.num_row_groups)]
        rows = sum(group.num_rows for group in groups)
        if of_numbers:
            require_size(8 * rows * opened.metadata.num_columns, what, packed=size)
        if min((group.num_rows for group in groups), default=0) < 0 or (rows > size and not of_numbers):
            raise InputError(f"{what} is damaged: it has {size:,} bytes and says that it has {opened.metadata.num_rows:,} rows")
        for number, group in enumerate(groups):
            require_size(group.total_byte_size, f"group {number} of {what}", packed=size)
    return opened


def read_columns(opened: Any, names: Sequence[str] | None, what: str) -> Any:
    """The columns of these names, or all, of an opened parquet file as a `pyarrow.Table`. Raises `InputError` if the file is
    damaged."""
    with reading(what):
        return opened.read(names)


def read_group(opened: Any, group: int, name: str, what: str) -> Any:
    """A column in a group of rows, as a `pyarrow.Array`. Raises `InputError` if the file is damaged."""
    with reading(what):
        return opened.read_row_group(group, columns=[name])[name].combine_chunks()


def features(schema: Any) -> Mapping[str, Mapping[str, Any]]:
    """The types of the columns as Hugging Face's `datasets` writes them into a file's metadata; empty if it did not."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return {name: each for name, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}


def class_names(feature: Mapping[str, Any]) -> dict[str, str] | None:
    """The names of the classes of a column of type ClassLabel by their numbers; None for another type."""
    names = feature.get("names")
    if feature.get("_type") != "ClassLabel" or not isinstance(names, list):
        return None
    return {str(number): str(name) for number, name in enumerate(names)}


def is_label(kind: Any) -> bool:
    """Whether a column of this `pyarrow.DataType` can be an attribute: texts, integers or booleans."""
    import pyarrow.types as types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_boolean(kind) or types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)


def texts(column: Any, *, classes: bool) -> list[str]:
    """The values of a column for which `is_label` holds, as text: null as the empty text, booleans as 0 and 1.

    Arguments:
        column: a `pyarrow.ChunkedArray`.
        classes: whether the integers number classes; -1 then means that there is none.
    """
    values = column.to_pylist()
    return ["" if value is None or (classes and value == -1) else text(value) for value in values]


def joined(
    parts: Sequence[tuple[Sequence[str], Mapping[str, str] | None]],
) -> tuple[list[str], dict[str, str] | None]:
    """A column of several files and the names of its values, given its values in each file and their names in that file.

    Files need not number their classes alike: where they differ, the values are the names instead of the numbers.
    """
    values = [value for found, _ in parts for value in found]
    first = parts[0][1]
    if all(names == first for _, names in parts):
        return values, None if first is None else dict(first)
    named = [(names or {}).get(value, value) for found, names in parts for value in found]
    distinct = dict.fromkeys(name for _, names in parts for name in (names or {}).values())
    return named, {name: name for name in distinct}


def text(value: str | int | None) -> str:
    """A value of a label as text: null as the empty text, booleans as 0 and 1."""
    return "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)
