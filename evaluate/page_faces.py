"""The faces of the HTML report: the first of each group of a set, and sheets of them that need no other file."""

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
"""Clear pixels between the faces of a sheet."""
LARGEST = 128
"""Pixels a side of the largest face shown; larger ones are shrunk."""
LOSSLESS = 64
"""Pixels a side up to which a sheet loses nothing."""


@dataclass(frozen=True)
class Faces:
    """Some images of a set, by group.

    Attributes:
        name: of the set.
        provenance: how a set of samples was drawn; None of other images.
        count: images in the whole set.
        indices: of each value's images, where they lie in the set.
        images: of each value, uint8 (N, H, W, C).
        captions: what the set says of itself, see `jaxdiff.data.samples.Samples`.
    """

    name: str
    provenance: Mapping[str, Any] | None
    count: int
    indices: Mapping[str, Int[np.ndarray, " n"]]
    images: Mapping[str, UInt8[np.ndarray, "n h w c"]]
    captions: Mapping[str, Any] = field(default_factory=dict)


def read_faces(source: Source, values: Sequence[str], limit: int, name: str, drawn: SampleSet | None) -> Faces:
    """The first `limit` images of each value of a source's only attribute.

    Arguments:
        source, values, limit: as said.
        name: of the set.
        drawn: the set of samples that the images are of; None for others.

    Raises:
        InputError: a value that the source does not know or has no image of, or an image that does not decode.
    """
    (attribute,) = source.attributes
    indices = {value: np.flatnonzero(source.labels[:, 0] == attribute.index(value))[:limit] for value in values}
    if absent := [value for value, found in indices.items() if not len(found)]:
        raise InputError(f"{source.name} has no image whose {attribute.name} is {' or '.join(absent)}")
    images = {value: np.stack(source.gather(found)) for value, found in indices.items()}
    provenance, captions = (drawn.provenance, drawn.captions) if drawn else (None, {})
    return Faces(name, provenance, len(source), indices, images, captions)


def sheet(images: UInt8[np.ndarray, "n h w c"], columns: int, enlarge: int, about: str) -> str:
    """An <img> of images side by side, `columns` a row, with its bytes in it.

    Arguments:
        images: the images.
        columns: how many a row.
        enlarge: CSS pixels for each pixel of a face of 32 pixels; larger faces get as much room.
        about: the alternative text.
    """
    images = rgb(images)
    if max(images.shape[1:3]) > LARGEST:
        shape = tuple(max(1, round(side * LARGEST / max(images.shape[1:3]))) for side in images.shape[2:0:-1])
        images = np.stack([np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.LANCZOS)) for image in images])
    count, height, width = images.shape[:3]
    columns = min(columns, count)
    rows = -(-count // columns)
    # clear between the faces, so that it suits light, dark and paper
    canvas = np.zeros((rows * (height + SPACE) - SPACE, columns * (width + SPACE) - SPACE, 4), np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + SPACE), i % columns * (width + SPACE)
        canvas[top : top + height, left : left + width] = np.dstack([image, np.full((height, width), 255, np.uint8)])
    shown = max(1, round(32 * enlarge / width)) * canvas.shape[1]
    exact = max(height, width) <= LOSSLESS
    content = io.BytesIO()
    Image.fromarray(canvas).save(content, "WEBP", **({"lossless": True} if exact else {"quality": 90}))
    return (
        f'<img class="sheet{" exact" if exact else ""}" src="{data_uri(content.getvalue(), "webp")}" alt="{escape(about)}" '
        f'width="{shown}" height="{round(shown * canvas.shape[0] / canvas.shape[1])}">'
    )


def data_uri(content: bytes, kind: str) -> str:
    """The bytes of an image as a data: URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
