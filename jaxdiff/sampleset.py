"""SampleSet: drawn images with their labels and their full provenance on disk, in shards, resumable."""

import csv
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from jaxdiff.data.attributes import Attribute
from jaxdiff.data.images import decode
from jaxdiff.data.source import Source
from jaxdiff.errors import InputError

FILE = "samples.json"
TIMING = "timing.json"
FORMAT = 1
MARK = "set"  # what a shard says it is of
SHARD = 256
Storage = Literal["npz", "png"]


class SampleSet(Source):
    """A folder of samples: samples.json (what they are and how they were made) and the images in shards.

    Shard k holds the samples k SHARD to (k + 1) SHARD - 1, as shard-00000.npz with uint8 `images` (n, H, W, C), or as
    PNG files named by index; what is remembered of each image lies beside it in notes-00000.npz. Each file appears whole or
    not at all, so a set that was cut off anywhere is finished by writing the shards that `missing` names, whoever writes them.
    It is a data source as soon as it is complete.

    Make one with `create` or `open`.
    """

    def __init__(self, path: Path, description: dict[str, Any]):
        self.path = path
        self.name = str(path)
        self.provenance: dict[str, Any] = description["provenance"]
        self.storage: Storage = description["storage"]
        self.attributes = tuple(Attribute(name, tuple(values)) for name, values in description["attributes"])
        self.labels = np.asarray(description["labels"], np.int32).reshape(-1, len(self.attributes))
        self._mark = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
        self._loaded: dict[int, np.ndarray] = {}

    @staticmethod
    def create(
        path: str | os.PathLike,
        provenance: dict[str, Any],
        attributes: Sequence[Attribute],
        labels: Int32[np.ndarray, "n a"],
        storage: Storage = "npz",
    ) -> "SampleSet":
        """Starts a set in a folder, or goes on with the one that is there.

        Arguments:
            path: the folder; made if absent.
            provenance: how the samples are made, JSON-ready: all that they are a function of.
            attributes: the attributes of the samples.
            labels: int32 (N, A), the label of every sample, -1 where an attribute was not told.
            storage: `npz` shards, or `png` files with a labels.csv for other programs.

        Raises:
            InputError: no sample, or the folder holds anything else than this very set, or cannot be written.
        """
        folder = Path(path)
        if len(labels) < 1:
            raise InputError(f"`count` must be at least 1, got {len(labels)}")
        description = {
            "format": FORMAT,
            "storage": storage,
            "provenance": provenance,
            "attributes": [[attribute.name, list(attribute.values)] for attribute in attributes],
            "labels": labels.tolist(),
        }
        if (folder / FILE).exists():
            there = _read(folder)
            if there != json.loads(json.dumps(description)):
                raise InputError(f"{folder} holds another set ({_difference(there, description)}); take another folder")
        elif folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty and holds no sample set (no {FILE}); take another folder")
        else:
            with _writing(folder / FILE) as partial:
                partial.write_text(json.dumps(description))
        # as it is read, in which tuples are lists
        return SampleSet(folder, json.loads(json.dumps(description)))

    @staticmethod
    def open(path: str | os.PathLike) -> "SampleSet":
        """Opens a complete set. Raises `InputError` where there is none or some of its samples are still missing."""
        samples = SampleSet(Path(path), _read(Path(path)))
        if missing := samples.missing():
            count = sum(stop - start for start, stop in missing)
            raise InputError(f"{path} is not finished: {count} of {len(samples)} samples are missing; draw again to finish it")
        return samples

    def shards(self) -> list[tuple[int, int]]:
        """All shards, as ranges of indices [start, stop)."""
        return [(start, min(start + SHARD, len(self))) for start in range(0, len(self), SHARD)]

    def missing(self) -> list[tuple[int, int]]:
        """The shards still to be written, as ranges of indices [start, stop)."""
        return [(start, stop) for start, stop in self.shards() if not all(file.exists() for file in self._files(start, stop))]

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
                _load_arrays(self._notes(start))

    def write(self, start: int, images: UInt8[np.ndarray, "n h w c"], notes: Mapping[str, np.ndarray] | None = None) -> None:
        """Writes the shard that begins at index `start`.

        Arguments:
            start: its first index.
            images: its images.
            notes: what is to be remembered of each image, arrays (n, ...) by name.

        Raises:
            InputError: the disk is full, or the folder cannot be written; what was begun is removed.
        """
        if notes:
            # before the images, so that a shard that is there has its notes
            _save_arrays(self._notes(start), notes)
        files = self._files(start, start + len(images))
        if self.storage == "npz":
            _save_arrays(files[0], {"images": images, MARK: np.array(self._marked(start))})
            return
        for index, (file, image) in enumerate(zip(files, images, strict=True), start):
            told = PngInfo()
            told.add_text(MARK, self._marked(index))
            with _writing(file) as partial:
                Image.fromarray(image).save(partial, format="PNG", pnginfo=told)

    def notes(self) -> dict[str, np.ndarray]:
        """What is remembered of each image of a complete set, arrays (N, ...) by name; nothing where nothing is."""
        files = [self._notes(start) for start in range(0, len(self), SHARD)]
        if not files[0].exists():
            return {}
        shards = [_load_arrays(file) for file in files]
        return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}

    def finish(self) -> None:
        """Writes labels.csv beside PNG files: file, then a column of value names for each attribute that every sample tells."""
        if self.storage == "png":
            names = self._files(0, len(self))
            told = [column for column in range(len(self.attributes)) if self.labels[:, column].min() >= 0]
            with _writing(self.path / "labels.csv") as partial, open(partial, "w", newline="") as opened:
                writer = csv.writer(opened)
                writer.writerow(["file", *(self.attributes[column].name for column in told)])
                for name, row in zip(names, self.labels, strict=True):
                    values = [self.attributes[column].values[row[column]] for column in told]
                    writer.writerow([name.relative_to(self.path).as_posix(), *values])

    def record_seconds(self, seconds: float) -> None:
        """Keeps the seconds that drawing an image took, apart from what the samples are a function of."""
        with _writing(self.path / TIMING) as partial:
            partial.write_text(json.dumps({"seconds_per_image": seconds}))

    @property
    def seconds_per_image(self) -> float | None:
        """The seconds that drawing an image took; None where nothing was recorded."""
        file = self.path / TIMING
        return json.loads(file.read_text())["seconds_per_image"] if file.exists() else None

    def image(self, i: int) -> UInt8[np.ndarray, "height width 3"]:
        """Image i."""
        start = i // SHARD * SHARD
        if self.storage == "png":
            file = self._files(i, i + 1)[0]
            return decode(file.read_bytes(), str(file))
        if start not in self._loaded:
            self._loaded[start] = self._shard(start)
        return self._loaded[start][i - start]

    def _shard(self, start: int) -> UInt8[np.ndarray, "n h w c"]:
        """The images of an npz shard."""
        file = self._files(start, start + 1)[0]
        shard = _load_arrays(file)
        images = shard.get("images", ())
        if len(images) != (count := min(SHARD, len(self) - start)):
            raise InputError(f"{file} is damaged: it holds {len(images)} of {count} images; delete it and draw again")
        self._require_mark(file, shard.get(MARK), start)
        return images

    def _marked(self, index: int) -> str:
        """What a file that begins at this index says that it is of."""
        return f"{self._mark}/{index}"

    def _require_mark(self, file: Path, mark: Any, index: int) -> None:
        # sets of before this was written say nothing
        if mark is not None and str(mark) != self._marked(index):
            raise InputError(f"{file} is of another set, or of another place in this one; delete it and draw again")

    def _notes(self, start: int) -> Path:
        return self.path / f"notes-{start // SHARD:05d}.npz"

    def _files(self, start: int, stop: int) -> list[Path]:
        if self.storage == "npz":
            return [self.path / f"shard-{start // SHARD:05d}.npz"]
        return [self.path / "images" / f"{i:07d}.png" for i in range(start, stop)]


