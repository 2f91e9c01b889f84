"""The images of the HTML report: the first of each group of a set, in grids that are embedded in the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from jaxdiff.data import Source
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import rgb

SPACE = 2
"""Transparent pixels between the images of a grid."""
LARGEST = 128
"""Largest side of an image in pixels; larger images are shrunk."""
LOSSLESS = 64
"""Largest side in pixels of images that are stored losslessly."""


@dataclass(frozen=True)
class ImageSet:
    """Some images of a set, by attribute value.

    Attributes:
        name: name of the set.
        provenance: how a set of samples was drawn; None for other images.
        count: number of images in the whole set.
        indices: positions in the set of the images of each value.
        images: images of each value, uint8 (N, H, W, C).
        captions: captions of the set, see `jaxdiff.data.samples.Samples`.
    """

    name: str
    provenance: Mapping[str, Any] | None
    count: int
    indices: Mapping[str, Int[np.ndarray, " n"]]
    images: Mapping[str, UInt8[np.ndarray, "n h w c"]]
    captions: Mapping[str, Any] = field(default_factory=dict)


def read_images(source: Source, values: Sequence[str], limit: int, name: str, samples: SampleSet | None) -> ImageSet:
    """The first `limit` images of each value of a source's only attribute.

    Arguments:
        source: the images, with one attribute.
        values: the values.
        limit: maximum number of images of each value.
        name: name of the set.
        samples: the set of samples that contains the images; None for other images.

    Raises:
        InputError: a value that the attribute does not have or that no image has, or an image that cannot be decoded.
    """
    (attribute,) = source.attributes
    indices = {value: np.flatnonzero(source.labels[:, 0] == attribute.index(value))[:limit] for value in values}
    if absent := [value for value, found in indices.items() if not len(found)]:
        raise InputError(f"{source.name} has no image whose {attribute.name} is {' or '.join(absent)}")
    images = {value: np.stack(source.gather(found)) for value, found in indices.items()}
    if samples and samples.refused.any():
        left = np.flatnonzero(~samples.refused)  # the source is without the refused ones
        indices = {value: left[found] for value, found in indices.items()}
    provenance, captions = (samples.provenance, samples.captions) if samples else (None, {})
    return ImageSet(name, provenance, len(source), indices, images, captions)


def image_grid(images: UInt8[np.ndarray, "n h w c"], columns: int, enlarge: int, about: str) -> str:
    """An <img> element with a grid of images, which contains its data.

    Arguments:
        images: the images.
        columns: images per row.
        enlarge: CSS pixels per pixel of images with a side of 32; larger images are shown at the same size.
        about: the alternative text.
    """
    images = rgb(images)
    if max(images.shape[1:3]) > LARGEST:
        shape = tuple(max(1, round(side * LARGEST / max(images.shape[1:3]))) for side in images.shape[2:0:-1])
        images = np.stack([np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.LANCZOS)) for image in images])
    count, height, width = images.shape[:3]
    columns = min(columns, count)
    rows = -(-count // columns)
    # transparent between the images, to suit light and dark pages and paper
    canvas = np.zeros((rows * (height + SPACE) - SPACE, columns * (width + SPACE) - SPACE, 4), np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + SPACE), i % columns * (width + SPACE)
        canvas[top : top + height, left : left + width] = np.dstack([image, np.full((height, width), 255, np.uint8)])
    shown = max(1, round(32 * enlarge / width)) * canvas.shape[1]
    exact = max(height, width) <= LOSSLESS
    content = io.BytesIO()
    Image.fromarray(canvas).save(content, "WEBP", **({"lossless": True} if exact else {"quality": 90}))
    return (
        f'<img class="images{" exact" if exact else ""}" src="{data_uri(content.getvalue(), "webp")}" alt="{escape(about)}" '
        f'width="{shown}" height="{round(shown * canvas.shape[0] / canvas.shape[1])}">'
    )


def data_uri(content: bytes, kind: str) -> str:
    """The bytes of an image as a data: URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
