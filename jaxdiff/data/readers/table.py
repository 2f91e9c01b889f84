"""A folder or a zip of images with labels in `labels.csv`.

A folder contains `labels.csv` and either image files at any depth or one zip of them; alternatively, one zip contains both.
`labels.csv` has a column `file`, optionally a column `split` (train, validation or test), and one column per attribute.
`file` is the path of an image relative to the folder, to `labels.csv` or within the zip, or its base name if that is unique. An
optional `attributes.json` next to `labels.csv` names the values: `{"gender": ["male", "female"]}`, or by code
`{"gender": {"1": "male", "2": "female"}}`.

Tables of other programs are read too, see `jaxdiff.data.csv_table`, with backslashes or `./` in paths, and with the column of
files called as in `FILE_COLUMNS`.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from jaxdiff.boundary import json_value
from jaxdiff.data import splits
from jaxdiff.data.columns import ValueNames
from jaxdiff.data.csv_table import CsvTable
from jaxdiff.data.files import Files, plain
from jaxdiff.data.readers.reader import Reader, Request, Table
from jaxdiff.errors import InputError

FILE_COLUMNS = ("file", "file_name", "filename", "path", "image_path", "image")
"""Names of the column of image files; of several the first in this order is used."""

_TABLE = "labels.csv"


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
        return request.files is not None and bool(request.files.named(_TABLE))

    def read(self, request: Request) -> Table:
        files = request.files
        assert files is not None
        name = _one_table(files)
        table = CsvTable.parse(files.read(name), f"{files.where}/{name}")
        file_column, rows = _files(table)
        names = _resolve(rows, files, name, file_column)
        columns = {each: np.array(table.column(each)) for each in table.header if each != file_column}
        assigned = np.array(_splits(table)) if columns.pop("split", None) is not None else None
        json_name = str(PurePosixPath(name).with_name("attributes.json"))
        value_names = _json_names(files.read(json_name) if json_name in files else None, columns, f"{files.where}/{json_name}")
        notes = []
        if file_column != "file":
            notes.append(f"the column {file_column!r} of labels.csv names the images")
        if len(names) < len(files.images):
            unnamed = len(files.images) - len(names)
            notes.append(f"{unnamed} of {len(files.images)} images are not in labels.csv and are left out")
        return Table(files, names, columns, assigned, list(rows), value_names, tuple(notes))


def _one_table(files: Files) -> str:
    """The name of `labels.csv`; there must be one."""
    tables = files.named(_TABLE)
    if len(tables) > 1:
        raise InputError(f"{files.where} contains several labels.csv: {', '.join(tables)}")
    if not files.images:
        raise InputError(f"{files.where} {files.no_images}; expected images or archives of them beside labels.csv")
    return tables[0]


def _files(table: CsvTable) -> tuple[str, dict[str, int]]:
    """The name of the column of files, and the row number of each file, in order."""
    column = next((name for name in FILE_COLUMNS if name in table.header), None)
    if column is None:
        others = ", ".join(FILE_COLUMNS[1:])
        raise InputError(f"{table.what} has no column 'file' (or {others}); row 1 has {', '.join(table.header)}")
    files: dict[str, int] = {}
    for number, given in zip(table.numbers, table.column(column), strict=True):
        if not given:
            raise InputError(f"row {number} of {table.what} has no value in column {column!r}")
        file = plain(given)
        if file in files:
            raise InputError(
                f"row {number} of {table.what} repeats {file!r} in column {column!r}, first used in row {files[file]}"
            )
        files[file] = number
    return column, files


def _splits(table: CsvTable) -> list[str]:
    """The split of each row."""
    found = []
    for number, given in zip(table.numbers, table.column("split"), strict=True):
        split = splits.named(given)
        if split is None:
            allowed = ", ".join(splits.SPLITS)
            raise InputError(f"row {number} of {table.what} has {given!r} in column 'split'; allowed values: {allowed}")
        found.append(split)
    return found


def _resolve(rows: Mapping[str, int], files: Files, table: str, column: str) -> list[str]:
    """The image of each entry of the column of files (with its row): by path, else by a unique base name."""
    images = frozenset(files.images)
    counts = Counter(PurePosixPath(name).name for name in files.images)
    by_base = {PurePosixPath(name).name: name for name in files.images}
    resolved: dict[str, int] = {}
    missing: list[str] = []
    for file, row in rows.items():
        what = f"row {row} of {files.where}/{table} has {file!r} in column {column!r}"
        path = files.find(file, beside=table)
        name = path if path in images else by_base.get(file)
        if name is None:
            missing.append(what + (", which is not an image file" if path else ", which does not exist"))
            continue
        if path is None and counts[file] > 1:
            raise InputError(f"{what}, the name of {counts[file]} images; give a path")
        if name in resolved:
            raise InputError(f"{what}: the same image {name} as in row {resolved[name]}")
        resolved[name] = row
    if missing:
        more = f"; {len(missing)} of {len(rows)} images are missing" if len(missing) > 1 else ""
        raise InputError(missing[0] + more)
    return list(resolved)


def _json_names(text: bytes | None, columns: Mapping[str, Any], where: str) -> dict[str, ValueNames]:
    """The names of values in `attributes.json`; `where` is its path in error messages."""
    if text is None:
        return {}
    names = json_value(text, where)
    if not isinstance(names, dict) or not all(map(_are_names, names.values())):
        raise InputError(
            f'{where} must be like {{"gender": ["male", "female"]}} or {{"gender": {{"1": "male", "2": "female"}}}}'
        )
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise InputError(f"{where} names the values of {', '.join(unknown)}, which are not columns of labels.csv")
    return names


def _are_names(given: Any) -> bool:
    texts = given.values() if isinstance(given, dict) else given if isinstance(given, list) else [None]
    return all(isinstance(text, str) for text in texts)
