"""Sets that were drawn by prompts: their images, and what each of these was drawn with."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from jaxdiff.data import Attribute, Source, find, load_arrays, open_data
from jaxdiff.data.samples import FILE
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet


class Drawn(NamedTuple):
    """What an image was drawn with.

    Attributes:
        seeds, index: what its noise is a function of, beside its shape; seeds are None where they are not known.
        context: the row of the report that it is counted in: its prompt, or a value of an attribute.
    """

    seeds: str | None
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
        """The images that are used of each part, the first ones of each that no gate refused."""
        left, indices = self.most, []
        for place, (samples, _) in enumerate(self.parts):
            # as many of each part, as far as it has them
            there = np.flatnonzero(~samples.refused)
            indices.append(there[: left // (len(self.parts) - place)])
            left -= len(indices[-1])
        return indices

    @cached_property
    def contexts(self) -> tuple[str, ...]:
        """The context of each image that is used."""
        return tuple(
            each
            for (samples, _), indices in zip(self.parts, self._indices, strict=True)
            for each in np.array(_contexts(samples, self.by), object)[indices].tolist()
        )

    def first(self, context: str, count: int) -> UInt8[np.ndarray, "n h w c"] | None:
        """The first images of a context, at most `count`; None if it has none."""
        for samples, source in self.parts:
            shown = np.array([each == context for each in _contexts(samples, self.by)])[~samples.refused]
            if len(found := np.flatnonzero(shown)[:count]):
                return np.stack(source.gather(found))
        return None

    @cached_property
    def refused(self) -> tuple[str, ...]:
        """The context of each image that a gate refused, of those before the last that is used."""
        found: list[str] = []
        for (samples, _), indices in zip(self.parts, self._indices, strict=True):
            whole = len(indices) == (~samples.refused).sum()
            stop = len(samples) if whole else int(indices.max(initial=-1)) + 1
            contexts = _contexts(samples, self.by)
            found += [contexts[index] for index in np.flatnonzero(samples.refused[:stop])]
        return tuple(found)

    def labels(self, attribute: Attribute) -> Int[np.ndarray, " n"] | None:
        """The value of an attribute that each image was asked for with, as a position in its values, -1 for another value; None
        unless all parts have the attribute."""
        rows = []
        for (samples, _), indices in zip(self.parts, self._indices, strict=True):
            if attribute.name not in [each.name for each in samples.attributes]:
                return None
            column = find(samples.attributes, attribute.name)
            names = samples.attributes[column].values
            codes = np.array([*(attribute.values.index(name) if name in attribute.values else -1 for name in names), -1])
            rows.append(codes[samples.labels[indices, column]])
        return np.concatenate(rows)

    def read(self) -> PromptedImages:
        """Reads the images. Raises `InputError` if some cannot be read."""
        images, prompts, drawn = [], [], []
        for (samples, source), indices in zip(self.parts, self._indices, strict=True):
            if len(indices):
                # the source is without the refused ones, and these are the first of the others
                images.append(load_arrays(View(source, indices=np.arange(len(indices))))[0])
            prompts += [samples.prompts[index] for index in indices.tolist()]
            contexts, seeds, redraws = _contexts(samples, self.by), _seeds(samples), samples.redraws
            for index in indices.tolist():
                again = f"{seeds}, redraw {redraws[index]}" if seeds is not None and redraws[index] else seeds
                drawn.append(Drawn(again, index, contexts[index]))
        samples, _ = self.parts[0]
        whole = np.concatenate(images) if images else np.empty((0, *samples.space.shape), np.uint8)
        return PromptedImages(self.name, whole, tuple(prompts), tuple(drawn))


def opened(
    specs: Sequence[str],
    *,
    by: str | None,
    most: int,
    image_format: Mapping[str, Any],
    links: bool = False,
    without_images: bool = False,
) -> list[PromptedSet]:
    """The sets of `--synthetic`; decodes only the first image of each.

    Arguments:
        specs: sets of samples, or folders of sets that count as one.
        by, most: see `PromptedSet`.
        image_format: `size` and `channels`, see `open_data`.
        links: see `open_data`.
        without_images: whether a set is taken of which a gate refused all images.

    Raises:
        InputError: there is no complete set of samples, or one that was not drawn by prompts or lacks the attribute `by`.
    """
    ambiguous = len({Path(spec).name for spec in specs}) < len(specs)
    found = []
    for spec in specs:
        parts = []
        for folder in _folders(spec):
            samples = SampleSet.open(folder)
            _contexts(samples, by)  # before any compute
            nothing = without_images and samples.refused.all()
            read = partial(open_data, folder, split="all", **image_format, attributes=(), links=links)
            parts.append((samples, View(samples, indices=np.arange(0), attributes=()) if nothing else read()))
        found.append(PromptedSet(spec if ambiguous else Path(spec).name, tuple(parts), by, most))
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


def _seeds(samples: SampleSet) -> str | None:
    """The seeds of a set: with those of prompts, if these have seeds of their own, the noise depends on how many prompts share
    the indices."""
    seed, of_prompts = (samples.provenance.get(name) for name in ("seed", "seeds_of_prompts"))
    if seed is None:
        return None
    return json.dumps([seed] if of_prompts is None else [seed, of_prompts, len(set(samples.prompts))])


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
    places = {each: place for place, each in enumerate(before) if each.seeds is not None}
    pairs = [(places[each], place) for place, each in enumerate(after) if each in places]
    first, second = np.array(pairs, int).reshape(-1, 2).T
    return first, second
