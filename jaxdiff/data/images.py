"""Image files to uint8 arrays: decoding, and fitting to a square of a given size."""

import io
import struct
import zlib

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxdiff.errors import InputError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})

# All that Pillow raises on bytes that are no image, or half of one.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def decode(data: bytes, name: str) -> UInt8[np.ndarray, "height width 3"]:
    """The RGB pixels of an encoded image (JPEG, PNG, ...); transparency is dropped and grey is repeated.

    Arguments:
        data: the bytes of the image file.
        name: what the error calls the file.

    Raises:
        InputError: the bytes do not decode, or have more than 8 bits a channel.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{name} has pixels of Pillow's mode {image.mode!r}; it takes images of 8 bits a channel")
            if image.mode == "P":
                image = image.convert("RGBA")  # a palette with transparency has no direct way to RGB
            return np.array(image.convert("RGB"))
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(f"{name} does not decode as an image: {error}") from error


def fit(image: UInt8[np.ndarray, "height width 3"], size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The central square of an image, resized to `size` x `size` by Lanczos with antialiasing."""
    height, width = image.shape[:2]
    if height == width == size:
        return image
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(image[top : top + side, left : left + side])
    return np.array(square.resize((size, size), Image.Resampling.LANCZOS))
