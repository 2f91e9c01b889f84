"""Sources: labelled images by index, from anywhere."""

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Int32, UInt8

from jaxdiff.data.attributes import Attribute, find
from jaxdiff.errors import InputError

THREADS = 4
"""Threads that decode at once: Pillow works outside Python's lock."""


class Source(abc.ABC):
    """Labelled images by index; also a random-access data source for grain.

    Subclasses set the three fields and give `image`, which must be safe to call from several threads.

    Fields:
        name: what errors and reports call the source.
        attributes: the A attributes that every image carries.
        labels: int32 (N, A), all labels; known without decoding an image.
    """

    name: str
    attributes: tuple[Attribute, ...]
    labels: np.ndarray

    @abc.abstractmethod
    def image(self, i: int) -> UInt8[np.ndarray, "height width 3"]:
        """Image i. Raises `InputError` that names the file if it does not decode."""

    def gather(self, indices: Int[np.ndarray, " n"]) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        """Some images at once, on several threads. Raises one `InputError` for all that do not decode."""
        return collect(self.image, indices.tolist())

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """Element i: its `image` uint8 (H, W, 3), its `labels` int32 (A,) and its `index`, an int."""
        return {"image": self.image(i), "labels": self.labels[i], "index": int(i)}

    def cached(self, limit: int = 2**30) -> "Source":
        """This source with every image decoded in memory once; itself if that takes more than `limit` bytes.

        A training reads each image hundreds of times, so this is worth its wait wherever it fits.
        """
        if len(self) * self.image(0).nbytes > limit:
            return self
        images, labels = load_arrays(self)
        return ArraySource(images, labels, self.attributes, name=self.name)


class ArraySource(Source):
    """Images and labels in memory.

    Arguments:
        images: uint8 (N, H, W, 3).
        labels: int32 (N, A), each within its attribute's values.
        attributes: the A attributes.
        name: what errors and reports call the source.

    Raises:
        InputError: images, labels and attributes that do not belong together.
    """

    def __init__(
        self,
        images: UInt8[np.ndarray, "n height width 3"],
        labels: Int32[np.ndarray, "m a"],
        attributes: Sequence[Attribute],
        *,
        name: str = "arrays",
    ):
        if len(images) != len(labels):
            raise InputError(f"{name} has {len(images)} images but labels for {len(labels)}")
        if labels.shape[1] != len(attributes):
            raise InputError(f"{name} has {labels.shape[1]} labels an image but {len(attributes)} attributes")
        for attribute, column in zip(attributes, labels.T, strict=True):
            if len(column) and not (column.min() >= 0 and column.max() < len(attribute.values)):
                raise InputError(
                    f"labels of attribute {attribute.name!r} of {name} must be within 0 and {len(attribute.values) - 1}, "
                    f"got {column.min()} to {column.max()}"
                )
        self.images, self.labels, self.attributes, self.name = images, labels, tuple(attributes), name

    def image(self, i: int) -> UInt8[np.ndarray, "height width 3"]:
        return self.images[i]


def load_arrays(
    source: Source, *, count: int | None = None, seed: int = 0
) -> tuple[UInt8[np.ndarray, "n height width 3"], Int32[np.ndarray, "n a"]]:
    """Images and labels of a source as arrays, decoded on several threads.

    Arguments:
        source: a source with at least one image, whose images share one size.
        count: how many to take, drawn without replacement by `seed`; None takes all in order.
        seed: of the draw. The elements of a smaller count come first in those of a larger one.

    Raises:
        InputError: fewer than `count` elements, or images that do not decode or differ in size (the first few are named).
    """
    indices = np.arange(len(source))
    if count is not None:
        if not 1 <= count <= len(source):
            raise InputError(f"`count` must be within 1 and the {len(source)} images of {source.name}, got {count}")
        indices = np.random.default_rng(seed).permutation(len(source))[:count]
    images = np.empty((len(indices), *source.image(int(indices[0])).shape), np.uint8)
    for start, part in _parts(indices):
        for row, image in enumerate(source.gather(part), start=start):
            if image.shape != images.shape[1:]:
                first = images.shape[1:]
                raise InputError(f"images of {source.name} differ in size: image {indices[row]} is {image.shape}, not {first}")
            images[row] = image
    return images, source.labels[indices]


