"""What the commands ask of the sources that they open."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from jaxdiff._console import arguments
from jaxdiff.data import Source
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.spaces import Pixels, require_pixels


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What all images that a command opens are brought to: options that commands share."""

    size: str | None = None
    """Size that all images are brought to, in pixels a side or as HEIGHTxWIDTH; by default they are left as they are, and must
    agree, or a --model's."""
    channels: Literal[1, 3, 4] | None = None
    """Channels that all images are brought to, 1 (grey), 3 (RGB) or 4 (RGB and transparency); by default each set's own, which
    must agree, or a --model's."""

    @property
    def fitting(self) -> dict[str, Any]:
        """The arguments of `open_data` that say so. Raises `InputError` for a size that is none."""
        return {"size": arguments.image_size(self.size), "channels": self.channels}

    def fitting_of(self, model: Model, where: object) -> dict[str, Any]:
        """The same for images that a model is asked about.

        Raises:
            InputError: the model is not one of pixels, or of another size or other channels than the options name.
        """
        height, width, channels = require_pixels(model.space, f"the model at {where}").shape
        own = {"size": (height, width), "channels": channels}
        for name, given in self.fitting.items():
            if given not in (None, own[name]):
                raise InputError(f"--{name} must be that of the model at {where}, {model.space}; got {getattr(self, name)}")
        return own


def require_one_size(sources: Iterable[Source]) -> None:
    """Raises `InputError` unless the first images of all sources that have any share one size and number of channels."""
    shapes = {source.name: Pixels(*source.image(0).shape) for source in sources if len(source)}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} has {shape}" for name, shape in shapes.items())
        raise InputError(f"images must have one size and as many channels: {listed}; --size and --channels bring them to one")
