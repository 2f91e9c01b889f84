"""Finds the arrays of a part of a pipeline in a file that holds more, or holds them under other names.

Files of a part hold its state dictionary alone, in a dictionary beside others, with a wrapper's name before each array's, or in
the original layout of Stable Diffusion, which also has files of all parts.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxdiff.errors import InputError
from jaxdiff.interop import original_layout
from jaxdiff.interop.layers import Arrays, modern_names
from jaxdiff.interop.pipeline import PARTS
from jaxdiff.interop.state import AVERAGED, MOST_NETWORKS, dictionaries
from jaxdiff.interop.torch_names import NO_WEIGHTS

TEXT_PREFIX = "text_model."
"""The prefix of the arrays of text encoders, except in files of transformers since version 5.6."""


class Layout(NamedTuple):
    """Names that a file may have for the arrays of a part.

    Attributes:
        names: the name of each array in the file, without what precedes all names.
        load: the array of a name of ours from that of the file.
        more: whether files in this layout have arrays that are of no use.
    """

    names: Mapping[str, str]
    load: Callable[[str, np.ndarray], np.ndarray] = lambda _, array: array
    more: bool = False


class Found(NamedTuple):
    """Arrays of a part.

    Attributes:
        arrays: by their names in diffusers and transformers, with those that the part does not have.
        place: where they were in the file: the dictionary and the prefix.
    """

    arrays: Arrays
    place: str


def plain(held: Any, part: str) -> Arrays:
    """The arrays of a file that holds a part alone, under their names of today."""
    return _modern(next(iter(dictionaries(held, part).values()), {}), part)


def find(held: Any, part: str, layouts: Sequence[Layout], file: str) -> Arrays:
    """The arrays of a part in a file.

    Of several networks that match as well, such as a network and its averaged weights, the only one whose name says `ema` is
    taken.

    Arguments:
        held: the content of the file.
        part: the name of the part.
        layouts: those that are looked for; of two that match as well, the first is taken.
        file: the name of the file in errors.

    Raises:
        InputError: no array of the part is in it, or several networks match as well.
    """
    by_place = {place: _modern(arrays, part) for place, arrays in dictionaries(held, file).items()}
    best, most, taken = [], 0, None
    for layout in layouts:
        for place, arrays in by_place.items():
            for found in _under_prefixes(place, arrays, layout):
                count = len(found.arrays.keys() & layout.names.keys())
                if count > most:
                    best, most, taken = [found], count, layout
                elif count == most and layout is taken:
                    best.append(found)
    if len(best) > 1:
        best = [each for each in best if AVERAGED.search(each.place)] or best
    if not best:
        raise InputError(f"{file} holds no {PARTS[part]}, the {part} of the pipeline")
    if len(best) > 1:
        several = ", ".join(each.place or "the whole file" for each in best)
        raise InputError(f"{file} holds several {PARTS[part]}, and one {part} is taken: {several}")
    return best[0].arrays


def layouts(part: str, shapes: Mapping[str, tuple[int, ...]], config: Any) -> list[Layout]:
    """The layouts that the arrays of a part may have in a file: that of diffusers, and the original one.

    Arguments:
        part: the name of the part.
        shapes: the shapes of its arrays by name.
        config: its configuration.
    """
    if part == "unet":
        original = Layout(original_layout.unet_names(shapes, config.blocks), more=True)
    elif part == "vae":
        original = Layout(original_layout.autoencoder_names(shapes, len(config.widths)), more=True)
    else:
        original = Layout(original_layout.open_clip_names(shapes), original_layout.of_open_clip, more=True)
    return [Layout({name: name for name in shapes}), original]


def _modern(arrays: Mapping[str, np.ndarray], part: str) -> Arrays:
    """Arrays under their names of today, without those that are no weights."""
    named = {name: array for name, array in modern_names(arrays).items() if name.rpartition(".")[2] not in NO_WEIGHTS}
    return {name.replace(TEXT_PREFIX, ""): array for name, array in named.items()} if part.startswith("text") else named


def _under_prefixes(place: str, arrays: Arrays, layout: Layout) -> Iterator[Found]:
    """The arrays of a layout under the prefixes that put the most of its names into a dictionary."""
    wanted, prefixes = set(layout.names.values()), Counter[str]()
    for name in arrays:
        parts = name.split(".")
        ends = (".".join(parts[start:]) for start in range(len(parts)))
        prefixes.update(name.removesuffix(end) for end in ends if end in wanted)
    most = max(prefixes.values(), default=0)
    for prefix in [each for each, count in prefixes.items() if count == most][:MOST_NETWORKS]:
        known = {f"{prefix}{name}" for name in wanted}
        found = {
            ours: layout.load(ours, arrays[f"{prefix}{name}"])
            for ours, name in layout.names.items()
            if f"{prefix}{name}" in arrays
        }
        if not layout.more or len(found) < len(layout.names):
            others = (name for name in arrays if name.startswith(prefix) and name not in known)
            found |= {name.removeprefix(prefix): arrays[name] for name in others}
        yield Found(found, ".".join(each for each in (place, prefix.rstrip(".")) if each))
