"""The work of `jaxdiff train inspect`: says how a data set is read and draws some of its images."""

from typing import Any

import numpy as np

from jaxdiff._console import pictures
from jaxdiff._console.arguments import image_size
from jaxdiff._console.output import claimed
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError

from .inspect_options import Inspect

IMAGES, COLUMNS = 12, 4
_SIZE = 128


def inspect_data(options: Inspect) -> None:
    """Prints what was understood of the data set, writes the picture, and prints the values of its images."""
    if options.out.suffix.lower() != ".png":
        raise InputError(f"--out must be a .png file, got {options.out}")
    names = options.reading["value_names"]
    how = {"split": options.split, "channels": options.channels, "attributes": options.attributes or None, "value_names": names}
    size = image_size(options.size)
    with claimed(options.out, whole=True):
        _inspect(options, size, how)


def _inspect(options: Inspect, size: tuple[int, int] | None, how: dict[str, Any]) -> None:
    given = options.opened(options.data)
    source = given.take(size=size, **how)
    show_data(source)
    # a view's images must have one size: without --size, it is that of the picture
    shown = source if size is not None else given.take(size=_SIZE, **how)
    chosen = np.sort(np.random.default_rng(options.seed).permutation(len(shown))[:IMAGES])
    images = np.stack(shown.gather(chosen))
    pictures.write(pictures.grid(images, COLUMNS), options.out)
    console.print(f"{len(chosen)} images in {options.out}, by rows from the top left:")
    for place, index in enumerate(chosen, start=1):
        row = zip(shown.attributes, shown.labels[index], strict=True)
        values = ", ".join(f"{attribute.name} {attribute.values[code]}" for attribute, code in row)
        console.print(f"  {place:2d}  image {index}: {values or 'no labels'}", highlight=False, soft_wrap=True)
