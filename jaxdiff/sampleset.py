"""SampleSet: samples on disk with their labels and full provenance, in shards, resumable."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Shaped
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jaxdiff.boundary import read_bytes, reading
from jaxdiff.data.attributes import Attribute
from jaxdiff.data.images import open_image
from jaxdiff.data.samples import CAPTIONS, FILE, FORMAT, MARK, TIMING, Samples, Storage, load_arrays_of, read_description
from jaxdiff.errors import InputError
from jaxdiff.spaces import Pixels, Space
from jaxdiff.writing import other_files, whole, write_text


class SampleSet(Samples):
    """A set of samples, complete or being drawn.

    Each file is written atomically, so an interrupted set is finished by writing the shards that `missing` returns, from any
    process. A complete set is a data source.

    Create one with `create` or `open`.
    """

    @staticmethod
    def create(
        path: str | os.PathLike,
        provenance: dict[str, Any],
        attributes: Sequence[Attribute],
        labels: Int32[np.ndarray, "n a"],
        space: Space,
        storage: Storage = "npz",
        captions: Mapping[str, Any] | None = None,
    ) -> "SampleSet":
        """Starts a set in a folder, or continues the one that is there.

        Arguments:
            path: the folder; created if absent.
            provenance: how the samples are made, JSON-ready: everything that they are a function of.
            attributes: the attributes of the samples.
            labels: int32 (N, A), the label of every sample, -1 where an attribute has no label.
            space: the space of the model; samples are stored decoded.
            storage: `npz` shards or, for images, `png` files with a labels.csv for other programs.
            captions: text for report pages, see `Samples`; not part of the identity of the set.

        Raises:
            InputError: there are no samples, `png` is used for samples other than images, or the folder contains anything other
                than this set or cannot be written.
        """
        folder = Path(path)
        if len(labels) < 1:
            raise InputError(f"`count` must be at least 1, got {len(labels)}")
        if storage == "png" and not space.shown.image_files:
            raise InputError(f"`storage` png is only for images; use npz for a set of {space.shown.array}")
        description = {
            "format": FORMAT,
            "space": space.shown.config(),
            "storage": storage,
            "provenance": provenance,
            "attributes": [[attribute.name, list(attribute.values)] for attribute in attributes],
            "labels": labels.tolist(),
        }
        # as read from JSON, with lists for tuples
        description = json.loads(json.dumps(description))
        if (folder / FILE).exists():
            there = read_description(folder)
            captions = there.pop(CAPTIONS, None)
            if "space" not in there and space.shown.array == Pixels.array:
                del description["space"]  # an older set, which does not record it
            if there != description:
                raise InputError(f"{folder} contains another set ({_difference(there, description)}); use another folder")
        elif folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; use another folder")
        elif other_files(folder, FILE):
            raise InputError(f"{folder} is not empty and is not a sample set (no {FILE}); use another folder")
        else:
            write_text(folder / FILE, json.dumps(description | ({} if captions is None else {CAPTIONS: captions})))
        return SampleSet(folder, description | {CAPTIONS: captions})

    def check(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Reads existing shards, to find damaged ones before drawing.

        Arguments:
            ranges: ranges of indices [start, stop), as of `shards`.

        Raises:
            InputError: a shard is truncated or damaged, or belongs to another set or another position in this set.
        """
        for start, stop in ranges:
            if self.storage == "npz":
                self._shard(start)
            for i in range(start, stop) if self.storage == "png" else ():
                file = self._files(i, i + 1)[0]
                with reading(file, "delete it and draw again"), open_image(io.BytesIO(read_bytes(file)), str(file)) as image:
                    mark = image.info.get(MARK)
                    image.verify()
                self._require_mark(file, mark, i)
            if self._notes(start).exists():
                load_arrays_of(self._notes(start))

    def write(self, start: int, samples: Shaped[np.ndarray, "n ..."], notes: Mapping[str, np.ndarray] | None = None) -> None:
        """Writes the shard that begins at index `start`.

        Arguments:
            start: its first index.
            samples: decoded samples, see `jaxdiff.spaces.Space.decode`.
            notes: notes on each sample, arrays (n, ...) by name.

        Raises:
            InputError: the samples are of another space, or the file cannot be written; an incomplete file is removed.
        """
        if self._space is not None:
            self.space.check(samples)
        if notes:
            # before the samples, so that every existing shard has its notes
            _save_arrays(self._notes(start), notes)
        files = self._files(start, start + len(samples))
        if self.storage == "npz":
            array = Pixels.array if self._space is None else self.space.array
            _save_arrays(files[0], {array: samples, MARK: np.array(self._marked(start))})
            return
        for index, (file, image) in enumerate(zip(files, samples, strict=True), start):
            text = PngInfo()
            text.add_text(MARK, self._marked(index))
            with whole(file) as partial:
                Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(partial, format="PNG", pnginfo=text)

    def finish(self) -> None:
        """Writes labels.csv next to PNG files: the file, and value names for each attribute for which every sample has a
        label. Images that a gate refused are left out."""
        if self.storage == "png":
            names = self._files(0, len(self))
            labelled = [column for column in range(len(self.attributes)) if self.labels[:, column].min() >= 0]
            with whole(self.path / "labels.csv") as partial, open(partial, "w", newline="") as opened:
                writer = csv.writer(opened)
                writer.writerow(["file", *(self.attributes[column].name for column in labelled)])
                for name, row, refused in zip(names, self.labels, self.refused, strict=True):
                    if refused:
                        continue  # other programs would take it for an image
                    values = [self.attributes[column].values[row[column]] for column in labelled]
                    writer.writerow([name.relative_to(self.path).as_posix(), *values])

    def record_seconds(self, seconds: float) -> None:
        """Records the seconds it took to draw one sample, separately from the provenance."""
        write_text(self.path / TIMING, json.dumps({"seconds_per_image": seconds}))


def _save_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with whole(file) as partial, open(partial, "wb") as opened:
        np.savez(opened, **arrays)  # ty: ignore[invalid-argument-type]  # no array is named `allow_pickle`


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    old, new = there["provenance"], here["provenance"]
    for name in {**new, **old}:
        if old.get(name) != new.get(name):
            return f"{name} {old.get(name)} there, {new.get(name)} now"
    if len(there["labels"]) != len(here["labels"]):
        return f"{len(there['labels'])} samples there, {len(here['labels'])} now"
    return "other labels, another space or another storage"
