"""Opening data sets of any kind: `open_data`."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike

from jaxdiff.data import selection, splits
from jaxdiff.data.columns import ValueNames
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
        layout: the name of the reader to use, one of `jaxdiff.data.readers.PLACES`; None takes the first that recognises the
            data set.
        range: low and high of floating-point images (other images need none): these become 0 and 255. None infers [0, 1],
            [-1, 1] or [0, 255].

    Raises:
        InputError: the data set does not exist or is malformed; the split, the layout or an attribute is unknown; the split is
            empty; or it is a set of samples other than images.
    """
    if split is not None:
        splits.check(split)
    if range is not None and not -math.inf < range[0] < range[1] < math.inf:
        raise InputError(f"`range` must be two finite numbers, low and high, got {range}")
    base, wanted = split_spec(str(spec))
    if wanted:
        # a selection may use attributes that are not among those returned
        names = None if attributes is None else [*attributes, *(name for name in wanted if name not in attributes)]
        how = {"split": split, "size": size, "channels": channels, "value_names": value_names, "manual_dir": manual_dir}
        opened = open_data(base, attributes=names, layout=layout, range=range, **how)
        return View(selection.select(opened, wanted), attributes=attributes)
    request = Request(base, size, attributes, value_names or {}, manual_dir, range)
    reader, others = _reader(request, layout)
    if value_names and reader.names_values:
        raise InputError(f"{spec} already names the values of its attributes; `value_names` must be left out")
    if manual_dir is not None and not reader.manual:
        raise InputError(f"`manual_dir` is only for tfds data sets, which {spec} is not")
    read = reader.read(request)
    source, assigned = read.source, read.splits
    notes = (f"read as {reader.name}, though it is also {others}; --layout chooses",) if others else ()
    source.layout, source.notes = reader.name, (*notes, *read.notes)
    view = partial(View, source, attributes=attributes, size=size, channels=channels)
    if assigned is None:
        return source if attributes is None and size is None and channels is None else view()
    if split is None:
        split = "all" if read.hashed else "train"
    return view(indices=splits.members(assigned, split, source.name), name=f"{source.name} (split {split!r})")


def _reader(request: Request, layout: str | None) -> tuple[Reader, str]:
    """The reader of this name, or the first that recognises the data set, and then what the others that do take it for."""
    if layout is None:
        found = [reader for reader in READERS if reader.recognises(request)]
        if not found:
            what = "which is a file of no kind that is read" if request.path.exists() else "which does not exist"
            raise InputError(
                f"no data at {request.spec!r}, {what}; expected 'embedded', 'tfds:NAME', or a folder, .zip, .tar, .npz or "
                ".parquet of images"
            )
        return found[0], ", or ".join(reader.about for reader in found[1:] if not reader.guess)
    by_name = {reader.name: reader for reader in READERS}
    if layout not in by_name:
        raise InputError(f"`layout` must be one of {', '.join(by_name)}, got {layout!r}")
    if not by_name[layout].recognises(request):
        raise InputError(f"{request.spec} is not of the layout {layout!r}, {by_name[layout].about}")
    return by_name[layout], ""
