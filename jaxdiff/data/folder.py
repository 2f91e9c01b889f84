"""A folder or a zip of images with labels in `labels.csv`.

A folder contains `labels.csv` and either image files at any depth or one zip of them; alternatively, one zip contains both.
`labels.csv` has a column `file`, optionally a column `split` (train, validation or test), and one column per attribute.
`file` is the path of an image relative to the folder or within the zip, or its base name if that is unique. An optional
`attributes.json` next to `labels.csv` names the values: `{"gender": ["male", "female"]}`.
"""

import csv
import io
import json
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int32, Shaped, UInt8

from jaxdiff.data import splits
from jaxdiff.data.attributes import Attribute
from jaxdiff.data.columns import label
from jaxdiff.data.images import SUFFIXES, decode
from jaxdiff.data.source import Source
from jaxdiff.errors import InputError

_NO_LABELS = "{} contains no labels.csv; expected a table with a column `file` and one column per attribute"


class FileSource(Source):
    """Encoded images, read and decoded on demand.

    Arguments:
        files: the name of each image, as used in error messages and passed to `read`.
        read: returns the bytes of an image file by name; must be thread-safe.
        labels: int32 (N, A).
        attributes: the A attributes.
        name: the name of the source in error messages and reports.
    """

    def __init__(
        self,
        files: Sequence[str],
        read: Callable[[str], bytes],
        labels: Int32[np.ndarray, "n a"],
        attributes: Sequence[Attribute],
        *,
        name: str,
    ):
        self.files, self.labels, self.attributes, self.name = tuple(files), labels, tuple(attributes), name
        self._read = read

    def image(self, i: int) -> UInt8[np.ndarray, "height width c"]:
        file = self.files[i]
        try:
            data = self._read(file)
        except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # RuntimeError: the zip is encrypted
            raise InputError(f"{file} of {self.name} cannot be read: {error}") from error
        return decode(data, f"{file} of {self.name}")


class Archive:
    """Members of a zip by name. Raises `InputError` if the file is not a zip."""

    def __init__(self, path: Path):
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is not a readable zip file: {error}") from error
        self._lock = threading.Lock()  # a ZipFile has one file handle, and grain reads from several threads
        self.names = [each for each in self._zip.namelist() if not each.endswith("/")]

    def read(self, name: str) -> bytes:
        with self._lock:
            return self._zip.read(name)


def read(
    path: Path, *, attributes: Sequence[str] | None, value_names: Mapping[str, Sequence[str]]
) -> tuple[FileSource, Shaped[np.ndarray, " n"]]:
    """The labelled images of a folder or a zip, and the split of each.

    Splits come from the column `split`, or else from a hash of the column `file`. Columns become attributes as described in
    `jaxdiff.data.columns.label`; `value_names` takes precedence over `attributes.json`.

    Raises:
        InputError: `labels.csv` is missing or malformed (the message names the column and the row, with the header as row 1),
            an image is missing, or the attributes are invalid; see `label`.
    """
    names, read_image, table, json_text = _contents(path)
    rows, columns = _parse(table, str(path))
    files = _resolve(rows, names, str(path))
    assigned = columns.pop("split") if "split" in columns else splits.by_hash(rows)
    value_names = {**_json_names(json_text, columns, str(path)), **value_names}
    found, labels = label(columns, len(files), where=str(path), attributes=attributes, value_names=value_names)
    return FileSource(files, read_image, labels, found, name=str(path)), assigned


def _contents(path: Path) -> tuple[list[str], Callable[[str], bytes], bytes, bytes | None]:
    """The names of all images, a function that reads one, and the bytes of `labels.csv` and of `attributes.json`, if any."""
    if path.is_dir():
        if not (path / "labels.csv").is_file():
            raise InputError(_NO_LABELS.format(path))
        names = [each.relative_to(path).as_posix() for each in sorted(path.rglob("*")) if each.suffix.lower() in SUFFIXES]
        json_file = path / "attributes.json"
        side = (path / "labels.csv").read_bytes(), json_file.read_bytes() if json_file.is_file() else None
        if names:
            return names, lambda name: (path / name).read_bytes(), *side
        archives = sorted(path.glob("*.zip"))
        if len(archives) != 1:
            raise InputError(
                f"{path} contains no image files and {len(archives)} zip files; expected images or one zip of them"
            )
        archive = Archive(archives[0])
        return _images(archive), archive.read, *side
    if not path.is_file():
        raise InputError(f"file {path} does not exist")
    archive = Archive(path)
    tables = [name for name in archive.names if PurePosixPath(name).name == "labels.csv"]
    if len(tables) != 1:
        raise InputError(_NO_LABELS.format(path) if not tables else f"{path} contains several labels.csv: {', '.join(tables)}")
    json_name = str(PurePosixPath(tables[0]).with_name("attributes.json"))
    json_text = archive.read(json_name) if json_name in archive.names else None
    return _images(archive), archive.read, archive.read(tables[0]), json_text


def _images(archive: Archive) -> list[str]:
    # zips made on macOS contain a metadata file `__MACOSX/._NAME` for every file
    return [
        name
        for name in archive.names
        if PurePosixPath(name).suffix.lower() in SUFFIXES and not PurePosixPath(name).name.startswith("._")
    ]


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


def _resolve(files: Mapping[str, int], names: list[str], where: str) -> list[str]:
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
