"""Views: part of a source, with all images of one size and of as many channels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8

from jaxdiff.data.attributes import find
from jaxdiff.data.images import fit, height_width, with_channels
from jaxdiff.data.source import Source, collect
from jaxdiff.errors import InputError
from jaxdiff.spaces.pixels import CHANNELS, channels_text


class View(Source):
    """Some elements and some attributes of a source, with all images of one size and of as many channels.

    Arguments:
        source: where the images come from.
        indices: the elements to take; None takes all.
        attributes: names of the attributes to take, in this order; None takes all.
        size: images are cropped to their largest central part of this shape and resized to it: (height, width), or one number
            for squares; None leaves them, and they must share one size.
        channels: images are brought to 1 (grey), 3 (RGB) or 4 (RGB and transparency) channels; None takes those of the
            source's first image: others with fewer gain channels, others with more are refused, since they would lose some.
        name: what errors and reports call the view; None keeps the source's name.

    Raises:
        InputError: an unknown attribute, a bad size or number of channels, or a first image that does not decode.
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

    def image(self, i: int) -> UInt8[np.ndarray, "height width c"]:
        return self._fitted(i, self._source.image(int(self._indices[i])))

    def gather(self, indices: Int[np.ndarray, " n"]) -> list[UInt8[np.ndarray, "_ _ c"]]:
        images = self._source.gather(self._indices[indices])
        return collect(lambda pair: self._fitted(*pair), zip(indices.tolist(), images, strict=True))

    def _fitted(self, i: int, image: UInt8[np.ndarray, "height width c"]) -> UInt8[np.ndarray, "_ _ d"]:
        if image.shape[-1] > self._channels and not self._loses:
            raise InputError(
                f"image {i} of {self.name} is {CHANNELS[image.shape[-1]]} and the first image is {CHANNELS[self._channels]}; "
                f"say which `channels` all shall have, {image.shape[-1]} or {self._channels}"
            )
        image = with_channels(image, self._channels)
        if self._size is not None:
            return fit(image, self._size)
        if image.shape[:2] != self._first:
            raise InputError(
                f"image {i} of {self.name} has {image.shape[0]} x {image.shape[1]} pixels and image 0 has "
                f"{self._first[0]} x {self._first[1]}; without `size` all must share one size"
            )
        return image