def verify(source: Source) -> None:
    """Decodes every image once, so that a damaged file is found before any compute.

    Raises:
        InputError: images that do not decode or have another size than the others; the first few are named.
    """
    for _, part in _parts(np.arange(len(source))):
        source.gather(part)


def require_two_values(source: Source, attribute: str) -> None:
    """Raises `InputError` unless at least two values of the attribute occur in the source."""
    column = find(source.attributes, attribute)
    present = np.unique(source.labels[:, column])
    if len(present) < 2:
        only = f"only the value {source.attributes[column].values[present[0]]!r}" if len(present) else "no value"
        raise InputError(f"attribute {attribute!r} has {only} in {source.name}; it takes at least two")


def collect(read: Callable[[Any], np.ndarray], items: Iterable[Any]) -> list[np.ndarray]:
    """`read` of every item, in order, on several threads; one `InputError` for all that failed, with the first few."""

    def attempt(item: Any) -> np.ndarray | InputError:
        try:
            return read(item)
        except InputError as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(attempt, items))
    errors = [str(result) for result in results if isinstance(result, InputError)]
    if errors:
        more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
        raise InputError("; ".join(errors[:5]) + more)
    return results


def _parts(indices: Int[np.ndarray, " n"]) -> Iterator[tuple[int, Int[np.ndarray, " m"]]]:
    """The indices in parts, each with its start: before they are resized, few images may be large."""
    for start in range(0, len(indices), 128):
        yield start, indices[start : start + 128]


def open_data(
    spec: str | PathLike[str],
    *,
    split: str = "train",
    size: int | None = None,
    attributes: Sequence[str] | None = None,
    value_names: Mapping[str, Sequence[str]] | None = None,
    manual_dir: str | PathLike[str] | None = None,
) -> Source:
    """Opens a data set, whatever it is.

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
        size: images are cropped to their central square and resized to `size` x `size`; None leaves them as they are.
        attributes: names of the attributes to take, in this order; None takes all (of a table, all with at most 32 values).
        value_names: names for the values of some attributes, for folders, zips and npz files.
        manual_dir: where the files of a manually downloaded tfds data set lie.

    Raises:
        InputError: nothing there, or not as described; an unknown split or attribute; an empty split.
    """
    # Imported here because each of these builds on this file, and tfds is slow to import.
    from jaxdiff.data import folder, npz, selection, splits
    from jaxdiff.data.spec import split_spec
    from jaxdiff.data.view import View

    splits.check(split)
    base, wanted = split_spec(str(spec))
    if wanted:
        # the attributes that are selected by need not be among those that are taken
        names = None if attributes is None else [*attributes, *(name for name in wanted if name not in attributes)]
        whole = open_data(base, split=split, size=size, attributes=names, value_names=value_names, manual_dir=manual_dir)
        return View(selection.select(whole, wanted), attributes=attributes)
    spec, path = str(spec), Path(spec).expanduser()
    kind = spec.partition(":")[0].partition("?")[0]
    is_samples = (path / "samples.json").is_file()
    if value_names and (kind in ("embedded", "tfds") or is_samples):
        raise InputError(f"{spec} names the values of its attributes itself; `value_names` must be left out")
    if manual_dir is not None and kind != "tfds":
        raise InputError(f"`manual_dir` is for tfds data sets; {spec} has none")
    if kind == "embedded":
        from jaxdiff.data import embedded_source

        source, assigned = embedded_source.read(spec, size=size)
    elif kind == "tfds":
        from jaxdiff.data import tfds

        source, assigned = tfds.read(spec, manual_dir=manual_dir)
    elif path.suffix == ".npz":
        source, assigned = npz.read(path, attributes=attributes, value_names=value_names or {})
    elif is_samples:
        from jaxdiff.sampleset import SampleSet

        samples = SampleSet.open(path)
        return samples if attributes is None and size is None else View(samples, attributes=attributes, size=size)
    elif path.is_dir() or path.suffix == ".zip":
        source, assigned = folder.read(path, attributes=attributes, value_names=value_names or {})
    else:
        raise InputError(
            f"no data at {spec!r}; it takes 'embedded', 'tfds:NAME', a folder or .zip with labels.csv, an .npz, "
            "or a folder of samples"
        )
    indices = splits.members(assigned, split, source.name)
    return View(source, indices=indices, attributes=attributes, size=size, name=f"{source.name} (split {split!r})")
