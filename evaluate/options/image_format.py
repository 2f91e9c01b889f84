"""Options for the size and channels of images, which several commands share."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxdiff._console import arguments


@dataclass(frozen=True, kw_only=True)
class ImageFormat(arguments.CheckedOptions):
    """Size and channels of all images."""

    size: str | None = None
    """Size to which all images are resized, in pixels or as HEIGHTxWIDTH. By default the model's with --model, else the images'
    own, which must agree."""
    channels: Literal[1, 3, 4] | None = None
    """Channels to which all images are converted: 1 (grey), 3 (RGB) or 4 (RGBA). By default the model's with --model, else the
    images' own, which must agree."""

    @property
    def image_format(self) -> dict[str, Any]:
        """The arguments `size` and `channels` of `open_data`. Raises `InputError` for an invalid size."""
        return {"size": arguments.image_size(self.size), "channels": self.channels}
