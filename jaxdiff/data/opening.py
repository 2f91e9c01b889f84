"""Opening data sets of any kind: `open_data`."""

from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike

from jaxdiff.data import selection, splits
from jaxdiff.data.readers import READERS, Request
from jaxdiff.data.source import Source
from jaxdiff.data.spec import split_spec
from jaxdiff.data.view import View
from jaxdiff.errors import InputError


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
    """Opens a data set of images of any supported kind.

    Arguments:
        spec: one of
            - `embedded`, optionally `embedded?seed=1&hair=0.5,0.5`: the data set that jaxdiff renders itself;
            - a folder or a `.zip` with `labels.csv` and images: see `jaxdiff.data.readers.table`;
            - an `.npz` with `images` and `labels`: see `jaxdiff.data.readers.npz`;
            - `tfds:NAME`, optionally `tfds:NAME?manual_dir=PATH&data_dir=PATH`: see `jaxdiff.data.tfds`;
            - a folder of samples with `samples.json`: it has no splits, so every `split` is the whole set;
            - any of these followed by a selection: `embedded:glasses=yes`, see `jaxdiff.data.selection`.
        split: train, validation, test or all. The data set's own splits if it has them, otherwise 80, 10 and 10 % by a
            hash that never changes.
        size: (height, width), or one number for both: images are centre-cropped to this aspect ratio and resized; None keeps
            their size.
        channels: images are converted to 1 (grey), 3 (RGB) or 4 (RGB and transparency) channels; None uses the channels of the
            data set's first image, whatever the split; see `jaxdiff.data.view.View`.
        attributes: names of the attributes to use, in this order; None uses all (of a table, all with at most 32 values).
        value_names: names of the values of some attributes, for folders, zips and npz files.
        manual_dir: the folder with the files of a manually downloaded tfds data set.

    Raises:
        InputError: the data set does not exist or is malformed; the split or an attribute is unknown; the split is empty; or
            it is a set of samples other than images.
    """
    splits.check(split)
    base, wanted = split_spec(str(spec))
    if wanted:
        # a selection may use attributes that are not among those returned
        names = None if attributes is None else [*attributes, *(name for name in wanted if name not in attributes)]
        how = {"split": split, "size": size, "channels": channels, "value_names": value_names, "manual_dir": manual_dir}
        return View(selection.select(open_data(base, attributes=names, **how), wanted), attributes=attributes)
    request = Request(str(spec), size, attributes, value_names or {}, manual_dir)
    reader = next((reader for reader in READERS if reader.recognises(request)), None)
    if reader is None:
        raise InputError(
            f"no data at {str(spec)!r}; expected 'embedded', 'tfds:NAME', a folder or .zip with labels.csv, an .npz, "
            "or a folder of samples"
        )
    if value_names and reader.names_values:
        raise InputError(f"{spec} already names the values of its attributes; `value_names` must be left out")
    if manual_dir is not None and not reader.manual:
        raise InputError(f"`manual_dir` is only for tfds data sets, which {spec} is not")
    read = reader.read(request)
    source, assigned = read.source, read.splits
    view = partial(View, source, attributes=attributes, size=size, channels=channels)
    if assigned is None:
        return source if attributes is None and size is None and channels is None else view()
    return view(indices=splits.members(assigned, split, source.name), name=f"{source.name} (split {split!r})")
