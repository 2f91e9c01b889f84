"""Options of `jaxdiff train inspect`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxdiff._console.arguments import image_size
from jaxdiff._console.reading import Reading
from jaxdiff.bounds import Seed


@dataclass(frozen=True)
class Inspect(Reading):
    """Prints how a data set is read, without training: layout, images, size, channels, and the attributes with the number of
    images of each value; and writes a picture of twelve of its images, whose values it prints in the same order.

    Examples:

      jaxdiff train inspect ~/celeba

      jaxdiff train inspect shards/ --split validation --size 32 --attributes label --out shards.png
    """

    data: Annotated[str, tyro.conf.Positional]
    """Data set, as for --data of `jaxdiff train`."""
    split: Literal["train", "validation", "test", "all"] = "all"
    """Part of the data set."""
    attributes: tuple[str, ...] = ()
    """Attributes to show; by default all with at most 32 values."""
    size: str | None = None
    """Crop and resize images to this size in pixels, a number or HEIGHTxWIDTH, as training does. By default the picture shows
    them at 128."""
    channels: Literal[1, 3, 4] | None = None
    """Image channels: 1 (grey), 3 (RGB) or 4 (RGBA); by default as in the data."""
    seed: Seed = 0
    """Random seed of the choice of images."""
    out: Path = Path("inspect.png")
    """Picture to write; an existing one is replaced."""

    def __post_init__(self):
        super().__post_init__()
        image_size(self.size)
