"""Data sets of StyleGAN and EDM: images in folders or a zip, and `dataset.json`, `{"labels": [["00000/img00000000.png", 3],
...]}` with a class for each image, or `{"labels": null}`."""

from pathlib import PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jaxdiff.boundary import json_value
from jaxdiff.data.files import plain
from jaxdiff.data.readers.reader import Reader, Request, Table
from jaxdiff.errors import InputError

_FILE = "dataset.json"


class StyleGAN(Reader):
    """Reads a StyleGAN or EDM data set.

    An integer is the attribute `label`. A list of zeros and a single one (one-hot) in all images is too, by the place of the
    one; other lists of zeros and ones are attributes `label0`, `label1`, ... Images without a label are left out and counted in
    a note. Raises `InputError` if `dataset.json` is malformed, labels are other numbers, or the set consists of latents.
    """

    name = "stylegan"
    about = "a zip or folder of StyleGAN or EDM with dataset.json"

    def recognises(self, request: Request) -> bool:
        return request.files is not None and len(request.files.named(_FILE)) == 1

    def read(self, request: Request) -> Table:
        files = request.files
        assert files is not None
        table = files.named(_FILE)[0]
        what = f"{files.where}/{table}"
        if not files.images:
            latents = any(name.endswith(".npy") for name in files.names)
            reason = "contains arrays (latents) and no images; use the set of images they were made from"
            raise InputError(f"{files.where} {reason if latents else files.no_images}")
        labels = _labels(files.read(table), what)
        if labels is None:
            return Table(files, files.images, {}, notes=("there are no labels",))
        folder = PurePosixPath(table).parent
        given = {plain(f"{folder}/{name}"): value for name, value in labels}
        present = [name for name in files.images if name in given]
        if not present:
            raise InputError(f"{what} has labels of none of the {len(files.images)} images, such as {files.images[0]}")
        notes = []
        if len(present) < len(files.images):
            notes.append(f"{len(files.images) - len(present)} of {len(files.images)} images have no label and are left out")
        if len(present) < len(given):
            notes.append(f"{len(given) - len(present)} of {len(given)} labels have no image")
        columns = _columns([given[name] for name in present], what)
        numbered = columns["label"].tolist() if "label" in columns else []
        classes: dict[str, str] = {each: each for each in sorted(set(numbered), key=int)}
        value_names = {"label": classes} if classes else {}  # named, so that there may be any number
        return Table(files, present, columns, value_names=value_names, notes=tuple(notes))


def _labels(data: bytes, what: str) -> list[tuple[str, Any]] | None:
    """The pairs of a file and its label, or None."""
    content = json_value(data, what)
    if not isinstance(content, dict) or "labels" not in content:
        raise InputError(f'{what} must be JSON like {{"labels": [["00000/img00000000.png", 3]]}}')
    labels = content["labels"]
    if labels is None:
        return None
    if not isinstance(labels, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in labels
    ):
        raise InputError(f"`labels` of {what} must be null or a list of pairs of a file and its label")
    return [(name, value) for name, value in labels]


def _columns(values: list[Any], what: str) -> dict[str, Shaped[np.ndarray, " n"]]:
    """The labels by attribute name."""
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return {"label": np.array(values).astype(str)}
    width = len(values[0]) if isinstance(values[0], list) else 0
    if not width or not all(
        isinstance(value, list) and len(value) == width and all(each in (0, 1) for each in value) for value in values
    ):
        raise InputError(f"labels of {what} must be integers, or equally long lists of zeros and ones, got {values[0]!r}")
    table = np.array(values).astype(int)
    if width > 1 and (table.sum(axis=1) == 1).all():
        return {"label": table.argmax(axis=1).astype(str)}
    return {f"label{i}": column.astype(str) for i, column in enumerate(table.T)}
