"""Views: part of a source, with all images of one size."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8

from jaxdiff.data.attributes import find
from jaxdiff.data.images import fit
from jaxdiff.data.source import Source, collect
from jaxdiff.errors import InputError


class View(Source):
    """Some elements and some attributes of a source, with all images of one size.

    Arguments:
        source: where the images come from.
        indices: the elements to take; None takes all.
        attributes: names of the attributes to take, in this order; None takes all.
        size: images are cropped to their central square and resized to `size` x `size`; None leaves them, and they must
            share one size.
        name: what errors and reports call the view; None keeps the source's name.

    Raises:
        InputError: an unknown attribute, a bad size, or a first image that does not decode.
    """

    def __init__(
        self,
        source: Source,
        *,
        indices: Int[np.ndarray, " n"] | None = None,
        attributes: Sequence[str] | None = None,
        size: int | None = None,
        name: str | None = None,
    ):
        if size is not None and size < 1:
            raise InputError(f"`size` must be at least 1 pixel, got {size}")
        columns = [find(source.attributes, each) for each in attributes] if attributes is not None else slice(None)
        self.name = name or source.name
        self.attributes = tuple(np.array(source.attributes, object)[columns])
        self._source, self._size = source, size
        self._indices = np.arange(len(source)) if indices is None else indices
        self.labels = source.labels[self._indices][:, columns]
        if len(self):
            first = source.image(int(self._indices[0]))
            self._shape = first.shape if size is None else (size, size, 3)

    def image(self, i: int) -> UInt8[np.ndarray, "height width 3"]:
        return self._fitted(i, self._source.image(int(self._indices[i])))

    def gather(self, indices: Int[np.ndarray, " n"]) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        images = self._source.gather(self._indices[indices])
        return collect(lambda pair: self._fitted(*pair), zip(indices.tolist(), images, strict=True))

    def _fitted(self, i: int, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
        if self._size is not None:
            return fit(image, self._size)
        if image.shape != self._shape:
            raise InputError(
                f"image {i} of {self.name} has {image.shape[0]} x {image.shape[1]} pixels and image 0 has "
                f"{self._shape[0]} x {self._shape[1]}; without `size` all must share one size"
            )
        return image
