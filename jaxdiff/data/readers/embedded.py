"""The embedded data set as a source: images that jaxdiff renders itself, by index.

`embedded` is the data set with its default seed and associations. Options after `?`, joined by `&`, change them: `seed=1`,
and `NAME=P,Q` for the probabilities of an attribute's second value in the two groups, e.g. `embedded?seed=1&hair=0.5,0.5`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qsl

import numpy as np
from jaxtyping import Bool, Int, UInt8

from jaxdiff.data import embedded
from jaxdiff.data.readers.reader import Read, Reader, Request, Wanted
from jaxdiff.data.source import Source
from jaxdiff.errors import InputError

# Fixed ranges of indices: the splits are disjoint whatever the options.
COUNTS = {"train": 50_000, "validation": 10_000, "test": 10_000}


class EmbeddedSource(Source):
    """The first 70,000 images of the embedded data set, rendered on demand.

    Arguments:
        seed: the seed of the data set.
        associations: see `jaxdiff.data.embedded.labels`.
        size: height and width in pixels, or (height, width), whose maximum is used, since the images are square; clipped to the
            supported sizes. None uses the default size.
        name: the name of the source in error messages and reports.

    Raises:
        InputError: the seed or the associations are invalid; see `jaxdiff.data.embedded`.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        associations: Mapping[str, Sequence[float]] | None = None,
        size: int | tuple[int, int] | None = None,
        name: str = "embedded",
    ):
        self.name, self.attributes = name, tuple(embedded.ATTRIBUTES)
        side = {} if size is None else {"size": int(np.clip(np.max(size), *embedded.SIZES))}
        self._generate = partial(embedded.generate, seed=seed, associations=associations, **side)
        self.labels = embedded.labels(np.arange(sum(COUNTS.values())), seed=seed, associations=associations)

    def image(self, i: int) -> UInt8[np.ndarray, "height width 3"]:
        return self.gather(np.array([i]))[0]

    def gather(self, indices: Int[np.ndarray, " n"]) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        # rendering one by one takes ten times as long
        return list(self._generate(indices)[0])

    def defining_region(self, attribute: str) -> Bool[np.ndarray, "height width"] | None:
        return embedded.group_region(len(self.image(0))) if attribute == "group" else None


class Embedded(Reader):
    """Reads `embedded`; raises `InputError` if an option is not of the form that this module describes."""

    name = "embedded"
    about = "the data set that jaxdiff renders itself"
    names_values = True

    def recognises(self, request: Request) -> bool:
        return request.kind == "embedded"

    def read(self, request: Request) -> "Rendered":
        options = dict(parse_qsl(request.spec.partition("?")[2], keep_blank_values=True))
        try:
            seed = int(options.pop("seed", 0))
            associations = {name: tuple(map(float, values.split(","))) for name, values in options.items()}
        except ValueError as error:
            raise InputError(f"options of {request.spec!r} must be like seed=1 and NAME=0.5,0.5: {error}") from error
        return Rendered(seed, associations, request.spec)


@dataclass(frozen=True)
class Rendered:
    """What is rendered, at the size that is wanted: a `jaxdiff.data.readers.reader.Content`.

    Attributes:
        seed, associations, name: see `EmbeddedSource`.
    """

    seed: int
    associations: Mapping[str, Sequence[float]]
    name: str

    def taken(self, wanted: Wanted) -> Read:
        """All images; the attributes are those of the data set."""
        source = EmbeddedSource(seed=self.seed, associations=self.associations, size=wanted.size, name=self.name)
        return Read(source, np.repeat(list(COUNTS), list(COUNTS.values())))
