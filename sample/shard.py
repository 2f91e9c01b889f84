"""A shard of a set while it is drawn. Of one that takes long, parts are kept until it is whole, so that a kill loses little."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from jaxdiff._console.sealed import intact, sealed, unsealed
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Space
from jaxdiff.writing import remove, whole

EVERY = 60.0
"""Seconds of drawing after which what is drawn of a shard is kept."""
FOLDER = "drawn.parts"
"""The folder of the parts, in that of the set; it is gone when the set is finished."""
_SAMPLES, _SET, _NOTE = "samples", "set", "note "


class Shard:
    """The samples [start, stop) of a set, drawn in batches in their order.

    A part is a file of one or more batches, decoded, so that the shard is the same to the byte as one drawn at once.

    Arguments:
        samples: the set.
        space: the space that the samples are drawn in.
        start, stop: the range of its indices.
        count: the number of its samples in parts, from `kept`.
    """

    def __init__(self, samples: SampleSet, space: Space, start: int, stop: int, count: int):
        self._set, self._space, self._start, self._stop = samples, space, start, stop
        self._position, self._since = start + count, time.monotonic()
        self._drawn: list[dict[str, np.ndarray]] = []

    def add(self, drawn: Float[np.ndarray, "b ..."], notes: Mapping[str, Shaped[np.ndarray, "b ..."]]) -> None:
        """Decodes the next batch, of which samples beyond the end of the shard are left out.

        Raises:
            InputError: a sample is not finite.
        """
        count = min(len(drawn), self._stop - self._position)
        if not count:
            return
        if len(bad := np.flatnonzero(~np.isfinite(drawn[:count]).all(tuple(range(1, drawn.ndim))))):
            raise InputError(f"the model returned NaN or infinity in {len(bad)} samples, the first {self._position + bad[0]}")
        named = {f"{_NOTE}{name}": values[:count] for name, values in notes.items()}
        self._drawn.append({_SAMPLES: self._space.decode(drawn)[:count], **named})
        self._position += count

    def keep(self) -> None:
        """Writes what was drawn since the last part, if that took `EVERY` seconds and the shard is not whole.

        Raises:
            InputError: it cannot be written.
        """
        if self._position == self._stop or time.monotonic() - self._since < EVERY:
            return
        part = _joined(self._drawn)
        first = self._position - len(part[_SAMPLES])
        with whole(self._set.path / FOLDER / f"{first:07d}-{self._position:07d}.part") as partial:
            partial.write_bytes(sealed({**part, _SET: np.array(self._set.mark)}))
        self._drawn, self._since = [], time.monotonic()

    def write(self) -> None:
        """Writes the shard, and removes its parts.

        Raises:
            InputError: it cannot be written, or its parts were damaged in the meantime.
        """
        drawn = _joined([*_parts(self._set, self._start, self._stop).values(), *self._drawn])
        if len(drawn[_SAMPLES]) != self._stop - self._start:
            raise InputError(f"the parts in {self._set.path / FOLDER} were changed while they were used; draw again")
        notes = {name.removeprefix(_NOTE): values for name, values in drawn.items() if name.startswith(_NOTE)}
        self._set.write(self._start, drawn[_SAMPLES], notes)
        for file in _files(self._set, self._start, self._stop):
            remove(file)


def kept(samples: SampleSet, start: int, stop: int) -> int:
    """The number of samples of a shard in parts, from its first sample on without a gap. Removes parts of no use."""
    parts = _parts(samples, start, stop)
    for file in _files(samples, start, stop) - parts.keys():
        remove(file)
    return sum(len(part[_SAMPLES]) for part in parts.values())


def remove_parts(samples: SampleSet) -> None:
    """Removes the parts of all shards, with their folder."""
    remove(samples.path / FOLDER)


def _parts(samples: SampleSet, start: int, stop: int) -> dict[Path, dict[str, np.ndarray]]:
    """The parts of a shard without a gap, by file."""
    found: dict[Path, dict[str, np.ndarray]] = {}
    while start < stop and (first := next(_beginning(samples, start), None)):
        file, part = first
        found[file], start = part, start + len(part[_SAMPLES])
    return found


def _beginning(samples: SampleSet, index: int) -> Iterator[tuple[Path, dict[str, np.ndarray]]]:
    """The parts whose first sample has this index; one that is damaged, or of another set, counts as absent."""
    for file in (samples.path / FOLDER).glob(f"{index:07d}-*.part"):
        content = intact(file)
        part = unsealed(content) if content else {}
        if str(part.pop(_SET, "")) == samples.mark:
            yield file, part


def _files(samples: SampleSet, start: int, stop: int) -> set[Path]:
    """All files of the parts of a shard, whole or not."""
    files = (samples.path / FOLDER).glob("*-*.*")
    return {file for file in files if start <= int(file.name.split("-")[0]) < stop}


def _joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of several parts, one after another."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
