"""Images as the process sees them: pixels in [-1, 1]."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from jaxdiff.errors import InputError
from jaxdiff.guidance import Clip
from jaxdiff.spaces.space import Space

CHANNELS = {1: "grey", 3: "RGB", 4: "RGB and transparency"}
"""How many channels an image may have, and what they are."""


@dataclass(frozen=True)
class Pixels(Space):
    """Images of bytes, and their pixels in [-1, 1]: byte v is v / 127.5 - 1.

    Arguments:
        height, width: in pixels.
        channels: 1 (grey), 3 (RGB) or 4 (RGB and transparency).
    """

    height: int
    width: int
    channels: int = 3

    name: ClassVar[str] = "pixels"
    array: ClassVar[str] = "images"
    dtype: ClassVar[str] = "uint8"
    image_files: ClassVar[bool] = True

    def __post_init__(self):
        if min(self.height, self.width) < 1:
            raise InputError(f"`height` and `width` must be at least 1 pixel, got {self.height} and {self.width}")
        if self.channels not in CHANNELS:
            raise InputError(f"`channels` must be {channels_text()}, got {self.channels}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return (self.height, self.width, self.channels)

    @property
    def policy(self) -> Clip:
        """The mean of images lies where images do, in [-1, 1]."""
        return Clip(-1.0, 1.0)

    def encode(self, shown: Shaped[Any, "b ..."]) -> Float[Any, "b h w c"]:
        """Pixels in [-1, 1] of images of bytes; see `Space.encode`."""
        self.check(shown)
        return scaled(shown)

    def decode(self, x: Float[Array, "b h w c"] | Float[np.ndarray, "b h w c"]) -> UInt8[np.ndarray, "b h w c"]:
        """Images of bytes, each pixel rounded to the nearest; see `Space.decode`."""
        return to_bytes(x)

    def pictures(self, shown: UInt8[np.ndarray, "b h w c"]) -> UInt8[np.ndarray, "b h w 3"]:
        """The images in RGB; see `rgb`."""
        return rgb(shown)

    def settings(self) -> dict[str, Any]:
        return {"height": self.height, "width": self.width, "channels": self.channels}

    def __str__(self) -> str:
        return f"{self.height}x{self.width} {CHANNELS[self.channels]}"


def channels_text() -> str:
    """The numbers of channels that an image may have, for errors."""
    return ", ".join(f"{count} ({what})" for count, what in CHANNELS.items())


def scaled(images: UInt8[Any, "*shape"]) -> Float[Any, "*shape"]:
    """Bytes as pixels in [-1, 1], float32; of NumPy or of JAX, as given.

    Compiled, a pixel may be a unit in the last place off: XLA multiplies by the reciprocal of 127.5.
    """
    if isinstance(images, jax.Array):
        return images.astype(np.float32) / 127.5 - 1
    x = np.asarray(images).astype(np.float32)
    x /= 127.5  # in place: sets of images are large
    x -= 1
    return x


def to_bytes(x: Float[Any, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Pixels in [-1, 1] as bytes, rounded to the nearest; beyond the ends, the ends."""
    return np.clip(np.rint((np.asarray(x, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def rgb(images: Shaped[np.ndarray, "*b c"]) -> Shaped[np.ndarray, "*b 3"]:
    """Images in three channels, for what takes no others: grey is repeated, transparency is dropped.

    Arguments:
        images: with 1, 3 or 4 channels last.

    Raises:
        InputError: another number of channels.
    """
    channels = images.shape[-1]
    if channels not in CHANNELS:
        raise InputError(f"images must have 1, 3 or 4 channels, got shape {images.shape}")
    return np.repeat(images, 3, axis=-1) if channels == 1 else images[..., :3]
