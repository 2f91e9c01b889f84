"""A folder or a zip of images with labels in `labels.csv`.

A folder contains `labels.csv` and either image files at any depth or one zip of them; alternatively, one zip contains both.
`labels.csv` has a column `file`, optionally a column `split` (train, validation or test), and one column per attribute.
`file` is the path of an image relative to the folder or within the zip, or its base name if that is unique. An optional
`attributes.json` next to `labels.csv` names the values: `{"gender": ["male", "female"]}`.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jaxdiff.data import splits
from jaxdiff.data.files import Files
from jaxdiff.data.readers.reader import Read, Reader, Request, Table
from jaxdiff.errors import InputError

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
        assert files is not None
        table = _one_table(files)
        rows, columns = _parse(files.read(table), files.where)
        names = _resolve(rows, files.images, files.where)
        assigned = columns.pop("split") if "split" in columns else None
        json_name = str(PurePosixPath(table).with_name("attributes.json"))
        value_names = _json_names(files.read(json_name) if json_name in files else None, columns, files.where)
        return Table(names, columns, assigned, list(rows), value_names).labelled(files, request)


def _one_table(files: Files) -> str:
    """The name of `labels.csv`; there must be one."""
    tables = [name for name in files.names if PurePosixPath(name).name == "labels.csv"]
    if len(tables) != 1:
        several = f"{files.where} contains several labels.csv: {', '.join(tables)}"
        raise InputError(several if tables else _NO_LABELS.format(files.where))
    if not files.images:
        raise InputError(f"{files.where} contains no image files; expected images or one zip of them")
    return tables[0]


def _parse(table: bytes, where: str) -> tuple[dict[str, int], dict[str, Shaped[np.ndarray, " n"]]]:
    """The row number of each file in `labels.csv`, in order, and the other columns."""
    what = f"labels.csv of {where}"
    try:
        # skips blank lines, which many programs leave at the end
        reader = csv.reader(io.StringIO(table.decode("utf-8-sig"), newline=""), strict=True)
        rows = [(number, row) for number, row in enumerate(reader, start=1) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{what} is not a UTF-8 CSV table: {error}") from error
    header = [name.strip() for name in rows[0][1]] if rows else []
    if "file" not in header:
        raise InputError(f"{what} has no column 'file'; row 1 has {', '.join(header) or 'none'}")
    if "" in header or len(set(header)) != len(header):
        raise InputError(f"{what} must have distinct, non-empty column names; row 1 has {', '.join(header)}")
    if len(rows) == 1:
        raise InputError(f"{what} has no rows below the header")
    columns: dict[str, list[str]] = {name: [] for name in header}
    files: dict[str, int] = {}
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(f"row {number} of {what} has {len(row)} fields; expected {len(header)}: {', '.join(header)}")
        for name, value in zip(header, row, strict=True):
            value = value.strip()
            if not value:
                raise InputError(f"row {number} of {what} has no value in column {name!r}")
            columns[name].append(value)
        file = columns["file"][-1]
        if file in files:
            raise InputError(f"row {number} of {what} repeats {file!r} in column 'file', first used in row {files[file]}")
        if "split" in columns and columns["split"][-1] not in splits.SPLITS:
            got = columns["split"][-1]
            raise InputError(
                f"row {number} of {what} has {got!r} in column 'split'; allowed values: {', '.join(splits.SPLITS)}"
            )
        files[file] = number
    return files, {name: np.array(values) for name, values in columns.items() if name != "file"}


def _resolve(files: Mapping[str, int], names: Sequence[str], where: str) -> list[str]:
    """The image of each entry of column `file` (with its row): by path, else by a unique base name."""
    paths = set(names)
    counts = Counter(PurePosixPath(name).name for name in names)
    by_base = {PurePosixPath(name).name: name for name in names}
    resolved: dict[str, int] = {}
    for file, row in files.items():
        what = f"row {row} of labels.csv of {where} has {file!r} in column 'file'"
        name = file if file in paths else by_base.get(file)
        if name is None:
            raise InputError(f"{what}, which does not exist")
        if name != file and counts[file] > 1:
            raise InputError(f"{what}, the name of {counts[file]} images; give a path")
        if name in resolved:
            raise InputError(f"{what}: the same image {name} as in row {resolved[name]}")
        resolved[name] = row
    return list(resolved)


def _json_names(text: bytes | None, columns: Mapping[str, Any], where: str) -> dict[str, list[str]]:
    """The names of values in `attributes.json`."""
    if text is None:
        return {}
    try:
        names = json.loads(text)
    except ValueError as error:
        raise InputError(f"attributes.json of {where} is not JSON: {error}") from error
    if not isinstance(names, dict) or not all(
        isinstance(each, list) and all(isinstance(name, str) for name in each) for each in names.values()
    ):
        raise InputError(f'attributes.json of {where} must be like {{"gender": ["male", "female"]}}')
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise InputError(
            f"attributes.json of {where} names the values of {', '.join(unknown)}, which are not columns of labels.csv"
        )
    return names
