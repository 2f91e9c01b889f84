"""What a reader of data sets is: how it recognises a data set, what it is given and what it returns."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from jaxdiff.data import splits
from jaxdiff.data.columns import ValueNames, label
from jaxdiff.data.files import Files, open_files
from jaxdiff.data.source import FileSource, Source


@dataclass(frozen=True)
class Request:
    """What a reader reads.

    Attributes:
        spec: the data set's name, without a selection.
        manual_dir, range, links: see `jaxdiff.data.open_data`.
    """

    spec: str
    manual_dir: str | PathLike[str] | None = None
    range: tuple[int | float, int | float] | None = None
    links: bool = False

    @property
    def path(self) -> Path:
        """The name as a path."""
        return Path(self.spec).expanduser()

    @property
    def kind(self) -> str:
        """The part of the name before `:` and `?`."""
        return self.spec.partition(":")[0].partition("?")[0]

    @cached_property
    def files(self) -> Files | None:
        """The files of a folder or an archive; None if the path is neither. Listed once for all readers."""
        return open_files(self.path, links=self.links)


@dataclass(frozen=True)
class Wanted:
    """What is taken of a data set that was read.

    Attributes:
        attributes, value_names, size: see `jaxdiff.data.open_data`.
    """

    attributes: Sequence[str] | None = None
    value_names: Mapping[str, ValueNames] = field(default_factory=dict)
    size: int | tuple[int, int] | None = None


@runtime_checkable
class Content(Protocol):
    """What a reader returns: a data set that was read, of which attributes can be taken several times."""

    def taken(self, wanted: Wanted) -> "Read":
        """The images with these attributes. Raises `InputError` if there are none such."""
        ...


@dataclass(frozen=True)
class Read:
    """All images of a data set: a `Content` whose attributes are what they are.

    Attributes:
        source: all images.
        splits: the split of each image; None if every split is the whole set.
        notes: what a person should know of how the data set was read, a line each: files that were skipped, values that were
            missing, a range that was inferred. Programs print them.
        hashed: whether the data set has no splits of its own and `splits` come from a hash.
    """

    source: Source
    splits: Shaped[np.ndarray, " n"] | None
    notes: tuple[str, ...] = ()
    hashed: bool = False

    def taken(self, wanted: Wanted) -> "Read":
        """This."""
        return self


class Reader(abc.ABC):
    """A kind of data set.

    Fields:
        name: the name by which `layout` chooses this reader.
        about: one line for tables and `--help`.
        names_values: whether the data set itself names the values of its attributes.
        manual: whether it uses `manual_dir`.
        floats: whether its images may be floating point, so that it takes `range`.
        fallback: whether it recognises folders of images that other readers take for what they are.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    names_values: ClassVar[bool] = False
    manual: ClassVar[bool] = False
    floats: ClassVar[bool] = False
    fallback: ClassVar[bool] = False

    @abc.abstractmethod
    def recognises(self, request: Request) -> bool:
        """Whether the data set of a request is of this kind; looks at names and small tables only."""

    @abc.abstractmethod
    def read(self, request: Request) -> Content:
        """All of the data set. Raises `InputError` if it is malformed."""


@dataclass(frozen=True)
class Table:
    """Image files with the columns of a table, before columns become attributes: a `Content`.

    Attributes:
        files: where the images are.
        names: the files of the images.
        columns: the values by column, one for each image, as text or integers.
        splits: the split of each image; None assigns splits by a hash of `keys`.
        keys: what the hash is taken of; by default the names.
        value_names: names of values that the data set itself gives.
        notes: see `Read`.
    """

    files: Files
    names: Sequence[str]
    columns: Mapping[str, Shaped[np.ndarray, " n"]]
    splits: Shaped[np.ndarray, " n"] | None = None
    keys: Sequence[str] | None = None
    value_names: Mapping[str, ValueNames] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def taken(self, wanted: Wanted) -> Read:
        """The images with their columns as attributes; see `jaxdiff.data.columns.label`. The wanted names of values take
        precedence over the data set's. Images without a value of an attribute that is wanted are left out."""
        found = label(
            self.columns, len(self.names), where=self.files.where, attributes=wanted.attributes,
            value_names={**self.value_names, **wanted.value_names},
        )  # fmt: skip
        assigned = splits.by_hash(self.keys or self.names) if self.splits is None else self.splits
        names = [self.names[i] for i in found.kept]
        source = FileSource(names, self.files.read, found.labels, found.attributes, name=self.files.where)
        return Read(source, np.asarray(assigned)[found.kept], (*self.notes, *found.notes), self.splits is None)
