"""WebDataset: tar shards in which the files of a sample share their name up to the first dot, such as `000017.jpg`,
`000017.cls` and `000017.json`. Of names with further dots, such as `face.17.jpg`, the labels `face.17.cls` are taken first."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxdiff.boundary import json_value, reading
from jaxdiff.data.files import Files
from jaxdiff.data.readers.arrow import text
from jaxdiff.data.readers.placement import Placement
from jaxdiff.data.readers.reader import Reader, Request, Table
from jaxdiff.errors import InputError

_LABELS = {"cls": "label", "txt": "text"}
_SUFFIXES = (*_LABELS, "json")


class WebDataset(Reader):
    """Reads a tar, a folder of tars, or what they unpack to.

    Of the files beside an image, `.cls` is the attribute `label`, `.txt` the attribute `text`, and each entry of a `.json`
    object that is a text, an integer, a boolean or null (missing) in all samples is an attribute by its name; nothing else is
    opened. Splits are the first words of the shards' names, as in `train-000000.tar`. Samples without an image are counted in a
    note. Raises `InputError` if a file of labels is malformed, or two of a sample disagree.
    """

    name = "webdataset"
    about = "tar shards of WebDataset"

    def recognises(self, request: Request) -> bool:
        files = request.files
        if files is None:
            return False
        beside = _label_files(files)
        return any(_labels(beside, name) for name in files.images[:16])

    def read(self, request: Request) -> Table:
        files = request.files
        assert files is not None
        beside = _label_files(files)
        counts = Counter(map(_key, files.images))
        for name in files.images:
            key = _key(name)
            if counts[key] > 1 and key in beside:
                raise InputError(f"{files.where} has {counts[key]} images in sample {key}; expected one")
        rows = [_row(files, _labels(beside, name)) for name in files.images]
        others = {name for row in rows for name, value in row.items() if value is None}
        names = dict.fromkeys(name for row in rows for name in row if name not in others)
        # a sample without an entry has no value of it
        columns = {name: np.array([row.get(name, "") for row in rows]) for name in names}
        placement = Placement.of(files.images, files.archives)
        notes = list(placement.notes)
        if others:
            unused = ", ".join(sorted(others))
            notes.append(f"entries that are not texts, integers, booleans or null in all samples are not used: {unused}")
        paired = {each for name in files.images for each in (_stem(name), _key(name))}
        alone = sum("cls" in found and key not in paired for key, found in beside.items())
        if alone:
            notes.append(f"{alone} of {len(rows) + alone} samples have no image and are left out")
        return Table(files, files.images, columns, placement.splits, notes=tuple(notes))


def _key(name: str) -> str:
    """The name up to the first dot of its base name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _stem(name: str) -> str:
    """The name up to its last dot."""
    return name.rpartition(".")[0]


def _label_files(files: Files) -> dict[str, dict[str, str]]:
    """The files of labels by their stem and suffix; capitals in suffixes do not matter, as in WebDataset."""
    found: dict[str, dict[str, str]] = {}
    for name in files.names:
        suffix = name.rpartition(".")[2].lower()
        if suffix in _SUFFIXES:
            found.setdefault(_stem(name), {})[suffix] = name
    return found


def _labels(beside: Mapping[str, Mapping[str, str]], image: str) -> Mapping[str, str]:
    """The files of labels of an image's sample, by their suffix."""
    return beside.get(_stem(image)) or beside.get(_key(image), {})


def _row(files: Files, labels: Mapping[str, str]) -> Mapping[str, str | None]:
    """The values of a sample by attribute; None for an entry that cannot be one, such as a fraction."""
    found: dict[str, str | None] = {}
    for suffix in _SUFFIXES:
        if suffix not in labels:
            continue
        name = labels[suffix]
        data, what = files.read(name), f"{files.where}/{name}"
        with reading(what):
            entries: Any = json_value(data, what) if suffix == "json" else {_LABELS[suffix]: data.decode().strip()}
        if not isinstance(entries, dict):
            continue  # the values of other JSON have no names
        values = {key: text(value) if isinstance(value, str | int | None) else None for key, value in entries.items()}
        if unequal := sorted(key for key in values.keys() & found.keys() if values[key] != found[key]):
            raise InputError(f"{what} has another {unequal[0]!r} than another file of the sample")
        found |= values
    return found
