"""Samples on disk, as written by `jaxdiff.sampleset.SampleSet`: a data source with provenance."""

import hashlib
import json
import math
from collections.abc import Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from jaxtyping import Bool, Int32, Shaped

from jaxdiff import spaces
from jaxdiff.boundary import read_bytes, read_json, reading
from jaxdiff.bounds import shortened
from jaxdiff.data.attributes import PROMPT, Attribute, attribute_of
from jaxdiff.data.gated import GATE, GATES, REFUSED, GateCounts
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
_MOST_SECONDS = 1e9  # to draw a sample
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
        self.attributes = tuple(map(attribute_of, description["attributes"]))
        self.labels = _labels(description["labels"], self.attributes)
        self._space = description.get("space")
        self.mark = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]
        self._loaded: dict[int, np.ndarray] = {}

    @classmethod
    def open(cls: type[Opened], path: str | PathLike[str]) -> Opened:
        """Opens a complete set. Raises `InputError` if there is none or some of its samples are missing."""
        description = read_description(Path(path))
        with reading(Path(path, FILE)):
            samples = cls(Path(path), description)
        if missing := samples.missing():
            count = sum(stop - start for start, stop in missing)
            raise InputError(f"{path} is not finished: {count} of {len(samples)} samples are missing; draw again to finish it")
        return samples

    @cached_property
    def space(self) -> Space:
        """The space of the stored samples; see `jaxdiff.spaces.Space.shown`."""
        if self._space is None:
            return Pixels(*self.image(0).shape)
        with reading(self.path / FILE):
            return spaces.from_config(self._space)

    @cached_property
    def prompts(self) -> list[str]:
        """The prompt that each sample was asked for with.

        The value of the attribute `prompt`, where there is one: methods may draw an image with more words than the prompt has.
        Otherwise that of the combination of its labels.

        Raises:
            InputError: the samples are not of a text-to-image model, or some have no label.
        """
        table, sizes = self.provenance.get("prompts"), [len(attribute.values) for attribute in self.attributes]
        if table is None:
            raise InputError(f"{self.path} was not drawn by prompts: its {FILE} has none")
        for attribute, labels in zip(self.attributes, self.labels.T, strict=True):
            if attribute.name == PROMPT and labels.min() >= 0:
                return [attribute.values[label] for label in labels]
        if not isinstance(table, list) or len(table) != math.prod(sizes) or not all(isinstance(each, str) for each in table):
            raise InputError(f"{self.path / FILE} is damaged: its prompts {shortened(table)} are not {math.prod(sizes)} texts")
        if self.labels.min(initial=0) < 0:
            raise InputError(f"{self.path} has samples without a label, which have no prompt")
        rows = np.ravel_multi_index(tuple(self.labels.T), tuple(sizes)) if sizes else np.zeros(len(self), int)
        return [table[row] for row in rows]

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
        for (start, stop), file, shard in zip(self.shards(), files, shards, strict=True):
            if shard.keys() != shards[0].keys() or any(each.shape[:1] != (stop - start,) for each in shard.values()):
                raise InputError(f"{file} is damaged: it must have a note on each of {stop - start} samples, by the same names "
                                 "as the others; delete it and its shard, and draw again")  # fmt: skip
        return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}

    @property
    def gated(self) -> bool:
        """Whether the set was drawn with gates."""
        return any(name in self.provenance for name in GATES)

    @cached_property
    def refused(self) -> Bool[np.ndarray, " n"]:
        """Whether a gate refused each sample of a complete set, so that a black image is stored in its place.

        Raises:
            InputError: the set was drawn with gates, and its notes lack what they did.
        """
        if not self.gated:
            return np.zeros(len(self), bool)
        refused = self.sample_notes().get(REFUSED)
        if refused is None or refused.shape != (len(self),):
            raise InputError(f"{self.path} was drawn with gates, and has no notes on what they refused; draw again")
        return refused.astype(bool)

    @property
    def redraws(self) -> Int32[np.ndarray, " n"]:
        """How many times each sample of a complete set was drawn again, from other noise, before it passed a gate."""
        again = self.provenance.get("gate", {}).get("redraws", 0) > 0
        return self.sample_notes()[GATE].astype(np.int32) if again else np.zeros(len(self), np.int32)

    @property
    def gate_counts(self) -> GateCounts | None:
        """What gates caught; None for a set without gates."""
        return GateCounts.of(self.sample_notes(), self.provenance) if self.gated else None

    @property
    def seconds_per_image(self) -> float | None:
        """The seconds it took to draw one sample; None if not recorded."""
        file = self.path / TIMING
        if not file.exists():
            return None
        seconds = read_json(file).get("seconds_per_image")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= _MOST_SECONDS:
            raise InputError(f"{file} must have a number of seconds, got {shortened(seconds)}; delete it, it is not needed")
        return float(seconds)

    def image(self, i: int) -> Shaped[np.ndarray, "..."]:
        """Sample i, decoded: for pixels an image, uint8 (H, W, C)."""
        start = i // SHARD * SHARD
        if self.storage == "png":
            file = self._files(i, i + 1)[0]
            return decode(read_bytes(file), str(file))
        if start not in self._loaded:
            self._loaded[start] = self._shard(start)
        return self._loaded[start][i - start]

    def _shard(self, start: int) -> Shaped[np.ndarray, "n ..."]:
        """The samples of an npz shard."""
        file = self._files(start, start + 1)[0]
        shard = load_arrays_of(file)
        samples = shard.get(Pixels.array if self._space is None else self.space.array)
        count, held = min(SHARD, len(self) - start), 0 if samples is None or not samples.ndim else len(samples)
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
        raise InputError(f"{error}; delete it and draw again") from error


