"""A folder or a zip of images with labels in `labels.csv`.

A folder contains `labels.csv` and either image files at any depth or one zip of them; alternatively, one zip contains both.
`labels.csv` has a column `file`, optionally a column `split` (train, validation or test), and one column per attribute.
`file` is the path of an image relative to the folder, to `labels.csv` or within the zip, or its base name if that is unique. An
optional `attributes.json` next to `labels.csv` names the values: `{"gender": ["male", "female"]}`, or by code
`{"gender": {"1": "male", "2": "female"}}`.

Tables of other programs are read too: separated by commas, semicolons or tabs, in UTF-8 or UTF-16 with or without a
byte-order mark, with a nameless index column as pandas writes it, with backslashes or `./` in paths, and with the column of
files called as in `FILE_COLUMNS`.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jaxdiff.data import splits
from jaxdiff.data.columns import ValueNames
from jaxdiff.data.files import Files, plain
from jaxdiff.data.readers.reader import Read, Reader, Request, Table
from jaxdiff.errors import InputError

FILE_COLUMNS = ("file", "file_name", "filename", "path", "image_path", "image")
"""Names of the column of image files; of several the first in this order is used."""

_SEPARATORS = ",;\t"
_NO_LABELS = "{} contains no labels.csv; expected a table with a column `file` and one column per attribute"


class LabelsTable(Reader):
    """Reads a folder or a zip with `labels.csv`.

    Splits come from the column `split`, or else from a hash of the column `file`. Columns become attributes as described in
    `jaxdiff.data.columns.label`; the request's names of values take precedence over `attributes.json`. Raises `InputError` if
    `labels.csv` is missing or malformed (the message names the column and the row, with the header as row 1), an image is
    missing, or the attributes are invalid.
    """

    name = "table"
    about = "a folder or .zip with labels.csv and images"

    def recognises(self, request: Request) -> bool:
        return request.files is not None and bool(request.files.named("labels.csv"))

    def read(self, request: Request) -> Read:
        files = request.files
        if files is None:
            raise InputError(f"{request.spec} is neither a folder nor a .zip")
        table = _one_table(files)
        rows, columns, file_column = _parse(files.read(table), files.where)
        names = _resolve(rows, files, table, file_column)
        assigned = columns.pop("split") if "split" in columns else None
        json_name = str(PurePosixPath(table).with_name("attributes.json"))
        value_names = _json_names(files.read(json_name) if json_name in files else None, columns, files.where)
        notes = () if file_column == "file" else (f"the column {file_column!r} of labels.csv names the images",)
        return Table(names, columns, assigned, list(rows), value_names, notes).labelled(files, request)


def _one_table(files: Files) -> str:
    """The name of `labels.csv`; there must be one."""
    tables = [name for name in files.names if PurePosixPath(name).name == "labels.csv"]
    if len(tables) != 1:
        several = f"{files.where} contains several labels.csv: {', '.join(tables)}"
        raise InputError(several if tables else _NO_LABELS.format(files.where))
    if not files.images:
        raise InputError(f"{files.where} contains no image files; expected images or one zip of them")
    return tables[0]


def _parse(table: bytes, where: str) -> tuple[dict[str, int], dict[str, Shaped[np.ndarray, " n"]], str]:
    """The row number of each file in `labels.csv`, in order, the other columns, and the name of the column of files."""
    what = f"labels.csv of {where}"
    try:
        rows = _rows(_text(table))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{what} is not a UTF-8 CSV table: {error}") from error
    header = [name.strip() for name in rows[0][1]] if rows else []
    file_column = next((name for name in FILE_COLUMNS if name in header), None)
    if file_column is None:
        others = ", ".join(FILE_COLUMNS[1:])
        raise InputError(f"{what} has no column 'file' (or {others}); row 1 has {', '.join(header) or 'none'}")
    index = header and header[0] in ("", "Unnamed: 0")  # as pandas writes the index, and reads it back
    if "" in header[bool(index) :] or len(set(header)) != len(header):
        raise InputError(f"{what} must have distinct, non-empty column names; row 1 has {', '.join(header)}")
    if len(rows) == 1:
        raise InputError(f"{what} has no rows below the header")
    columns: dict[str, list[str]] = {name: [] for name in header}
    files: dict[str, int] = {}
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(f"row {number} of {what} has {len(row)} fields; expected {len(header)}: {', '.join(header)}")
        for name, value in zip(header, row, strict=True):
            columns[name].append(value.strip())
        file = columns[file_column][-1]
        if not file:
            raise InputError(f"row {number} of {what} has no value in column {file_column!r}")
        file = plain(file)
        if file in files:
            raise InputError(
                f"row {number} of {what} repeats {file!r} in column {file_column!r}, first used in row {files[file]}"
            )
        if "split" in columns and columns["split"][-1] not in splits.SPLITS:
            got = columns["split"][-1]
            raise InputError(
                f"row {number} of {what} has {got!r} in column 'split'; allowed values: {', '.join(splits.SPLITS)}"
            )
        files[file] = number
    left = {header[0], file_column} if index else {file_column}
    return files, {name: np.array(values) for name, values in columns.items() if name not in left}, file_column


def _text(table: bytes) -> str:
    """The text of a table, in UTF-8, or in UTF-16 if it begins with its byte-order mark."""
    return table.decode("utf-16" if table[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, with their numbers. The separator is the one that the first row has most often, unless the
    first row is `sep=` and it, as some spreadsheets write."""
    first, _, rest = text.partition("\n")
    named = first.strip().removeprefix("sep=") if first.startswith("sep=") else ""
    separator = named if len(named) == 1 else max(_SEPARATORS, key=first.count)
    body, start = (rest, 2) if named else (text, 1)
    reader = csv.reader(io.StringIO(body, newline=""), strict=True, delimiter=separator)
    # skips blank lines, which many programs leave at the end
    return [(number, row) for number, row in enumerate(reader, start=start) if any(cell.strip() for cell in row)]


