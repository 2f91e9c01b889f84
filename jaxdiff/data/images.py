"""Image files as uint8 arrays: decoding, conversion of channels, and cropping and resizing."""

import io
import struct
import zlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxdiff.errors import InputError
from jaxdiff.spaces import rgb

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})

# the exceptions that Pillow raises for invalid or truncated images
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def decode(data: bytes, name: str) -> UInt8[np.ndarray, "height width c"]:
    """The pixels of an encoded image (JPEG, PNG, ...) in its original channels: 1 (grey), 3 (RGB) or 4 (transparency).

    Arguments:
        data: the bytes of the image file.
        name: the name of the file in error messages.

    Raises:
        InputError: the bytes cannot be decoded, or have more than 8 bits per channel.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{name} has Pillow mode {image.mode!r}; only images with 8 bits per channel are supported")
            pixels = np.array(image.convert(_mode(image)))
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(f"{name} cannot be decoded as an image: {error}") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


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
    height, width = image.shape[:2]
    if (height, width) == size:
        return image
    rows, columns = size
    if height * columns <= width * rows:
        part = height, max(1, round(height * columns / rows))
    else:
        part = max(1, round(width * rows / columns)), width
    top, left = (height - part[0]) // 2, (width - part[1]) // 2
    central = image[top : top + part[0], left : left + part[1]]
    resized = Image.fromarray(central[..., 0] if image.shape[-1] == 1 else central).resize(
        (columns, rows), Image.Resampling.LANCZOS
    )
    return np.array(resized).reshape(rows, columns, image.shape[-1])