def read_description(folder: Path) -> dict[str, Any]:
    """The content of a set's samples.json. Raises `InputError` if it is missing or damaged."""
    file = folder / FILE
    if not file.is_file():
        raise InputError(f"no sample set at {folder}: {FILE} does not exist")
    description = read_json(file)
    if (version := description.get("format")) != FORMAT:
        raise InputError(f"{file} has format {shortened(version)}, this version of jaxdiff reads format {FORMAT}")
    if lacking := {"storage", "provenance", "attributes", "labels"} - description.keys():
        raise InputError(f"{file} is damaged: it has no {', '.join(sorted(lacking))}")
    attributes, labels = description["attributes"], description["labels"]
    faults = {
        "storage": description["storage"] not in get_args(Storage),
        "provenance": not isinstance(description["provenance"], dict),
        "attributes": not isinstance(attributes, list) or not all(map(_is_attribute, attributes)),
        "labels": not isinstance(labels, list) or not labels or not all(isinstance(row, list) for row in labels),
    }
    if fault := next((name for name, is_fault in faults.items() if is_fault), None):
        raise InputError(f"{file} is damaged: its {fault} {shortened(description[fault])} are of another kind")
    return description


def _is_attribute(given: Any) -> bool:
    return isinstance(given, list) and len(given) == 2 and isinstance(given[1], list)


def _labels(rows: list[Any], attributes: Sequence[Attribute]) -> Int32[np.ndarray, "n a"]:
    """The labels, -1 for none. Raises `InputError` unless each row has one in the range of each attribute."""
    if not attributes and not any(rows):
        return np.zeros((len(rows), 0), np.int32)
    try:
        labels = np.array(rows)
    except (ValueError, OverflowError):  # rows of different lengths, or absurd numbers
        labels = np.array(None)
    most = [len(attribute.values) for attribute in attributes]
    if labels.shape != (len(rows), len(most)) or labels.dtype.kind != "i" or not ((labels >= -1) & (labels < most)).all():
        raise InputError(f"labels must be {len(most)} integers for each sample, from -1 (none) to below {most}")
    return labels.astype(np.int32)


def _captions(given: Any) -> dict[str, Any]:
    """The valid part of captions. They are text only, so invalid ones are dropped instead of raising an error."""
    given = given if isinstance(given, dict) else {}
    parts, image = given.get("parts"), given.get("image")
    kept: dict[str, Any] = {"parts": list(map(str, parts))} if isinstance(parts, list) else {}
    return kept | ({"image": image} if isinstance(image, str) else {})
