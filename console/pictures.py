"""Pictures that the programs write."""

import math
import os
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image


def to_uint8(images: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Images in [-1, 1] as bytes, rounded to the nearest."""
    return np.clip(np.rint((np.asarray(images, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def grid(
    images: UInt8[np.ndarray, "n h w c"], columns: int | None = None, *, pad: int = 2, enlarge: int | None = None
) -> Image.Image:
    """Images side by side on white, enlarged by whole factors so that small ones can be seen.

    Arguments:
        images: (N, H, W, 3).
        columns: images a row; by default about as many as rows.
        pad: pixels between images.
        enlarge: factor; by default what makes an image at least 64 pixels high.
    """
    count, height, width, _ = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    factor = enlarge or max(1, math.ceil(64 / height))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = height * factor, width * factor
    sheet = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = pad + i // columns * (height + pad), pad + i % columns * (width + pad)
        sheet[top : top + height, left : left + width] = image
    return Image.fromarray(sheet)


def write(picture: Image.Image, path: Path) -> None:
    """Writes a PNG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    picture.save(partial, format="PNG")
    os.replace(partial, path)
