"""Sources: labelled images by index, from anywhere."""

import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Int, Int32, Shaped, UInt8

from jaxdiff.data.attributes import Attribute, find
from jaxdiff.data.images import decode
from jaxdiff.errors import InputError
from jaxdiff.spaces.pixels import CHANNELS

THREADS = 4
"""Number of decoding threads: Pillow releases the GIL."""


class Source(abc.ABC):
    """Labelled images by index; also a random-access data source for grain.

    Subclasses set the first three fields and define `image`, which must be thread-safe.

    Fields:
        name: the name of the source in error messages and reports.
        attributes: the A attributes of every image.
        labels: int32 (N, A), all labels, available without decoding images.
        layout: the name of the reader that read it (see `jaxdiff.data.readers`); empty if it was not read from a file.
        notes: what a person should know of how it was read, a line each.
        noun: what its elements are, in the plural.
    """

    name: str
    attributes: tuple[Attribute, ...]
    labels: np.ndarray
    layout: str = ""
    notes: tuple[str, ...] = ()
    noun: ClassVar[str] = "images"

    @abc.abstractmethod
    def image(self, i: int) -> UInt8[np.ndarray, "height width c"]:
        """Image i, with 1 (grey), 3 (RGB) or 4 (RGB and transparency) channels.

        Raises `InputError` naming the file if it cannot be decoded.
        """

    @property
    def channels(self) -> int:
        """The channels of the first image."""
        return self.image(0).shape[-1]

    @property
    def whole(self) -> int:
        """The number of images of the data set of which this is a part, over all splits."""
        return len(self)

    def defining_region(self, attribute: str) -> Bool[np.ndarray, "height width"] | None:
        """The pixels that can show the feature that defines an attribute, the same for all images; None where it is not known.

        Outside it, images do not change with this attribute alone.
        """
        return None

    def form(self) -> str:
        """The size of the first image and its channels in words."""
        height, width, channels = self.image(0).shape
        return f"{height}x{width} {CHANNELS[channels]}"

    def gather(self, indices: Int[np.ndarray, " n"]) -> list[Shaped[np.ndarray, "..."]]:
        """Several images, decoded on several threads. Raises one `InputError` for all that cannot be decoded."""
        return collect(self.image, indices.tolist())

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """An element: its `image` uint8 (H, W, C), its `labels` int32 (A,) and its `index`, an int."""
        return {"image": self.image(index), "labels": self.labels[index], "index": int(index)}

    def cached(self, limit: int = 2**30) -> "Source":
        """This source with all images decoded in memory; the source itself if that takes more than `limit` bytes.

        Training reads each image hundreds of times, so decoding once is worthwhile if the images fit.
        """
        if len(self) * self.image(0).nbytes > limit:
            return self
        images, labels = load_arrays(self)
        cached = ArraySource(images, labels, self.attributes, name=self.name)
        cached.layout, cached.notes = self.layout, self.notes
        return cached


class ArraySource(Source):
    """Images and labels in memory.

    Arguments:
        images: uint8 (N, H, W, C), with 1, 3 or 4 channels.
        labels: int32 (N, A), each in the range of its attribute.
        attributes: the A attributes.
        name: the name of the source in error messages and reports.

    Raises:
        InputError: images, labels and attributes are inconsistent.
    """

    def __init__(
        self,
        images: UInt8[np.ndarray, "n height width c"],
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

    def image(self, i: int) -> UInt8[np.ndarray, "height width c"]:
        return self.images[i]


class FileSource(Source):
    """Encoded images, read and decoded on demand.

    Arguments:
        files: the name of each image, as used in error messages and passed to `read`.
        read: returns the bytes of an image file by name; must be thread-safe and raise `InputError` if it cannot.
        labels: int32 (N, A).
        attributes: the A attributes.
        name: the name of the source in error messages and reports.
    """

    def __init__(
        self,
        files: Sequence[str],
        read: Callable[[str], bytes],
        labels: Int32[np.ndarray, "n a"],
        attributes: Sequence[Attribute],
        *,
        name: str,
    ):
        self.files, self.labels, self.attributes, self.name = tuple(files), labels, tuple(attributes), name
        self._read = read

    def image(self, i: int) -> UInt8[np.ndarray, "height width c"]:
        file = self.files[i]
        return decode(self._read(file), f"{self.name}/{file}")


def load_arrays(
    source: Source, *, count: int | None = None, seed: int = 0
) -> tuple[Shaped[np.ndarray, "n ..."], Int32[np.ndarray, "n a"]]:
    """Images (or samples of another kind) and labels of a source as arrays, decoded on several threads.

    Arguments:
        source: a source with at least one image, whose images share one size.
        count: how many elements to draw without replacement; None takes all in order.
        seed: for the draw. A smaller `count` gives a prefix of a larger one.

    Raises:
        InputError: there are fewer than `count` elements, or images cannot be decoded or differ in size; the first few are
            named.
    """
    indices = np.arange(len(source))
    if count is not None:
        if not 1 <= count <= len(source):
            raise InputError(f"`count` must be between 1 and the {len(source)} images of {source.name}, got {count}")
        indices = np.random.default_rng(seed).permutation(len(source))[:count]
    first = source.image(int(indices[0]))
    images = np.empty((len(indices), *first.shape), first.dtype)
    for start, part in _parts(indices):
        for row, image in enumerate(source.gather(part), start=start):
            if image.shape != first.shape:
                raise InputError(
                    f"images of {source.name} differ in shape: image {indices[row]} is {image.shape}, not {first.shape}"
                )
            images[row] = image
    return images, source.labels[indices]


def verify(source: Source) -> None:
    """Decodes every image once, so that damaged files are found before any computation.

    Raises:
        InputError: images cannot be decoded or differ in size; the first few are named.
    """
    for _, part in _parts(np.arange(len(source))):
        source.gather(part)


def require_two_values(source: Source, attribute: str) -> None:
    """Raises `InputError` unless at least two values of the attribute occur in the source."""
    column = find(source.attributes, attribute)
    present = np.unique(source.labels[:, column])
    if len(present) < 2:
        only = f"only the value {source.attributes[column].values[present[0]]!r}" if len(present) else "no value"
        raise InputError(f"attribute {attribute!r} has {only} in {source.name}; at least two are needed")


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
    return [result for result in results if not isinstance(result, InputError)]


def _parts(indices: Int[np.ndarray, " n"]) -> Iterator[tuple[int, Int[np.ndarray, " m"]]]:
    """The indices in parts, each with its start: before they are resized, few images may be large."""
    for start in range(0, len(indices), 128):
        yield start, indices[start : start + 128]
