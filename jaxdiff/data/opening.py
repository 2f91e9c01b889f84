"""Opening data sets of any kind: `open_data`."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any

from jaxdiff.boundary import reading
from jaxdiff.data import selection, splits
from jaxdiff.data.columns import Incomplete, ValueNames
from jaxdiff.data.readers import READERS, Reader, Request
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
    if split is not None:
        splits.check(split)
    if range is not None and not -math.inf < range[0] < range[1] < math.inf:
        raise InputError(f"`range` must be two finite numbers, low and high, got {range}")
    base, wanted = split_spec(str(spec))
    if wanted:
        # a selection may use attributes that are not among those returned, and that images without a value lack
        how: dict[str, Any] = dict(split=split, size=size, channels=channels, value_names=value_names)
        how |= dict(manual_dir=manual_dir, layout=layout, range=range, links=links)
        if attributes is None:
            return selection.select(open_with(base, list(wanted), **how), wanted)
        names = [*attributes, *(name for name in wanted if name not in attributes)]
        return View(selection.select(open_data(base, attributes=names, **how), wanted), attributes=attributes)
    request = Request(base, size, attributes, value_names or {}, manual_dir, range, links)
    reader, others = _reader(request, layout)
    if value_names and reader.names_values:
        raise InputError(f"{spec} already names the values of its attributes; `value_names` must be left out")
    if manual_dir is not None and not reader.manual:
        raise InputError(f"`manual_dir` is only for tfds data sets, which {spec} is not")
    if range is not None and not reader.floats:
        raise InputError(f"`range` is for floating-point images, which {spec}, read as {reader.name}, has none of")
    with reading(request.spec):
        read = reader.read(request)
    source, assigned = read.source, read.splits
    notes = (f"read as {reader.name}, though it is also {others}; `layout` chooses",) if others else ()
    source.layout, source.notes = reader.name, (*notes, *read.notes)
    view = partial(View, source, attributes=attributes, size=size, channels=channels)
    if assigned is None:
        return source if attributes is None and size is None and channels is None else view()
    if split is None:
        split = "all" if read.hashed else "train"
    return view(indices=splits.members(assigned, split, source.name), name=f"{source.name} (split {split!r})")


def open_with(spec: str | PathLike[str], names: Sequence[str], **options: Any) -> Source:
    """Opens a data set with every attribute that all of its images have, and the named ones: images without a value of these
    are left out, as a note says.

    Arguments:
        spec: the data set.
        names: attributes that are needed; empty takes a data set without labels, or with missing ones, too.
        options: further arguments of `open_data`.

    Raises:
        InputError: see `open_data`; the data set lacks a named attribute.
    """
    try:
        source = open_data(spec, **options)
        known = [attribute.name for attribute in source.attributes]
        if set(names) <= set(known):
            return source
    except Incomplete:
        known = []
    return open_data(spec, attributes=[*known, *(name for name in names if name not in known)], **options)


def names_values(spec: str | PathLike[str], layout: str | None = None, *, links: bool = False) -> bool:
    """Whether a data set names the values of its attributes itself, so that `open_data` takes no `value_names` for it.

    Arguments:
        spec, layout, links: as for `open_data`.

    Raises:
        InputError: no reader recognises the data set.
    """
    return _reader(Request(split_spec(str(spec))[0], links=links), layout)[0].names_values


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
