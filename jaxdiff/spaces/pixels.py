"""The space of images: pixels in [-1, 1]."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from jaxdiff.bounds import Bounds, check_bounds
from jaxdiff.errors import InputError
from jaxdiff.guidance import Clip
from jaxdiff.spaces.space import Space

CHANNELS = {1: "grey", 3: "RGB", 4: "RGB and transparency"}
"""The allowed numbers of channels, with their names."""
Side = Annotated[int, Bounds(least=1, limit=2**16)]
"""A number of pixels."""


@dataclass(frozen=True)
class Pixels(Space):
    """uint8 images, encoded as pixels in [-1, 1]: the value v becomes v / 127.5 - 1.

    Arguments:
        height, width: in pixels.
        channels: 1 (grey), 3 (RGB) or 4 (RGB and transparency).
    """

    height: Side
    width: Side
    channels: Side = 3

    name: ClassVar[str] = "pixels"
    array: ClassVar[str] = "images"
    dtype: ClassVar[str] = "uint8"
    image_files: ClassVar[bool] = True
    noun: ClassVar[str] = "images"
    distance_unit: ClassVar[str] = "grey levels"
    mirrored: ClassVar[bool] = True

    def __post_init__(self):
        check_bounds(self)
        if self.channels not in CHANNELS:
            raise InputError(f"`channels` must be {channels_text()}, got {self.channels}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return (self.height, self.width, self.channels)

    @property
    def policy(self) -> Clip:
        """Clips to [-1, 1], the range of images and their means."""
        return Clip(*self.limits)

    @property
    def limits(self) -> tuple[float, float]:
        """-1 and 1; see `Space.limits`."""
        return (-1.0, 1.0)

    def encode(self, shown: Shaped[Any, "b ..."]) -> Float[Any, "b h w c"]:
        """Pixels in [-1, 1] of uint8 images; see `Space.encode`."""
        self.check(shown)
        return scaled(shown)

    def decode(self, x: Float[Array, "b h w c"] | Float[np.ndarray, "b h w c"]) -> UInt8[np.ndarray, "b h w c"]:
        """uint8 images, rounded to nearest; see `Space.decode`."""
        return to_bytes(x)

    def pictures(self, shown: UInt8[np.ndarray, "b h w c"]) -> UInt8[np.ndarray, "b h w 3"]:
        """The images in RGB; see `rgb`."""
        return rgb(shown)

    def settings(self) -> dict[str, Any]:
        return {"height": self.height, "width": self.width, "channels": self.channels}

    def __str__(self) -> str:
        return f"{self.height}x{self.width} {CHANNELS[self.channels]}"


def channels_text() -> str:
    """The allowed numbers of channels, for error messages."""
    return ", ".join(f"{count} ({what})" for count, what in CHANNELS.items())


def scaled(images: UInt8[Any, "*shape"]) -> Float[Any, "*shape"]:
    """uint8 values as pixels in [-1, 1], float32; a NumPy or JAX array, like the input.

    Under jit, a pixel may differ by one unit in the last place, since XLA multiplies by the reciprocal of 127.5.
    """
    if isinstance(images, jax.Array):
        return images.astype(np.float32) / 127.5 - 1
    x = np.asarray(images).astype(np.float32)
    x /= 127.5  # in place: sets of images are large
    x -= 1
    return x


def to_bytes(x: Float[Any, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Pixels in [-1, 1] as uint8, rounded to nearest and clipped."""
    return np.clip(np.rint((np.asarray(x, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def rgb(images: Shaped[np.ndarray, "*b c"]) -> Shaped[np.ndarray, "*b 3"]:
    """Images converted to three channels: grey is repeated, transparency is dropped.

    Arguments:
        images: with 1, 3 or 4 channels last.

    Raises:
        InputError: the number of channels is none of these.
    """
    channels = images.shape[-1]
    if channels not in CHANNELS:
        raise InputError(f"images must have 1, 3 or 4 channels, got shape {images.shape}")
    return np.repeat(images, 3, axis=-1) if channels == 1 else images[..., :3]
