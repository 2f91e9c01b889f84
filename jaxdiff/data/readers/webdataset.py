"""WebDataset: tar shards in which the files of a sample share their name up to the first dot, such as `000017.jpg`,
`000017.cls` and `000017.json`."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxdiff.data.files import Files
from jaxdiff.data.readers.arrow import text
from jaxdiff.data.readers.placement import Placement
from jaxdiff.data.readers.reader import Read, Reader, Request, Table
from jaxdiff.errors import InputError

_LABELS = {"cls": "label", "txt": "text"}


class WebDataset(Reader):
    """Reads a tar, a folder of tars, or what they unpack to.

    Of the files beside an image, `.cls` is the attribute `label`, `.txt` the attribute `text`, and each entry of a `.json`
    object that is a text, an integer, a boolean or null (missing) is an attribute by its name; nothing else is opened. Splits
    are the first words of the shards' names, as in `train-000000.tar`. Raises `InputError` if a file of labels is malformed, or
    two of a sample disagree.
    """

    name = "webdataset"
    about = "tar shards of WebDataset"

    def recognises(self, request: Request) -> bool:
        files = request.files
        return files is not None and any(_labels(files, name) for name in files.images[:16])

    def read(self, request: Request) -> Read:
        files = request.files
        assert files is not None
        key, count = Counter(map(_key, files.images)).most_common(1)[0]
        if count > 1:
            raise InputError(f"{files.where} has {count} images in sample {key}; expected one")
        rows = [_row(files, name) for name in files.images]
        names = list(dict.fromkeys(name for row in rows for name in row))
        # a sample without an entry has no value of it
        columns = {name: np.array([row.get(name, "") for row in rows]) for name in names}
        placement = Placement.of(files.images, files.archives)
        return Table(files.images, columns, placement.splits, notes=placement.notes).labelled(files, request)


def _key(name: str) -> str:
    """The name up to the first dot of its base name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _labels(files: Files, image: str) -> dict[str, str]:
    """The files of labels of an image's sample, by their suffix."""
    return {suffix: name for suffix in (*_LABELS, "json") if (name := f"{_key(image)}.{suffix}") in files}


def _row(files: Files, image: str) -> Mapping[str, str]:
    """The values of a sample by attribute."""
    found: dict[str, str] = {}
    for suffix, name in _labels(files, image).items():
        data = files.read(name)
        try:
            entries: Any = json.loads(data) if suffix == "json" else {_LABELS[suffix]: data.decode().strip()}
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{name} of {files.where} is not UTF-8 {'JSON' if suffix == 'json' else 'text'}: {error}"
            ) from error
        if not isinstance(entries, dict):
            continue  # the values of other JSON have no names
        values = {key: text(value) for key, value in entries.items() if value is None or isinstance(value, str | int)}
        if unequal := sorted(key for key in values.keys() & found.keys() if values[key] != found[key]):
            raise InputError(f"{name} of {files.where} has another {unequal[0]!r} than another file of the sample")
        found |= values
    return found