@contextmanager
def _writing(file: Path) -> Iterator[Path]:
    """Where to write a file that then appears whole; where that fails, what was written is removed, and the error is told."""
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
        np.savez(opened, **arrays)


def _load_arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        # opened here, since NumPy leaves the file open where it is no zip
        with open(file, "rb") as opened, np.load(opened) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} is damaged: {error}; delete it and draw again") from error


def _read(folder: Path) -> dict[str, Any]:
    file = folder / FILE
    if not file.is_file():
        raise InputError(f"no sample set at {folder}: {FILE} does not exist")
    try:
        description = json.loads(file.read_text())
        version, lacking = description["format"], {"storage", "provenance", "attributes", "labels"} - description.keys()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged: {error}") from error
    if version != FORMAT:
        raise InputError(f"{file} is of format {version}, this version of jaxdiff reads format {FORMAT}")
    if lacking:
        raise InputError(f"{file} is damaged: it has no {', '.join(sorted(lacking))}")
    return description


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    old, new = there["provenance"], here["provenance"]
    for name in {**new, **old}:
        if old.get(name) != new.get(name):
            return f"{name} {old.get(name)} there, {new.get(name)} now"
    if len(there["labels"]) != len(here["labels"]):
        return f"{len(there['labels'])} samples there, {len(here['labels'])} now"
    return "other labels or another storage"
