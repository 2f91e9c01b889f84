"""A shard of a set while it is drawn. Of one that takes long, parts are kept until it is whole, so that a kill loses little."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

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
    """The samples [start, stop) of a set, drawn in batches.

    A part is a file of consecutive samples, decoded, so that the shard is the same to the byte as one drawn at once.

    Arguments:
        samples: the set.
        start, stop: the range of its indices.
        count: the number of its samples in parts, from `kept`.
    """

    def __init__(self, samples: SampleSet, start: int, stop: int, count: int):
        self._set, self._start, self._stop = samples, start, stop
        self._position, self._since = start + count, time.monotonic()
        self._drawn: dict[int, dict[str, np.ndarray]] = {}

    def add(
        self,
        indices: Int[np.ndarray, " b"],
        decoded: Shaped[np.ndarray, "b ..."],
        notes: Mapping[str, Shaped[np.ndarray, "b ..."]],
    ) -> None:
        """Adds finished samples, in any order, with notes on each."""
        named = {_SAMPLES: decoded, **{f"{_NOTE}{name}": values for name, values in notes.items()}}
        for row, index in enumerate(indices.tolist()):
            self._drawn[index] = {name: values[row] for name, values in named.items()}

    def keep(self) -> None:
        """Writes what was drawn since the last part, if that took `EVERY` seconds and the shard is not whole.

        Raises:
            InputError: it cannot be written.
        """
        last = self._position
        while last in self._drawn:
            last += 1
        if last in (self._position, self._stop) or time.monotonic() - self._since < EVERY:
            return
        part = self._taken(self._position, last)
        with whole(self._set.path / FOLDER / f"{self._position:07d}-{last:07d}.part") as partial:
            partial.write_bytes(sealed({**part, _SET: np.array(self._set.mark)}))
        self._position, self._since = last, time.monotonic()

    def write(self) -> None:
        """Writes the shard, and removes its parts.

        Raises:
            InputError: it cannot be written, or its parts were damaged in the meantime.
        """
        new = [self._taken(self._position, self._stop)] if self._position < self._stop else []
        drawn = _joined([*_parts(self._set, self._start, self._stop).values(), *new])
        if len(drawn[_SAMPLES]) != self._stop - self._start:
            raise InputError(f"the parts in {self._set.path / FOLDER} were changed while they were used; draw again")
        notes = {name.removeprefix(_NOTE): values for name, values in drawn.items() if name.startswith(_NOTE)}
        self._set.write(self._start, drawn[_SAMPLES], notes)
        for file in _files(self._set, self._start, self._stop):
            remove(file)

    def _taken(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Finished samples as arrays, which are no longer held."""
        rows = [self._drawn.pop(index) for index in range(start, stop)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def decoded(space: Space, drawn: Float[np.ndarray, "b ..."], indices: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n ..."]:
    """The first samples of a batch, decoded.

    Arguments:
        space: the space that they are drawn in.
        drawn: the batch.
        indices: of the samples to decode.

    Raises:
        InputError: one of them is not finite.
    """
    wrong = ~np.isfinite(drawn[: len(indices)]).all(tuple(range(1, drawn.ndim)))
    if wrong.any():
        raise InputError(f"the model returned NaN or infinity in {wrong.sum()} samples, the first {indices[wrong].min()}")
    return space.decode(drawn)[: len(indices)]


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
