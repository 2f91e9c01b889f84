"""Opening data sets of any kind: `open_data`."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from os import PathLike
from typing import Any

from jaxdiff.boundary import reading
from jaxdiff.data import selection, splits
from jaxdiff.data.columns import Incomplete, ValueNames
from jaxdiff.data.readers import READERS, Reader, Request
from jaxdiff.data.readers.reader import Content, Wanted
from jaxdiff.data.source import Source
from jaxdiff.data.spec import split_spec
from jaxdiff.data.view import View
from jaxdiff.errors import InputError


def open_data(
    spec: str | PathLike[str],
    *,
    split: str | None = "train",
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    attributes: Sequence[str] | None = None,
    value_names: Mapping[str, ValueNames] | None = None,
    manual_dir: str | PathLike[str] | None = None,
    layout: str | None = None,
    range: tuple[int | float, int | float] | None = None,
    links: bool = False,
) -> Source:
    """Opens a data set of images of any supported kind.

    What was understood is in the source's `layout` and `notes`; `jaxdiff.data.describe` puts it in words.

    Arguments:
        spec: one of
            - `embedded`, optionally `embedded?seed=1&hair=0.5,0.5`: the data set that jaxdiff renders itself;
            - a folder or a `.zip` with `labels.csv` and images: see `jaxdiff.data.readers.table`;
            - an `.npz` with `images` and `labels`: see `jaxdiff.data.readers.npz`;
            - `tfds:NAME`, optionally `tfds:NAME?manual_dir=PATH&data_dir=PATH`: see `jaxdiff.data.tfds`;
            - a published layout (CelebA, UTKFace, WebDataset, ...) or images without labels: see `jaxdiff.data.readers`;
            - a folder of samples with `samples.json`: it has no splits, so every `split` is the whole set;
            - any of these followed by a selection: `embedded:glasses=yes`, see `jaxdiff.data.selection`.
        split: train, validation, test or all. The data set's own splits if it has them, otherwise 80, 10 and 10 % by a
            hash that never changes. None takes train of a data set with splits of its own, and all of one without.
        size: (height, width), or one number for both: images are centre-cropped to this aspect ratio and resized; None keeps
            their size.
        channels: images are converted to 1 (grey), 3 (RGB) or 4 (RGB and transparency) channels; None uses the channels of the
            data set's first image, whatever the split; see `jaxdiff.data.view.View`.
        attributes: names of the attributes to use, in this order; None uses all (of a table, all with at most 32 values and
            none missing). Images without a value of a named one are left out.
        value_names: names of the values of some attributes, for folders, zips and npz files: a list, whose k-th name (from 0)
            is that of the integer k, or a dictionary of the name of each code. See `jaxdiff.data.columns.label`.
        manual_dir: the folder with the files of a manually downloaded tfds data set.
        layout: the name of the reader to use, one of `jaxdiff.data.readers.READER_MODULES`; None takes the first that
            recognises the data set.
        range: low and high of floating-point images (refused for others): these become 0 and 255. None infers [0, 1],
            [-1, 1] or [0, 255].
        links: whether symbolic links in a folder that lead out of it are followed. Otherwise they are an error: a folder from
            elsewhere could point to any file that its user can read. The folder itself may be a link.

    Raises:
        InputError: the data set does not exist, is malformed or leads out of its folder; the split, the layout or an attribute
            is unknown; the split is empty; or it is a set of samples other than images.
    """
    found = DataSet(spec, manual_dir=manual_dir, layout=layout, range=range, links=links)
    return found.take(split=split, size=size, channels=channels, attributes=attributes, value_names=value_names)


class DataSet:
    """A data set that is read once, when a source is first taken of it: for several splits, sizes or attributes.

    Arguments:
        spec, manual_dir, layout, range, links: as of `open_data`.

    Attributes:
        spec: the data set.

    Raises:
        InputError: the data set does not exist, no reader takes it, or an argument is not for its kind.
    """

    def __init__(
        self,
        spec: str | PathLike[str],
        *,
        manual_dir: str | PathLike[str] | None = None,
        layout: str | None = None,
        range: tuple[int | float, int | float] | None = None,
        links: bool = False,
    ):
        if range is not None and not -math.inf < range[0] < range[1] < math.inf:
            raise InputError(f"`range` must be two finite numbers, low and high, got {range}")
        self.spec = str(spec)
        base, self._selected = split_spec(self.spec)
        how: dict[str, Any] = dict(manual_dir=manual_dir, layout=layout, range=range, links=links)
        self._whole = DataSet(base, **how) if self._selected else self
        self._request = Request(base, manual_dir, range, links)
        self._reader, self._others = _reader(self._request, layout)
        if manual_dir is not None and not self._reader.manual:
            raise InputError(f"`manual_dir` is only for tfds data sets, which {spec} is not")
        if range is not None and not self._reader.floats:
            raise InputError(f"`range` is for floating-point images, which {spec}, read as {self._reader.name}, has none of")

    @property
    def names_values(self) -> bool:
        """Whether the data set names the values of its attributes itself, so that it takes no `value_names`."""
        return self._reader.names_values

    @cached_property
    def _content(self) -> Content:
        return self._reader.read(self._request)

    def take(
        self,
        *,
        split: str | None = "train",
        size: int | tuple[int, int] | None = None,
        channels: int | None = None,
        attributes: Sequence[str] | None = None,
        value_names: Mapping[str, ValueNames] | None = None,
    ) -> Source:
        """A source of a split with these attributes; arguments and errors as of `open_data`."""
        if split is not None:
            splits.check(split)
        if self._selected:
            # a selection may use attributes that are not among those returned, and that images without a value lack
            how: dict[str, Any] = dict(split=split, size=size, channels=channels, value_names=value_names)
            if attributes is None:
                return selection.select(self._whole.take_with(list(self._selected), **how), self._selected)
            names = [*attributes, *(name for name in self._selected if name not in attributes)]
            selected = selection.select(self._whole.take(attributes=names, **how), self._selected)
            return View(selected, attributes=attributes)
        if value_names and self.names_values:
            raise InputError(f"{self.spec} already names the values of its attributes; `value_names` must be left out")
        with reading(self._request.spec):
            read = self._content.taken(Wanted(attributes, value_names or {}, size))
        source, assigned = read.source, read.splits
        notes = (f"read as {self._reader.name}, though it is also {self._others}; `layout` chooses",) if self._others else ()
        source.layout, source.notes = self._reader.name, (*notes, *read.notes)
        view = partial(View, source, attributes=attributes, size=size, channels=channels)
        if assigned is None:
            return source if attributes is None and size is None and channels is None else view()
        if split is None:
            split = "all" if read.hashed else "train"
        return view(indices=splits.members(assigned, split, source.name), name=f"{source.name} (split {split!r})")

    def take_with(self, names: Sequence[str], **options: Any) -> Source:
        """A source with every attribute that all images have, and the named ones: images without a value of these are left
        out, as a note says.

        Arguments:
            names: attributes that are needed; empty takes a data set without labels, or with missing ones, too.
            options: further arguments of `take`.

        Raises:
            InputError: see `open_data`; the data set lacks a named attribute.
        """
        try:
            source = self.take(**options)
            known = [attribute.name for attribute in source.attributes]
            if set(names) <= set(known):
                return source
        except Incomplete:
            known = []
        return self.take(attributes=[*known, *(name for name in names if name not in known)], **options)


def _reader(request: Request, layout: str | None) -> tuple[Reader, str]:
    """The reader of this name, or the first that recognises the data set, and then what the others that do take it for."""
    if layout is None:
        with reading(request.spec):
            found = [reader for reader in READERS if reader.recognises(request)]
        if not found:
            what = "which is a file of no kind that is read" if request.path.exists() else "which does not exist"
            raise InputError(
                f"no data at {request.spec!r}, {what}; expected 'embedded', 'tfds:NAME', or a folder, .zip, .tar, .npz or "
                ".parquet of images"
            )
        return found[0], ", or ".join(reader.about for reader in found[1:] if not reader.fallback)
    by_name = {reader.name: reader for reader in READERS}
    if layout not in by_name:
        raise InputError(f"`layout` must be one of {', '.join(by_name)}, got {layout!r}")
    with reading(request.spec):
        recognised = by_name[layout].recognises(request)
    if not recognised:
        raise InputError(f"{request.spec} is not of the layout {layout!r}, {by_name[layout].about}")
    return by_name[layout], ""
