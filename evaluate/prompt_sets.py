"""Sets that were drawn by prompts: their images, and what each of these was drawn with."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from jaxdiff.data import Source, find, load_arrays, open_data
from jaxdiff.data.samples import FILE
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.finished import checksum
from jaxdiff.sampleset import SampleSet

from .options.prompts import PromptSets


class Drawn(NamedTuple):
    """What an image was drawn with.

    Attributes:
        seed, index: what its noise is a function of, beside its shape; the seed is None where it is not known.
        context: the row of the report that it is counted in: its prompt, or a value of an attribute.
    """

    seed: int | None
    index: int
    context: str


@dataclass(frozen=True)
class PromptedImages:
    """The images of a set.

    Attributes:
        name: of the set, in the report.
        images: the images.
        prompts: of each image.
        drawn: what else each image was drawn with.
    """

    name: str
    images: UInt8[np.ndarray, "n h w c"]
    prompts: tuple[str, ...]
    drawn: tuple[Drawn, ...]

    @cached_property
    def digest(self) -> str:
        """The checksum of the images."""
        return checksum(self.images)


@dataclass(frozen=True)
class PromptedSet:
    """A set that is not read yet: one or more sets of samples that count as one.

    Attributes:
        name: of the set, in the report.
        parts: the sets of samples with their images in the format of the evaluation.
        by: the attribute whose values are the contexts; None for prompts.
        most: the maximum number of images.
    """

    name: str
    parts: tuple[tuple[SampleSet, Source], ...]
    by: str | None
    most: int

    def __len__(self) -> int:
        return sum(len(indices) for indices in self._indices)

    @cached_property
    def _indices(self) -> list[Int[np.ndarray, " n"]]:
        """The images that are used of each part, the first ones of each."""
        left, counts = self.most, []
        for place, (samples, _) in enumerate(self.parts):
            # as many of each part, as far as it has them
            counts.append(min(len(samples), left // (len(self.parts) - place)))
            left -= counts[-1]
        return [np.arange(count) for count in counts]

    @cached_property
    def contexts(self) -> tuple[str, ...]:
        """The context of each image that is used."""
        return tuple(
            each
            for (samples, _), indices in zip(self.parts, self._indices, strict=True)
            for each in _contexts(samples, self.by)[: len(indices)]
        )

    def read(self) -> PromptedImages:
        """Reads the images. Raises `InputError` if some cannot be read."""
        images, prompts, drawn = [], [], []
        for (samples, source), indices in zip(self.parts, self._indices, strict=True):
            if len(indices):
                images.append(load_arrays(View(source, indices=indices))[0])
            prompts += samples.prompts[: len(indices)]
            contexts = _contexts(samples, self.by)
            drawn += [Drawn(samples.provenance.get("seed"), index, contexts[index]) for index in indices.tolist()]
        return PromptedImages(self.name, np.concatenate(images), tuple(prompts), tuple(drawn))


def opened(options: PromptSets) -> list[PromptedSet]:
    """The sets of the options; decodes only the first image of each.

    Raises:
        InputError: there is no complete set of samples, or one that was not drawn by prompts or lacks the attribute of `--by`.
    """
    ambiguous = len({Path(spec).name for spec in options.synthetic}) < len(options.synthetic)
    found = []
    for spec in options.synthetic:
        parts = []
        for folder in _folders(spec):
            samples = SampleSet.open(folder)
            _contexts(samples, options.by)  # before any compute
            source = open_data(folder, split="all", **options.image_format, attributes=(), links=options.follow_links)
            parts.append((samples, source))
        found.append(PromptedSet(spec if ambiguous else Path(spec).name, tuple(parts), options.by, options.test_count))
    return found


def _folders(spec: str) -> list[Path]:
    """The folders of the sets of samples that a name stands for."""
    folder = Path(spec)
    if (folder / FILE).is_file():
        return [folder]
    found = sorted(file.parent for file in folder.glob(f"*/{FILE}")) if folder.is_dir() else []
    if not found:
        raise InputError(f"--synthetic takes sets of samples that were drawn by prompts, or folders of them; {spec} is none")
    return found


def _contexts(samples: SampleSet, by: str | None) -> list[str]:
    """The context of each sample."""
    prompts = samples.prompts
    if by is None:
        return prompts
    column = find(samples.attributes, by)
    return [samples.attributes[column].values[label] for label in samples.labels[:, column]]


def short_names(contexts: Sequence[str]) -> list[str]:
    """The words of each context between those that all of them begin and end with; the contexts themselves where one has none
    of its own."""
    if len(contexts) < 2:
        return list(contexts)
    words = [context.split() for context in contexts]
    start = len(os.path.commonprefix(words))
    after = len(os.path.commonprefix([each[start:][::-1] for each in words]))
    own = [" ".join(each[start : len(each) - after]) for each in words]
    return own if all(own) and len(set(own)) == len(own) else list(contexts)


def same_noise(before: Sequence[Drawn], after: Sequence[Drawn]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The positions of the images of two sets that were drawn from the same noise in the same context."""
    places = {each: place for place, each in enumerate(before) if each.seed is not None}
    pairs = [(places[each], place) for place, each in enumerate(after) if each in places]
    first, second = np.array(pairs, int).reshape(-1, 2).T
    return first, second