def _resolve(rows: Mapping[str, int], files: Files, table: str, column: str) -> list[str]:
    """The image of each entry of the column of files (with its row): by path, else by a unique base name."""
    images = frozenset(files.images)
    counts = Counter(PurePosixPath(name).name for name in files.images)
    by_base = {PurePosixPath(name).name: name for name in files.images}
    resolved: dict[str, int] = {}
    for file, row in rows.items():
        what = f"row {row} of labels.csv of {files.where} has {file!r} in column {column!r}"
        path = files.find(file, beside=table)
        name = path if path in images else by_base.get(file)
        if name is None:
            raise InputError(f"{what}, which " + ("is not an image file" if path else "does not exist"))
        if path is None and counts[file] > 1:
            raise InputError(f"{what}, the name of {counts[file]} images; give a path")
        if name in resolved:
            raise InputError(f"{what}: the same image {name} as in row {resolved[name]}")
        resolved[name] = row
    return list(resolved)


def _json_names(text: bytes | None, columns: Mapping[str, Any], where: str) -> dict[str, ValueNames]:
    """The names of values in `attributes.json`."""
    if text is None:
        return {}
    try:
        names = json.loads(text)
    except ValueError as error:
        raise InputError(f"attributes.json of {where} is not JSON: {error}") from error
    if not isinstance(names, dict) or not all(map(_are_names, names.values())):
        raise InputError(
            f'attributes.json of {where} must be like {{"gender": ["male", "female"]}} or '
            '{"gender": {"1": "male", "2": "female"}}'
        )
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise InputError(
            f"attributes.json of {where} names the values of {', '.join(unknown)}, which are not columns of labels.csv"
        )
    return names


def _are_names(given: Any) -> bool:
    texts = given.values() if isinstance(given, dict) else given if isinstance(given, list) else [None]
    return all(isinstance(text, str) for text in texts)
