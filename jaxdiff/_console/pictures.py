"""Image grids that the programs write."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont

from jaxdiff.spaces import rgb
from jaxdiff.writing import whole


def grid(
    images: UInt8[np.ndarray, "n h w c"], columns: int | None = None, *, pad: int = 2, enlarge: int | None = None
) -> Image.Image:
    """A grid of images on white; small images are enlarged by an integer factor.

    Arguments:
        images: (N, H, W, C), with 1, 3 or 4 channels; see `jaxdiff.spaces.rgb`.
        columns: images per row; by default a nearly square grid.
        pad: pixels between images.
        enlarge: the factor; by default the smallest that makes images at least 64 pixels high.
    """
    images = rgb(images)
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


def framed(
    images: UInt8[np.ndarray, "n h w c"], marked: Bool[np.ndarray, " n"], colour: tuple[int, int, int] = (213, 94, 0)
) -> UInt8[np.ndarray, "n height width 3"]:
    """Images enlarged as by `grid`, with a coloured frame around marked images and a white frame around the others."""
    factor = max(1, math.ceil(64 / images.shape[1]))
    large = rgb(images).repeat(factor, axis=1).repeat(factor, axis=2)
    frames = np.where(marked[:, None, None, None], np.array(colour, np.uint8), np.uint8(255))
    count, height, width, _ = large.shape
    sheet = np.broadcast_to(frames, (count, height + 6, width + 6, 3)).copy()
    sheet[:, 3:-3, 3:-3] = large
    return sheet


def rows(names: Sequence[str], images: Sequence[UInt8[np.ndarray, "_ h w c"]], columns: int = 16) -> Image.Image:
    """Grids of several sets, one below the other, each with its name above."""
    sheets = [grid(each, columns, enlarge=1) for each in images]
    title = 22
    whole = Image.new("RGB", (max(sheet.width for sheet in sheets), sum(sheet.height + title for sheet in sheets)), "white")
    draw, top = ImageDraw.Draw(whole), 0
    for name, sheet in zip(names, sheets, strict=True):
        draw.text((4, top + 3), name, fill="black", font=ImageFont.load_default(size=15))
        whole.paste(sheet, (0, top + title))
        top += sheet.height + title
    return whole


def write(picture: Image.Image, path: Path) -> None:
    """Writes a PNG atomically."""
    with whole(path) as partial:
        picture.save(partial, format="PNG")
