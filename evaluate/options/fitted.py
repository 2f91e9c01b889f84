"""What the images that a command opens are brought to: options that commands share."""

from dataclasses import dataclass
from typing import Any, Literal

from jaxdiff._console import arguments


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The shape that all images are brought to."""

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
