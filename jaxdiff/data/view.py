"""Views: part of a source, with images of one size and number of channels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt8

from jaxdiff.data.attributes import find, product_of
from jaxdiff.data.images import fit, fit_region, height_width, with_channels
from jaxdiff.data.source import Source, collect
from jaxdiff.errors import InputError
from jaxdiff.spaces.pixels import CHANNELS, channels_text


class View(Source):
    """Some elements and some attributes of a source, with images of one size and number of channels.

    Arguments:
        source: the source of the images.
        indices: the elements to use; None uses all.
        attributes: names of the attributes to use, in this order; None uses all.
        size: (height, width), or one number for both: images are centre-cropped to this aspect ratio and resized; None keeps
            their size, which must be the same for all.
        channels: images are converted to 1 (grey), 3 (RGB) or 4 (RGB and transparency) channels; None uses the channels of the
            source's first image: channels are added to images with fewer, and images with more raise an error.
        name: the name of the view in error messages and reports; None keeps the source's name.

    Raises:
        InputError: an attribute is unknown, the size or number of channels is invalid, or the first image cannot be decoded.
    """

    def __init__(
        self,
        source: Source,
        *,
        indices: Int[np.ndarray, " n"] | None = None,
        attributes: Sequence[str] | None = None,
        size: int | tuple[int, int] | None = None,
        channels: int | None = None,
        name: str | None = None,
    ):
        if channels is not None and channels not in CHANNELS:
            raise InputError(f"`channels` must be {channels_text()}, got {channels}")
        columns = [find(source.attributes, each) for each in attributes] if attributes is not None else slice(None)
        self.name = name or source.name
        self.attributes = tuple(np.array(source.attributes, object)[columns])
        self.layout, self.notes = source.layout, source.notes
        self._source, self._size = source, None if size is None else height_width(size)
        self._indices = np.arange(len(source)) if indices is None else indices
        self.labels = source.labels[self._indices][:, columns]
        self._loses = channels is not None
        if channels is not None:
            self._channels = channels
        elif len(source):
            self._channels = source.channels
        if len(self):
            self._first = source.image(int(self._indices[0])).shape[:2] if self._size is None else self._size

    @property
    def channels(self) -> int:
        return self._channels

    @property
    def whole(self) -> int:
        return self._source.whole

    def defining_region(self, attribute: str) -> Bool[np.ndarray, "height width"] | None:
        region = self._source.defining_region(attribute)
        return region if region is None or self._size is None else fit_region(region, self._size)

    def image(self, i: int) -> UInt8[np.ndarray, "height width c"]:
        return self._fitted(i, self._source.image(int(self._indices[i])))

    def gather(self, indices: Int[np.ndarray, " n"]) -> list[UInt8[np.ndarray, "_ _ c"]]:
        images = self._source.gather(self._indices[indices])
        return collect(lambda pair: self._fitted(*pair), zip(indices.tolist(), images, strict=True))

    def _fitted(self, i: int, image: UInt8[np.ndarray, "height width c"]) -> UInt8[np.ndarray, "_ _ d"]:
        if image.shape[-1] > self._channels and not self._loses:
            raise InputError(
                f"image {i} of {self.name} is {CHANNELS[image.shape[-1]]} and the first image is {CHANNELS[self._channels]}; "
                f"set `channels` to {image.shape[-1]} or {self._channels}"
            )
        image = with_channels(image, self._channels)
        if self._size is not None:
            return fit(image, self._size)
        if image.shape[:2] != self._first:
            raise InputError(
                f"image {i} of {self.name} has {image.shape[0]} x {image.shape[1]} pixels and image 0 has "
                f"{self._first[0]} x {self._first[1]}; without `size` all images must have the same size"
            )
        return image


class Joined(View):
    """The elements of a source with a single attribute, the product of all of its own (see `product_of`).

    Arguments:
        source: the source, with one attribute or more, and a label of each for every element.
    """

    def __init__(self, source: Source):
        super().__init__(source)
        sizes = [len(each.values) for each in source.attributes]
        self.attributes = (product_of(source.attributes),)
        self.labels = np.ravel_multi_index(tuple(source.labels.T), sizes).astype(np.int32)[:, None]
