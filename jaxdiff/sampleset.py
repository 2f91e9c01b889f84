"""SampleSet: drawn samples with their labels and their full provenance on disk, in shards, resumable."""

import csv
import json
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Shaped
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jaxdiff.data.attributes import Attribute
from jaxdiff.data.samples import CAPTIONS, FILE, FORMAT, MARK, TIMING, Samples, Storage, load_arrays_of, read_description
from jaxdiff.errors import InputError
from jaxdiff.spaces import Pixels, Space


class SampleSet(Samples):
    """A set of samples that is being drawn, or has been.

    Each file appears whole or not at all, so a set that was cut off anywhere is finished by writing the shards that `missing`
    names, whoever writes them. It is a data source as soon as it is complete.

    Make one with `create` or `open`.
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
        """Starts a set in a folder, or goes on with the one that is there.

        Arguments:
            path: the folder; made if absent.
            provenance: how the samples are made, JSON-ready: all that they are a function of.
            attributes: the attributes of the samples.
            labels: int32 (N, A), the label of every sample, -1 where nothing is said of an attribute.
            space: of the model; what is stored is what a user sees in it.
            storage: `npz` shards, or for images `png` files with a labels.csv for other programs.
            captions: words for pages about the set, see `Samples`; what the samples are does not depend on them.

        Raises:
            InputError: no sample, samples that are no images as `png`, or the folder holds anything else than this very set, or
                cannot be written.
        """
        folder = Path(path)
        if len(labels) < 1:
            raise InputError(f"`count` must be at least 1, got {len(labels)}")
        if storage == "png" and not space.shown.image_files:
            raise InputError(f"`storage` png is for images; a set of {space.shown.array} takes npz")
        description = {
            "format": FORMAT,
            "space": space.shown.config(),
            "storage": storage,
            "provenance": provenance,
            "attributes": [[attribute.name, list(attribute.values)] for attribute in attributes],
            "labels": labels.tolist(),
        }
        # as it is read, in which tuples are lists
        description = json.loads(json.dumps(description))
        if (folder / FILE).exists():
            there = read_description(folder)
            captions = there.pop(CAPTIONS, None)
            if "space" not in there and space.shown.array == Pixels.array:
                del description["space"]  # a set that was begun before sets said so
            if there != description:
                raise InputError(f"{folder} holds another set ({_difference(there, description)}); take another folder")
        elif folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty and holds no sample set (no {FILE}); take another folder")
        else:
            with _writing(folder / FILE) as partial:
                partial.write_text(json.dumps(description | ({} if captions is None else {CAPTIONS: captions})))
        return SampleSet(folder, description | {CAPTIONS: captions})

    def check(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Reads shards that are there, to find what is damaged before anything is drawn.

        Arguments:
            ranges: of indices [start, stop), as of `shards`.

        Raises:
            InputError: one is cut off or damaged, or it is of another set or of another place in this one.
        """
        for start, stop in ranges:
            if self.storage == "npz":
                self._shard(start)
            for i in range(start, stop) if self.storage == "png" else ():
                file = self._files(i, i + 1)[0]
                try:
                    with Image.open(file) as image:
                        mark = image.info.get(MARK)
                        image.verify()
                except (OSError, SyntaxError, ValueError, AttributeError) as error:
                    raise InputError(f"{file} is damaged: {error}; delete it and draw again") from error
                self._require_mark(file, mark, i)
            if self._notes(start).exists():
                load_arrays_of(self._notes(start))

    def write(self, start: int, samples: Shaped[np.ndarray, "n ..."], notes: Mapping[str, np.ndarray] | None = None) -> None:
        """Writes the shard that begins at index `start`.

        Arguments:
            start: its first index.
            samples: as a user sees them, see `jaxdiff.spaces.Space.decode`.
            notes: what is to be remembered of each sample, arrays (n, ...) by name.

        Raises:
            InputError: samples of another space; the disk is full, or the folder cannot be written; what was begun is removed.
        """
        if self._space is not None:
            self.space.check(samples)
        if notes:
            # before the samples, so that a shard that is there has its notes
            _save_arrays(self._notes(start), notes)
        files = self._files(start, start + len(samples))
        if self.storage == "npz":
            array = Pixels.array if self._space is None else self.space.array
            _save_arrays(files[0], {array: samples, MARK: np.array(self._marked(start))})
            return
        for index, (file, image) in enumerate(zip(files, samples, strict=True), start):
            text = PngInfo()
            text.add_text(MARK, self._marked(index))
            with _writing(file) as partial:
                Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(partial, format="PNG", pnginfo=text)

    def finish(self) -> None:
        """Writes labels.csv beside PNG files: file, then a column of value names for each attribute of which every sample
        has a label."""
        if self.storage == "png":
            names = self._files(0, len(self))
            labelled = [column for column in range(len(self.attributes)) if self.labels[:, column].min() >= 0]
            with _writing(self.path / "labels.csv") as partial, open(partial, "w", newline="") as opened:
                writer = csv.writer(opened)
                writer.writerow(["file", *(self.attributes[column].name for column in labelled)])
                for name, row in zip(names, self.labels, strict=True):
                    values = [self.attributes[column].values[row[column]] for column in labelled]
                    writer.writerow([name.relative_to(self.path).as_posix(), *values])

    def record_seconds(self, seconds: float) -> None:
        """Keeps the seconds that drawing a sample took, apart from what the samples are a function of."""
        with _writing(self.path / TIMING) as partial:
            partial.write_text(json.dumps({"seconds_per_image": seconds}))


@contextmanager
def _writing(file: Path) -> Generator[Path, None, None]:
    """Where to write a file that then appears whole; where that fails, what was written is removed."""
    partial = file.with_suffix(".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, file)
    except Exception as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise InputError(f"cannot write {file}: {error.strerror or error}") from error


def _save_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with _writing(file) as partial, open(partial, "wb") as opened:
        np.savez(opened, **arrays)  # ty: ignore[invalid-argument-type]  # no array is named `allow_pickle`


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    old, new = there["provenance"], here["provenance"]
    for name in {**new, **old}:
        if old.get(name) != new.get(name):
            return f"{name} {old.get(name)} there, {new.get(name)} now"
    if len(there["labels"]) != len(here["labels"]):
        return f"{len(there['labels'])} samples there, {len(here['labels'])} now"
    return "other labels, another space or another storage"
