"""An npz file of images and labels.

Its arrays:

- `images`: uint8 or floating point, of shape (N, H, W, C) with C = 1 (grey), 3 (RGB) or 4 (RGB and transparency), or (N, H, W)
  for grey images. The range of floats is given or inferred, see `jaxdiff.data.levels`;
- `labels`, optional: integers or strings of shape (N,) or (N, A);
- `attributes`, optional: the A names of the attributes, by default `label`, or `label0`, `label1`, ...;
- `values_NAME`, optional: the names of the values of the attribute NAME;
- `split`, optional: train, validation or test for each image, by default from a hash of the index.

Without `images`, `arr_0` are the images and `arr_1` the labels, as in the sample files of guided-diffusion and the programs
that follow it, whose reference batches also have statistics, which are not read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped, UInt8

from jaxdiff.data import splits
from jaxdiff.data.columns import label
from jaxdiff.data.levels import quantised
from jaxdiff.data.readers.reader import Read, Reader, Request, Wanted
from jaxdiff.data.source import ArraySource
from jaxdiff.errors import InputError
from jaxdiff.npz_file import load_npz
from jaxdiff.spaces.pixels import CHANNELS


class Npz(Reader):
    """Reads an npz file into memory.

    Labels become attributes as described in `jaxdiff.data.columns.label`; names of values that are given take precedence over
    the file's. Raises `InputError` if the file does not exist, its arrays are not as described above, or floats are not finite
    or out of range.
    """

    name = "npz"
    floats = True
    about = "an .npz with arrays `images` and `labels`"

    def recognises(self, request: Request) -> bool:
        return request.path.suffix.lower() == ".npz"

    def read(self, request: Request) -> "Arrays":
        path = request.path
        arrays, notes = load_npz(path), []
        what = "'images'"
        if "images" not in arrays and "arr_0" in arrays:
            what = "'arr_0' (the images)"
            arrays["images"] = arrays.pop("arr_0")
            if "arr_1" in arrays:
                arrays["labels"] = arrays.pop("arr_1")
            notes.append("images are the array arr_0, labels " + ("the array arr_1" if "labels" in arrays else "none"))
        if "images" not in arrays:
            statistics = "; it is a file of statistics, without images" if {"mu", "sigma"} <= arrays.keys() else ""
            raise InputError(f"{path} has no array 'images'; it has {', '.join(arrays) or 'none'}{statistics}")
        images, note = _bytes(arrays["images"], request.range, f"{path}: array {what}")
        columns = label_columns(arrays, len(images), str(path))
        own_names = {name: arrays[f"values_{name}"].ravel().tolist() for name in columns if f"values_{name}" in arrays}
        assigned, hashed = _splits(arrays, len(images), str(path))
        return Arrays(images, columns, own_names, assigned, (*notes, *note), hashed, str(path))


@dataclass(frozen=True)
class Arrays:
    """The arrays of a file, before columns become attributes: a `jaxdiff.data.readers.reader.Content`.

    Attributes:
        images: of the file.
        columns: the values by column, one for each image.
        value_names: names of values in the file.
        splits, notes, hashed: see `jaxdiff.data.readers.reader.Read`.
        where: the path.
    """

    images: UInt8[np.ndarray, "n height width c"]
    columns: Mapping[str, np.ndarray]
    value_names: Mapping[str, list[str]]
    splits: Shaped[np.ndarray, " n"]
    notes: tuple[str, ...]
    hashed: bool
    where: str

    def taken(self, wanted: Wanted) -> Read:
        """The images with their columns as attributes, as of `jaxdiff.data.readers.reader.Table.taken`."""
        value_names = {**self.value_names, **wanted.value_names}
        found = label(self.columns, len(self.images), where=self.where, attributes=wanted.attributes, value_names=value_names)
        kept = self.images if len(found.kept) == len(self.images) else self.images[found.kept]
        source = ArraySource(kept, found.labels, found.attributes, name=self.where)
        return Read(source, self.splits[found.kept], (*self.notes, *found.notes), self.hashed)


def _splits(arrays: Mapping[str, np.ndarray], count: int, where: str) -> tuple[Shaped[np.ndarray, " n"], bool]:
    """The split of each image, and whether it comes from a hash of the index."""
    if "split" not in arrays:
        return splits.by_hash(map(str, range(count))), True
    assigned = arrays["split"]
    found = [splits.named(str(each)) for each in assigned.ravel()]
    if assigned.shape != (count,) or None in found:
        raise InputError(f"{where}: array 'split' must be one of {', '.join(splits.SPLITS)} for each of {count} images")
    return np.array(found), False


def _bytes(
    images: Shaped[np.ndarray, "..."], given: tuple[int | float, int | float] | None, what: str
) -> tuple[UInt8[np.ndarray, "n height width c"], tuple[str, ...]]:
    """The images as uint8, and a note on their range."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in CHANNELS or 0 in images.shape:
        raise InputError(f"{what} must have shape (N, H, W), or (N, H, W, C) with C = 1, 3 or 4, got {images.shape}")
    if images.dtype.kind == "f":
        return quantised(images, given, what)
    if given is not None:
        raise InputError(f"`range` is for floating-point images; {what} is {images.dtype}")
    if images.dtype != np.uint8:
        raise InputError(f"{what} must be uint8 or floating point, got {images.dtype}")
    return images, ()


def label_columns(arrays: Mapping[str, np.ndarray], count: int, where: str, *, of: str = "images") -> dict[str, np.ndarray]:
    """The labels by attribute name; empty without an array `labels`. Raises `InputError` unless there is one for each of the
    `count` elements `of` the file."""
    if "labels" not in arrays:
        return {}
    labels = arrays["labels"]
    if labels.ndim not in (1, 2) or labels.dtype.kind not in "iubU":
        raise InputError(
            f"{where}: array 'labels' must be integers or strings of shape (N,) or (N, A), got {labels.dtype} {labels.shape}"
        )
    if len(labels) != count:
        raise InputError(f"{where} has {count} {of} but labels for {len(labels)}")
    table = labels.reshape(count, -1)
    width = table.shape[1]
    names = ["label"] if width == 1 else [f"label{i}" for i in range(width)]
    if "attributes" in arrays:
        names = [str(name) for name in arrays["attributes"].ravel()]
        if len(names) != width or len(set(names)) != width:
            raise InputError(
                f"{where}: array 'attributes' must be {width} distinct names, one per label, got {', '.join(names)}"
            )
    return dict(zip(names, table.T, strict=True))
