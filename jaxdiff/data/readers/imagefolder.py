"""Hugging Face's imagefolder: images beside `metadata.csv`, `metadata.jsonl` or `metadata.parquet`, whose column `file_name`
has the path of each image relative to the table, optionally in folders train, validation and test with a table each."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from jaxdiff.boundary import MOST_TEXT, json_value, reading, require_size
from jaxdiff.data.csv_table import CsvTable
from jaxdiff.data.files import plain
from jaxdiff.data.readers.arrow import class_names, features, is_label, joined, open_parquet, read_columns, text, texts
from jaxdiff.data.readers.placement import Placement
from jaxdiff.data.readers.reader import Reader, Request, Table
from jaxdiff.errors import InputError

_TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE = "file_name"


class ImageFolder(Reader):
    """Reads an imagefolder with metadata: each other column of texts, integers or booleans is an attribute.

    Images that no table names are left out and counted in a note. Raises `InputError` if a table is malformed, names an image
    that does not exist or names one twice, or the tables have different columns.
    """

    name = "imagefolder"
    about = "images with metadata.csv, .jsonl or .parquet, as of Hugging Face"

    def recognises(self, request: Request) -> bool:
        return request.files is not None and bool(request.files.images) and bool(request.files.named(*_TABLES))

    def read(self, request: Request) -> Table:
        files = request.files
        assert files is not None
        parts: dict[str, list[tuple[list[str], dict[str, str] | None]]] = {}
        names: dict[str, None] = {}
        left_out: list[str] = []
        images = frozenset(files.images)
        for table in files.named(*_TABLES):
            what = f"{files.where}/{table}"
            found, classes, others = _parse(files.read(table), table, what)
            left_out += [name for name in others if name not in left_out]
            if _FILE not in found:
                raise InputError(f"{what} has no column {_FILE!r}; it has {', '.join(found) or 'none'}")
            for name in _paths(found.pop(_FILE), table, images, what):
                if name in names:
                    raise InputError(f"{what} names {name}, which was named before")
                names[name] = None
            if parts and parts.keys() != found.keys():
                differing = ", ".join(sorted(parts.keys() ^ found.keys()))
                raise InputError(f"{what} must have the columns of the other metadata of the set; they differ in {differing}")
            for name, values in found.items():
                parts.setdefault(name, []).append((values, classes.get(name)))
        if not names:
            raise InputError(f"the metadata of {files.where} have no rows")
        placement = Placement.of(list(names), files.archives)
        notes = list(placement.notes)
        if left_out:
            notes.append(f"columns that are neither texts, integers nor booleans are not used: {', '.join(left_out)}")
        if len(names) < len(images):
            notes.append(f"{len(images) - len(names)} of {len(images)} images are in no metadata and are left out")
        columns = {name: joined(each) for name, each in parts.items()}
        return Table(
            files, list(names), {name: np.array(values) for name, (values, _) in columns.items()}, placement.splits,
            value_names={name: classes for name, (_, classes) in columns.items() if classes is not None}, notes=tuple(notes),
        )  # fmt: skip


def _paths(given: Sequence[str], table: str, images: frozenset[str], what: str) -> list[str]:
    """The image of each entry of `file_name`."""
    folder = PurePosixPath(table).parent
    paths = [plain(f"{folder}/{each}") for each in given]
    for path, each in zip(paths, given, strict=True):
        if path not in images:
            raise InputError(f"{what} names {each!r}, which does not exist")
    return paths


def _parse(data: bytes, name: str, what: str) -> tuple[dict[str, list[str]], dict[str, dict[str, str]], list[str]]:
    """The columns of a table as text, the names of values that it gives, and the columns of other types."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".csv":
        table = CsvTable.parse(data, what)
        return {column: table.column(column) for column in table.header}, {}, []
    if suffix == ".jsonl":
        found, others = _json_lines(data, what)
        return found, {}, others
    opened = open_parquet(data, what)
    types = features(opened.schema_arrow)
    classes = {column: names for column in types if (names := class_names(types[column])) is not None}
    content = read_columns(opened, None, what)
    usable = [column for column in content.column_names if is_label(content.schema.field(column).type)]
    found = {column: texts(content[column], classes=column in classes) for column in usable}
    return found, classes, [column for column in content.column_names if column not in usable]


def _json_lines(data: bytes, what: str) -> tuple[dict[str, list[str]], list[str]]:
    """The columns of a table of a JSON object a line; an entry that a line lacks, or null, is missing. Also the
    entries of other types."""
    rows: list[Mapping[str, Any]] = []
    with reading(what):
        require_size(len(data), what, most=MOST_TEXT)
        lines = data.decode("utf-8-sig").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = json_value(line, f"line {number} of {what}")
        if not isinstance(row, dict) or not isinstance(row.get(_FILE), str):
            raise InputError(f"line {number} of {what} must be an object with a text {_FILE!r}")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    usable = [name for name in names if all(isinstance(row.get(name), str | int | None) for row in rows)]
    return {name: [text(row.get(name)) for row in rows] for name in usable}, [n for n in names if n not in usable]
