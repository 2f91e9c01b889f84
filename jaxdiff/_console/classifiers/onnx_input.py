"""How images are given to a classifier in ONNX: type, layout, size, batch and normalisation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxdiff.errors import InputError
from jaxdiff.spaces import rgb

from .request import Layout

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(uint8)": "uint8"}
"""The input types that images can be given in, by their names in onnxruntime."""
LEVELS = 127.5
"""The default mean and scale: levels 0 to 255 become -1 to 1."""


@dataclass(frozen=True)
class InputFormat:
    """How a classifier takes images.

    Attributes:
        name: of the input.
        dtype: float16, float32 or float64; or uint8, for levels 0 to 255 that the file normalises itself.
        layout: whether channels come before or after the pixels.
        flat: whether each image is one row of numbers.
        channels: 3 (RGB) or 1 (grey).
        size: (H, W); None along an axis takes that of the images.
        batch: images a run; None for any number.
        mean: subtracted from the levels of each channel.
        scale: the difference is divided by it.
    """

    name: str
    dtype: str
    layout: Layout
    flat: bool
    channels: int
    size: tuple[int | None, int | None]
    batch: int | None
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def describe(self) -> str:
        """One line for reports."""
        channels = "RGB" if self.channels == 3 else "grey"
        height, width = ("any" if axis is None else axis for axis in self.size)
        batch = "any number" if self.batch is None else self.batch
        layout = "flat rows, " + self.layout[1:].upper() if self.flat else self.layout.upper()
        levels = "levels 0 to 255"
        if self.dtype != "uint8":
            mean, scale = (" ".join(f"{number:g}" for number in numbers) for numbers in (self.mean, self.scale))
            levels = f"(level - {mean}) / {scale}"
        return f"{channels} {height}x{width}, {layout}, {self.dtype}, {levels}, {batch} at once"

    def arrays(self, images: UInt8[np.ndarray, "n h w c"]) -> np.ndarray:
        """The input for images; see `jaxdiff.spaces.rgb`."""
        fitted = np.stack([self._fitted(image) for image in rgb(images)])
        if self.dtype != "uint8":
            fitted = (fitted.astype(np.float32) - np.array(self.mean, np.float32)) / np.array(self.scale, np.float32)
        if self.layout == "nchw":
            fitted = fitted.transpose(0, 3, 1, 2)
        if self.flat:
            fitted = fitted.reshape(len(fitted), -1)
        return np.ascontiguousarray(fitted, self.dtype)

    def _fitted(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "height width channels"]:
        """The image in the channels and the size of the input, resized bilinearly with antialiasing."""
        height, width = (own if axis is None else axis for axis, own in zip(self.size, image.shape[:2], strict=True))
        wanted = height, width
        if self.channels == 3 and image.shape[:2] == wanted:
            return image
        picture = Image.fromarray(image)
        if self.channels == 1:
            picture = picture.convert("L")
        if image.shape[:2] != wanted:
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(picture).reshape(*wanted, self.channels)


def input_format(
    given: Any,
    *,
    file: Any,
    option: str,
    layout: Layout | None = None,
    size: tuple[int, int] | None = None,
    mean: float | Sequence[float] | None = None,
    scale: float | Sequence[float] | None = None,
) -> InputFormat:
    """Reads off how a classifier takes images.

    Arguments:
        given: the input, as onnxruntime describes it.
        file: the ONNX file, for errors.
        option: the option that names it, for errors.
        layout, size: where the shape of the input does not specify them.
        mean, scale: of the normalisation, one number or one for each channel; by default `LEVELS`.

    Raises:
        InputError: a type, rank or number of channels that is no image; a shape that does not specify them where the option
            is not given, or that contradicts it.
    """
    dtype = TYPES.get(given.type)
    if dtype is None:
        raise InputError(f"{option} {file} takes {given.type}; images are given as {', '.join(TYPES)}")
    shape = [axis if isinstance(axis, int) and axis > 0 else None for axis in given.shape]
    if len(shape) not in (2, 4):
        raise InputError(
            f"{option} must take images (N, 3, H, W), (N, H, W, 3) or flat rows (N, 3 H W), or the same with 1 channel; "
            f"{file} takes {given.shape}"
        )
    if len(shape) == 4:
        layout, channels, fixed = _of_axes(shape, given.shape, file, layout, option)
    else:
        layout, channels, fixed = _of_row(shape[1], file, layout, size, option)
    if size is not None and any(axis not in (None, wanted) for axis, wanted in zip(fixed, size, strict=True)):
        raise InputError(f"{option}-size {size[0]}x{size[1]} contradicts {file}, which takes {given.shape}")
    if dtype == "uint8" and not (mean is None and scale is None):
        raise InputError(
            f"{option} {file} takes uint8, levels 0 to 255, which it normalises itself: leave out {option}-mean and "
            f"{option}-scale"
        )
    return InputFormat(
        given.name, dtype, layout, len(shape) == 2, channels, size or fixed, shape[0],
        _of_channels(f"{option}-mean", mean, channels), _of_channels(f"{option}-scale", scale, channels),
    )  # fmt: skip


def _of_axes(
    shape: Sequence[int | None], shown: Any, file: Any, layout: Layout | None, option: str
) -> tuple[Layout, int, tuple[int | None, int | None]]:
    """Layout, channels and size of an input of four axes."""
    places: dict[Layout, int] = {"nchw": 1, "nhwc": 3}
    found = [each for each, place in places.items() if shape[place] in (1, 3)]
    if layout is None and len(found) != 1:
        if not found and None not in (shape[1], shape[3]):
            raise InputError(f"{option} must take images of 3 channels or 1, {file} takes {shown}")
        raise InputError(f"{option}-layout nchw or nhwc is needed: the shape {shown} of {file} does not say where they are")
    layout = layout or found[0]
    channels = 3 if shape[places[layout]] is None else shape[places[layout]]
    if channels not in (1, 3):
        raise InputError(f"{option}-layout {layout} contradicts {file}, which takes {shown}")
    first = 2 if layout == "nchw" else 1
    return layout, channels, (shape[first], shape[first + 1])


def _of_row(
    length: int | None, file: Any, layout: Layout | None, size: tuple[int, int] | None, option: str
) -> tuple[Layout, int, tuple[int | None, int | None]]:
    """Layout, channels and size of an input of rows, which are square images unless the size is given."""
    channels: int = 3
    fixed: tuple[int | None, int | None] = size or (None, None)
    if length is not None:
        # a number is at most one of a square and three times a square
        sizes = {each: size or _square(length // each) for each in (3, 1)}
        fitting = [each for each, (height, width) in sizes.items() if height * width * each == length]
        if not fitting:
            asked = f"of {size[0]}x{size[1]}" if size else f"square; give {option}-size"
            raise InputError(f"{option} {file} takes rows of {length} numbers, which are no images {asked}")
        channels, fixed = fitting[0], sizes[fitting[0]]
    if channels == 3 and layout is None:
        raise InputError(
            f"{option}-layout is needed: {file} takes flat rows, and their length does not specify whether the channels "
            "come last, as in scikit-learn (nhwc), or first (nchw)"
        )
    return layout or "nhwc", channels, fixed


def _square(pixels: int) -> tuple[int, int]:
    side = math.isqrt(pixels)
    return side, side


def _of_channels(name: str, given: float | Sequence[float] | None, channels: int) -> tuple[float, ...]:
    """One number, or one for each channel."""
    numbers = tuple(np.atleast_1d(LEVELS if given is None else given).tolist())
    if len(numbers) not in (1, channels):
        raise InputError(f"{name} takes one number or one for each of {channels} channels, got {len(numbers)}")
    return numbers
