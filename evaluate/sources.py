"""Checks of the sources that the commands open."""

from collections.abc import Iterable
from typing import Any

from jaxdiff.data import Source
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.spaces import Pixels, require_pixels


def image_format_of(options: Any, model: Model) -> dict[str, Any]:
    """The arguments of `open_data` for images that a model evaluates.

    Arguments:
        options: options of a command, an `ImageFormat` with a path `model`.
        model: the model at this path.

    Raises:
        InputError: the model is not a model of pixels, or its size or channels differ from the options.
    """
    height, width, channels = require_pixels(model.space, f"the model at {options.model}").shape
    own = {"size": (height, width), "channels": channels}
    for name, given in options.image_format.items():
        if given not in (None, own[name]):
            raise InputError(
                f"--{name} must be that of the model at {options.model}, {model.space}; got {getattr(options, name)}"
            )
    return own


def require_one_size(sources: Iterable[Source], *, least: int = 1) -> None:
    """Raises `InputError` unless the first images of all sources that have any share one size and number of channels, with at
    least `least` pixels a side."""
    shapes = {source.name: Pixels(*source.image(0).shape) for source in sources if len(source)}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} has {shape}" for name, shape in shapes.items())
        raise InputError(f"images must have one size and as many channels: {listed}; --size and --channels bring them to one")
    for name, shape in shapes.items():
        if min(shape.height, shape.width) < least:
            raise InputError(f"{name} has {shape}; classifiers take at least {least}x{least}: give --size")
