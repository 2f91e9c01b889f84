"""Opening a data set, whatever it is: the readers, one for each kind of data set, and `open_data`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from jaxdiff.data import embedded_source, folder, npz, samples, selection, splits
from jaxdiff.data.source import Source
from jaxdiff.data.spec import split_spec
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.spaces import Pixels


@dataclass(frozen=True)
class Request:
    """What is asked of a reader.

    Attributes:
        spec: the data set's name, without a selection.
        size, attributes, value_names, manual_dir: as of `open_data`.
    """

    spec: str
    size: int | tuple[int, int] | None
    attributes: Sequence[str] | None
    value_names: Mapping[str, Sequence[str]]
    manual_dir: str | PathLike[str] | None

    @property
    def path(self) -> Path:
        """The name as a path."""
        return Path(self.spec).expanduser()

    @property
    def kind(self) -> str:
        """What stands ahead of `:` and `?`."""
        return self.spec.partition(":")[0].partition("?")[0]


@dataclass(frozen=True)
class Reader:
    """A kind of data set.

    Attributes:
        takes: whether a request is for it.
        read: its images, and the split of each; None where it has no splits and every split is all of it.
        names_values: whether it names the values of its attributes itself.
        manual: whether it takes `manual_dir`.
    """

    takes: Callable[[Request], bool]
    read: Callable[[Request], tuple[Source, Shaped[np.ndarray, " n"] | None]]
    names_values: bool = False
    manual: bool = False


def _embedded(request: Request):
    return embedded_source.read(request.spec, size=request.size)


def _tfds(request: Request):
    from jaxdiff.data import tfds  # takes seconds to import

    return tfds.read(request.spec, manual_dir=request.manual_dir)


def _npz(request: Request):
    return npz.read(request.path, attributes=request.attributes, value_names=request.value_names)


def _samples(request: Request):
    found = samples.Samples.open(request.path)
    if not isinstance(found.space, Pixels):
        raise InputError(f"{request.spec} holds {found.space.array} of shape {found.space.shape}; it takes sets of images")
    return found, None


def _folder(request: Request):
    return folder.read(request.path, attributes=request.attributes, value_names=request.value_names)


READERS = (
    Reader(lambda request: request.kind == "embedded", _embedded, names_values=True),
    Reader(lambda request: request.kind == "tfds", _tfds, names_values=True, manual=True),
    Reader(lambda request: request.path.suffix == ".npz", _npz),
    Reader(lambda request: (request.path / samples.FILE).is_file(), _samples, names_values=True),
    Reader(lambda request: request.path.is_dir() or request.path.suffix == ".zip", _folder),
)
"""The kinds of data sets; the first that takes a request reads it."""


def open_data(
    spec: str | PathLike[str],
    *,
    split: str = "train",
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    attributes: Sequence[str] | None = None,
    value_names: Mapping[str, Sequence[str]] | None = None,
    manual_dir: str | PathLike[str] | None = None,
) -> Source:
    """Opens a data set of images, whatever it is.

    Arguments:
        spec: one of
            - `embedded`, optionally `embedded?seed=1&hair=0.5,0.5`: the data set that jaxdiff draws itself;
            - a folder or a `.zip` with `labels.csv` and images: see `jaxdiff.data.folder`;
            - an `.npz` with `images` and `labels`: see `jaxdiff.data.npz`;
            - `tfds:NAME`, optionally `tfds:NAME?manual_dir=PATH&data_dir=PATH`: see `jaxdiff.data.tfds`;
            - a folder of samples with `samples.json`: has no splits, so every `split` is all of it;
            - any of them with a selection behind: `embedded:glasses=yes`, see `jaxdiff.data.selection`.
        split: train, validation, test or all. Splits are the data set's own if it has them, and otherwise 80, 10 and 10 %
            by a fixed hash, which never changes.
        size: images are cropped to their largest central part of this shape and resized to it: (height, width), or one number
            for squares; None leaves them as they are.
        channels: images are brought to 1 (grey), 3 (RGB) or 4 (RGB and transparency) channels; None takes those of the data
            set's first image, whatever the split: see `jaxdiff.data.view.View`.
        attributes: names of the attributes to take, in this order; None takes all (of a table, all with at most 32 values).
        value_names: names for the values of some attributes, for folders, zips and npz files.
        manual_dir: where the files of a manually downloaded tfds data set lie.

    Raises:
        InputError: nothing there, or not as described; an unknown split or attribute; an empty split; a set of samples that are
            no images.
    """
    splits.check(split)
    base, wanted = split_spec(str(spec))
    if wanted:
        # the attributes that are selected by need not be among those that are taken
        names = None if attributes is None else [*attributes, *(name for name in wanted if name not in attributes)]
        how = {"split": split, "size": size, "channels": channels, "value_names": value_names, "manual_dir": manual_dir}
        return View(selection.select(open_data(base, attributes=names, **how), wanted), attributes=attributes)
    request = Request(str(spec), size, attributes, value_names or {}, manual_dir)
    reader = next((reader for reader in READERS if reader.takes(request)), None)
    if reader is None:
        raise InputError(
            f"no data at {str(spec)!r}; it takes 'embedded', 'tfds:NAME', a folder or .zip with labels.csv, an .npz, "
            "or a folder of samples"
        )
    if value_names and reader.names_values:
        raise InputError(f"{spec} names the values of its attributes itself; `value_names` must be left out")
    if manual_dir is not None and not reader.manual:
        raise InputError(f"`manual_dir` is for tfds data sets; {spec} has none")
    source, assigned = reader.read(request)
    view = partial(View, source, attributes=attributes, size=size, channels=channels)
    if assigned is None:
        return source if attributes is None and size is None and channels is None else view()
    return view(indices=splits.members(assigned, split, source.name), name=f"{source.name} (split {split!r})")
