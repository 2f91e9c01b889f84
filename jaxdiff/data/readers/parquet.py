"""Parquet files with embedded images, as Hugging Face's hub has them: a file, or a folder of shards such as
`data/train-00000-of-00002.parquet`.

The images are a column of structures with `bytes` and `path`, or of bytes. The class names that `datasets` writes into the
metadata of each file name the values of its columns. Rows are read in groups, of which the latest are kept in memory.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff.data.files import Files
from jaxdiff.data.readers.arrow import class_names, features, is_label, joined, open_parquet, read_columns, read_group, texts
from jaxdiff.data.readers.placement import Placement
from jaxdiff.data.readers.reader import Reader, Request, Table
from jaxdiff.errors import InputError

MEMORY = 2**31
"""The bytes of encoded images that are kept in memory."""


class Parquet(Reader):
    """Reads parquet shards with embedded images: each column of texts, integers or booleans is an attribute.

    Splits are the first words of the shards' names. Other columns are not used, as a note says. Raises `InputError` if pyarrow
    is not installed, a file is damaged, the shards differ in their columns, there is not one column of images, or images are
    missing or are only paths.
    """

    name = "parquet"
    about = "parquet files with embedded images, as of Hugging Face"

    def recognises(self, request: Request) -> bool:
        return bool(_shards(request))

    def read(self, request: Request) -> Table:
        where = str(request.path)
        paths = _shards(request)
        packed = [name for name, path in paths.items() if not path.is_file()]
        if packed:
            raise InputError(f"{where}/{packed[0]} is a parquet file in an archive, where its rows cannot be read; unpack it")
        shards = {name: open_parquet(path, str(path)) for name, path in paths.items()}
        schema = next(iter(shards.values())).schema_arrow
        for name, shard in shards.items():
            if not shard.schema_arrow.equals(schema):
                raise InputError(f"{where}/{name} has other columns than {next(iter(shards))}; expected shards of one data set")
        types = features(schema)
        image = _image_column(schema, types, where)
        usable = [name for name in schema.names if is_label(schema.field(name).type)]
        columns, value_names = {}, {}
        for name in usable:
            parts = []
            for key, shard in shards.items():
                names = class_names(features(shard.schema_arrow).get(name, {}))
                parts.append((texts(read_columns(shard, [name], f"{where}/{key}")[name], classes=names is not None), names))
            values, names = joined(parts)
            columns[name] = np.array(values)
            if names is not None:
                value_names[name] = names
        images = _Images(shards, image, where)
        if not images.names:
            raise InputError(f"{where} has no rows")
        images.read(images.names[0])  # images that are only paths are found here
        placement = Placement.of(images.names, tuple(shards))
        others = [name for name in schema.names if name != image and name not in usable]
        unused = f"columns that are neither texts, integers nor booleans are not used: {', '.join(others)}"
        files = Files(where, images.names, images.read)
        return Table(
            files, images.names, columns, placement.splits,
            value_names=value_names, notes=(*placement.notes, *((unused,) if others else ())),
        )  # fmt: skip


def _shards(request: Request) -> dict[str, Path]:
    """The parquet files by their path within the folder; empty without any. The metadata of an imagefolder do not count."""
    path, files = request.path, request.files
    if path.is_file() and path.suffix.lower() == ".parquet":
        return {path.name: path}
    if files is None:
        return {}
    metadata = files.named("metadata.parquet")
    tables = [name for name in files.names if name.lower().endswith(".parquet") and name not in metadata]
    return {name: path / name for name in tables}


def _image_column(schema: Any, types: Mapping[str, Mapping[str, Any]], where: str) -> str:
    """The name of the one column of images."""
    import pyarrow.types as kinds

    def embedded(kind: Any) -> bool:
        within = kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0
        return within or kinds.is_binary(kind) or kinds.is_large_binary(kind)

    declared = [name for name in schema.names if types.get(name, {}).get("_type") == "Image"]
    found = [name for name in declared or schema.names if embedded(schema.field(name).type)]
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    if len(found) > 1:
        raise InputError(f"{where} has several columns of images, {', '.join(found)}; expected one")
    if not found:
        raise InputError(f"{where} has no column of embedded images, only {columns}; paths of images are not enough")
    return found[0]


class _Images:
    """The encoded images of shards, by names such as `train-00000-of-00001.parquet/17` with the number of the row."""

    def __init__(self, shards: Mapping[str, Any], column: str, where: str):
        self._shards, self._column, self._where = shards, column, where
        self._lock = threading.Lock()  # a ParquetFile is not thread-safe
        self._kept: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._places: dict[str, tuple[str, int, int]] = {}
        for shard, file in shards.items():
            counts = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            places = [(group, row) for group, count in enumerate(counts) for row in range(count)]
            self._places |= {f"{shard}/{i}": (shard, *place) for i, place in enumerate(places)}
        self.names: Sequence[str] = list(self._places)

    def read(self, name: str) -> bytes:
        shard, group, row = self._places[name]
        value = self._group(shard, group)[row].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if data is None:
            path = value.get("path") if isinstance(value, dict) else None
            only = f"is only a path, {path!r}; write the file with embedded images" if path else "is missing"
            raise InputError(f"image {name} of {self._where} {only}")
        return data

    def _group(self, shard: str, group: int) -> Any:
        """The column in a group of rows."""
        with self._lock:
            if (shard, group) not in self._kept:
                read = read_group(self._shards[shard], group, self._column, f"{self._where}/{shard}")
                while self._kept and read.nbytes + sum(each.nbytes for each in self._kept.values()) > MEMORY:
                    self._kept.popitem(last=False)
                self._kept[shard, group] = read
            self._kept.move_to_end((shard, group))
            return self._kept[shard, group]
