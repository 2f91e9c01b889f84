"""Samples on disk, as written by `jaxdiff.sampleset.SampleSet`: a data source with provenance."""

import hashlib
import json
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Shaped

from jaxdiff import spaces
from jaxdiff.data.attributes import Attribute
from jaxdiff.data.images import decode
from jaxdiff.data.source import Source
from jaxdiff.errors import InputError
from jaxdiff.npz_file import load_npz
from jaxdiff.spaces import Pixels, Space

FILE = "samples.json"
TIMING = "timing.json"
FORMAT = 1
MARK = "set"  # array or PNG text that identifies the set of a shard
CAPTIONS = "captions"
SHARD = 256
Storage = Literal["npz", "png"]
Opened = TypeVar("Opened", bound="Samples")


class Samples(Source):
    """A folder of samples: samples.json (what they are and how they were made) and the samples in shards.

    Shard k contains the samples k SHARD to (k + 1) SHARD - 1, as shard-00000.npz with an array of decoded samples (uint8
    `images` (n, H, W, C) for pixels), or as PNG files named by index. Notes on each sample are stored in notes-00000.npz. Older
    files do not record a space: they contain images.

    Arguments:
        path: the folder.
        description: the content of samples.json.

    Attributes:
        provenance: how the samples were made: everything that they are a function of.
        captions: text for report pages: `parts`, a list that describes the set, and `image`, a description of how an image gets
            its label, with $own for the label and $others for the other labels; empty for older sets.
        mark: a checksum of everything that the samples are a function of, by which a file is known to be of this set.
    """

    def __init__(self, path: Path, description: dict[str, Any]):
        # captions are not part of the identity of a set
        description = dict(description)
        self.captions = _captions(description.pop(CAPTIONS, None))
        self.path = path
        self.name = str(path)
        self.provenance: dict[str, Any] = description["provenance"]
        self.storage: Storage = description["storage"]
        self.attributes = tuple(Attribute(name, tuple(values)) for name, values in description["attributes"])
        labels = description["labels"]
        self.labels = np.asarray(labels, np.int32).reshape(len(labels), len(self.attributes))
        self._space = description.get("space")
        self.mark = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
        self._loaded: dict[int, np.ndarray] = {}

    @classmethod
    def open(cls: type[Opened], path: str | PathLike[str]) -> Opened:
        """Opens a complete set. Raises `InputError` if there is none or some of its samples are missing."""
        samples = cls(Path(path), read_description(Path(path)))
        if missing := samples.missing():
            count = sum(stop - start for start, stop in missing)
            raise InputError(f"{path} is not finished: {count} of {len(samples)} samples are missing; draw again to finish it")
        return samples

    @cached_property
    def space(self) -> Space:
        """The space of the stored samples; see `jaxdiff.spaces.Space.shown`."""
        return Pixels(*self.image(0).shape) if self._space is None else spaces.from_config(self._space)

    def shards(self) -> list[tuple[int, int]]:
        """All shards, as ranges of indices [start, stop)."""
        return [(start, min(start + SHARD, len(self))) for start in range(0, len(self), SHARD)]

    def missing(self) -> list[tuple[int, int]]:
        """The shards that are not written yet, as ranges of indices [start, stop)."""
        return [(start, stop) for start, stop in self.shards() if not all(file.exists() for file in self._files(start, stop))]

    def sample_notes(self) -> dict[str, np.ndarray]:
        """The notes on each sample of a complete set, arrays (N, ...) by name; empty if there are none."""
        files = [self._notes(start) for start in range(0, len(self), SHARD)]
        if not files[0].exists():
            return {}
        shards = [load_arrays_of(file) for file in files]
        return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}

    @property
    def seconds_per_image(self) -> float | None:
        """The seconds it took to draw one sample; None if not recorded."""
        file = self.path / TIMING
        return json.loads(file.read_text())["seconds_per_image"] if file.exists() else None

    def image(self, i: int) -> Shaped[np.ndarray, "..."]:
        """Sample i, decoded: for pixels an image, uint8 (H, W, C)."""
        start = i // SHARD * SHARD
        if self.storage == "png":
            file = self._files(i, i + 1)[0]
            return decode(file.read_bytes(), str(file))
        if start not in self._loaded:
            self._loaded[start] = self._shard(start)
        return self._loaded[start][i - start]

    def _shard(self, start: int) -> Shaped[np.ndarray, "n ..."]:
        """The samples of an npz shard."""
        file = self._files(start, start + 1)[0]
        shard = load_arrays_of(file)
        samples = shard.get(Pixels.array if self._space is None else self.space.array)
        count, held = min(SHARD, len(self) - start), 0 if samples is None else len(samples)
        if samples is None or held != count:
            raise InputError(f"{file} is damaged: it contains {held} of {count} images; delete it and draw again")
        # sets without a space are images of whatever shape
        shape, dtype = (samples.shape[1:], np.uint8) if self._space is None else (self.space.shape, self.space.dtype)
        if (samples.shape[1:], samples.dtype) != (shape, dtype):
            got = f"{samples.dtype} {samples.shape[1:]}"
            raise InputError(f"{file} is damaged: it contains {got}, not {np.dtype(dtype)} {shape}; delete it and draw again")
        self._require_mark(file, shard.get(MARK), start)
        return samples

    def _marked(self, index: int) -> str:
        """The mark of a file that begins at this index."""
        return f"{self.mark}/{index}"

    def _require_mark(self, file: Path, mark: Any, index: int) -> None:
        # older sets have no marks
        if mark is not None and str(mark) != self._marked(index):
            raise InputError(f"{file} belongs to another set or another position in this set; delete it and draw again")

    def _notes(self, start: int) -> Path:
        return self.path / f"notes-{start // SHARD:05d}.npz"

    def _files(self, start: int, stop: int) -> list[Path]:
        if self.storage == "npz":
            return [self.path / f"shard-{start // SHARD:05d}.npz"]
        return [self.path / "images" / f"{i:07d}.png" for i in range(start, stop)]


def load_arrays_of(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a shard's npz file. Raises `InputError` if it is damaged."""
    try:
        return load_npz(file)
    except InputError as error:
        raise InputError(f"{file} is damaged: {error}; delete it and draw again") from error


def read_description(folder: Path) -> dict[str, Any]:
    """The content of a set's samples.json. Raises `InputError` if it is missing or damaged."""
    file = folder / FILE
    if not file.is_file():
        raise InputError(f"no sample set at {folder}: {FILE} does not exist")
    try:
        description = json.loads(file.read_text())
        version, lacking = description["format"], {"storage", "provenance", "attributes", "labels"} - description.keys()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged: {error}") from error
    if version != FORMAT:
        raise InputError(f"{file} has format {version}, this version of jaxdiff reads format {FORMAT}")
    if lacking:
        raise InputError(f"{file} is damaged: it has no {', '.join(sorted(lacking))}")
    return description


def _captions(given: Any) -> dict[str, Any]:
    """The valid part of captions. They are text only, so invalid ones are dropped instead of raising an error."""
    given = given if isinstance(given, dict) else {}
    parts, image = given.get("parts"), given.get("image")
    kept: dict[str, Any] = {"parts": list(map(str, parts))} if isinstance(parts, list) else {}
    return kept | ({"image": image} if isinstance(image, str) else {})
