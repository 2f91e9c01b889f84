"""Image files as uint8 arrays: decoding, conversion of channels, and cropping and resizing."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError, features

from jaxdiff.boundary import reading
from jaxdiff.errors import InputError
from jaxdiff.spaces import rgb

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
    | ({".avif"} if features.check("avif") else set())
)
"""Suffixes of image files, in lower case, that this Pillow reads."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "AVIF")
"""Formats by the names that Pillow gives them. It knows others, some of which start programs (EPS) or are never images."""

PIXELS = 2**26
"""Pixels of the largest image that is decoded, 8192 x 8192; a small file can say that it has any number."""


def decode(data: bytes, name: str) -> UInt8[np.ndarray, "height width c"]:
    """The pixels of an encoded image (JPEG, PNG, ...) in its original channels: 1 (grey), 3 (RGB) or 4 (transparency).

    The image is turned and mirrored as its EXIF orientation says, as in every viewer. Grey levels of 16 bits v become v / 257,
    rounded.

    Arguments:
        data: the bytes of the image file.
        name: the name of the file in error messages.

    Raises:
        InputError: the bytes cannot be decoded, are of more than `PIXELS` pixels, or are floating-point or of more than 16 bits
            per channel.
    """
    if not data:
        raise InputError(f"{name} cannot be decoded as an image: it is empty")
    with reading(name), open_image(io.BytesIO(data), name) as opened:
        opened.load()
        image = _oriented(opened)
        if image.mode.startswith(("I", "F")):
            return _eight_bits(image, opened.format, name)[..., None]
        pixels = np.array(image.convert(_mode(image)))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def open_image(file: io.BytesIO | Path, name: str) -> Image.Image:
    """An image whose pixels are not decoded yet. Raises `InputError` if it is of no known kind, or has too many pixels."""
    with reading(name):
        try:
            opened = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise InputError(f"{name} cannot be decoded as an image: its content is of no known kind") from error
        if opened.width * opened.height > PIXELS:
            size = f"{opened.width} x {opened.height}"
            raise InputError(f"{name} cannot be decoded as an image: it has {size} pixels, more than {PIXELS:,}")
        return opened


def _oriented(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation says; as stored if its EXIF data are damaged, which viewers ignore."""
    with suppress(Exception):  # Pillow has no end of them
        return ImageOps.exif_transpose(image)
    return image


def _eight_bits(image: Image.Image, file_format: str | None, name: str) -> UInt8[np.ndarray, "height width"]:
    """The grey levels of an image of 16 bits."""
    levels = np.asarray(image)
    # Pillow has 16-bit PGM and some PNG files as 32-bit integers
    if image.mode == "F" or (image.mode == "I" and file_format not in ("PNG", "PPM")):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise InputError(f"{name} has {kind} pixels; images have 8 bits per channel, or 16 if grey")
    return ((levels.astype(np.uint32) * 2 + 257) // 514).astype(np.uint8)


def _mode(image: Image.Image) -> str:
    """The mode with the image's channels, without a palette and with 8 bits per channel."""
    if image.mode in ("1", "L"):
        return "L"
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (image.mode == "P" and "transparency" in image.info)
    return "RGBA" if transparent else "RGB"


def with_channels(image: UInt8[np.ndarray, "height width c"], channels: int) -> UInt8[np.ndarray, "height width d"]:
    """An image converted to another number of channels.

    Grey is repeated; colour becomes grey by luma (ITU-R BT.601); transparency is dropped, or set to opaque if there is none.

    Arguments:
        image: with 1, 3 or 4 channels.
        channels: 1, 3 or 4.
    """
    if image.shape[-1] == channels:
        return image
    colour = rgb(image)
    if channels == 1:
        return np.array(Image.fromarray(colour).convert("L"))[..., None]
    return colour if channels == 3 else np.concatenate([colour, np.full_like(colour[..., :1], 255)], axis=-1)


def height_width(size: int | tuple[int, int]) -> tuple[int, int]:
    """A size as (height, width). Raises `InputError` unless both are whole numbers of at least 1."""
    pair = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    if len(pair) != 2 or not all(isinstance(each, int | np.integer) and each >= 1 for each in pair):
        raise InputError(f"`size` must be a whole number of pixels or (height, width), each at least 1, got {size}")
    return int(pair[0]), int(pair[1])


def fit(image: UInt8[np.ndarray, "height width c"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w c"]:
    """The largest central crop of an image with the aspect ratio of `size`, resized to it by antialiased Lanczos filtering.

    Arguments:
        image: with 1, 3 or 4 channels; colours are weighted by opacity.
        size: (height, width).
    """
    rows, columns = size
    if image.shape[:2] == size:
        return image
    central = image[_central(image.shape[:2], size)]
    resized = Image.fromarray(central[..., 0] if image.shape[-1] == 1 else central).resize(
        (columns, rows), Image.Resampling.LANCZOS
    )
    return np.array(resized).reshape(rows, columns, image.shape[-1])


def fit_region(region: Bool[np.ndarray, "height width"], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The pixels of a fitted image (see `fit`) that depend on a region of the original."""
    if region.shape == size:
        return region
    central = region[_central(region.shape, size)]
    rows, columns = (_reached(*pair) for pair in zip(central.shape, size, strict=True))
    return rows @ central @ columns.T


def _central(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of the largest central crop with the aspect ratio of `size`."""
    (height, width), (rows, columns) = shape, size
    if height * columns <= width * rows:
        part = height, max(1, round(height * columns / rows))
    else:
        part = max(1, round(width * rows / columns)), width
    top, left = (height - part[0]) // 2, (width - part[1]) // 2
    return slice(top, top + part[0]), slice(left, left + part[1])


def _reached(before: int, after: int) -> Bool[np.ndarray, "after before"]:
    """Whether a pixel along one side depends on one of before resizing: Lanczos filters have a radius of three pixels."""
    scale = before / after
    centres = (np.arange(after)[:, None] + 0.5) * scale
    return np.abs(np.arange(before) + 0.5 - centres) < 3 * max(scale, 1) + 0.5
