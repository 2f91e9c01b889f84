"""The space of latents: images through an autoencoder."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxdiff.errors import InputError
from jaxdiff.guidance import Unbounded
from jaxdiff.spaces.pixels import Pixels, rgb, scaled, to_bytes
from jaxdiff.spaces.space import Space

AT_ONCE = 2**20
"""Pixels that are encoded or decoded at once: four images of 512x512, whose activations take some 6 GiB."""


@dataclass(frozen=True, eq=False)
class Latents(Space):
    """uint8 images, encoded as the latents of an autoencoder: z becomes scaling_factor (z - shift_factor).

    Images are encoded as the mean of the autoencoder's posterior, without noise, and both ways go in slices, so that memory is
    bounded whatever the number of images; the result does not depend on the slices.

    Arguments:
        height, width: of the images in pixels, multiples of `factor`.
        channels: channels of a latent.
        factor: pixels along one side of a latent.
        encoder: a pytree that maps pixels in [-1, 1] (B, H, W, 3) to the posterior's mean and log variance, each
            (B, H / factor, W / factor, channels).
        decoder: a pytree that maps z (B, H / factor, W / factor, channels) to pixels (B, H, W, 3).
        scaling_factor: see above, not 0.
        shift_factor: see above.
        fingerprint: what identifies the autoencoder in `settings`.
        autoencoder: its configuration, for whoever writes its files.
    """

    height: int
    width: int
    channels: int
    factor: int
    encoder: Callable
    decoder: Callable
    scaling_factor: float
    shift_factor: float = 0.0
    fingerprint: str = ""
    autoencoder: Any = None

    name: ClassVar[str] = "latents"
    array: ClassVar[str] = "images"
    dtype: ClassVar[str] = "uint8"
    image_files: ClassVar[bool] = True

    def __post_init__(self):
        if min(self.height, self.width) < self.factor or self.height % self.factor or self.width % self.factor:
            raise InputError(
                f"`height` and `width` must be multiples of {self.factor}, the pixels along one side of a latent; got "
                f"{self.height}x{self.width}"
            )
        if not self.scaling_factor:
            raise InputError("`scaling_factor` must not be 0")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H / factor, W / factor, channels)."""
        return (self.height // self.factor, self.width // self.factor, self.channels)

    @property
    def policy(self) -> Unbounded:
        """No clipping: latents have no range."""
        return Unbounded()

    @property
    def shown(self) -> Pixels:
        """The space of the decoded images."""
        return Pixels(self.height, self.width)

    @property
    def decoding(self) -> "Decoding":
        """Latents to pixels in [-1, 1]; see `Space.decoding`."""
        return Decoding(self.decoder, self.scaling_factor, self.shift_factor, self._at_once)

    @property
    def _at_once(self) -> int:
        """Images that are encoded or decoded at once."""
        return max(1, AT_ONCE // (self.height * self.width))

    def sized(self, height: int, width: int) -> "Latents":
        """The space of images of another size; see `Latents`."""
        return replace(self, height=height, width=width)

    def encode(self, shown: UInt8[Any, "b height width 3"]) -> Float[Any, "b h w c"]:
        """The latents of uint8 images; see `Space.encode`."""
        self.shown.check(shown)
        means = self._in_slices(lambda images: _mean(self.encoder, scaled(images)), shown)
        latents = (means - self.shift_factor) * self.scaling_factor
        return jnp.asarray(latents) if isinstance(shown, jax.Array) else latents

    def decode(self, x: Float[Array, "b h w c"] | Float[np.ndarray, "b h w c"]) -> UInt8[np.ndarray, "b height width 3"]:
        """uint8 images, rounded to nearest; see `Space.decode`."""
        return self._in_slices(lambda part: to_bytes(_decoded(self.decoding, part)), x)

    def pictures(self, shown: UInt8[np.ndarray, "b height width 3"]) -> UInt8[np.ndarray, "b height width 3"]:
        """The images."""
        return rgb(shown)

    def settings(self) -> dict[str, Any]:
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "factor": self.factor,
            "scaling_factor": self.scaling_factor,
            "shift_factor": self.shift_factor,
            "autoencoder": self.fingerprint,
        }

    def _in_slices(self, function: Callable, rows: Any) -> np.ndarray:
        """A function of a batch, applied to slices of equal length, so that one program serves all."""
        length = max(1, min(len(rows), self._at_once))
        results = []
        for start in range(0, len(rows), length):
            part = np.asarray(rows[start : start + length])
            filled = np.concatenate([part, np.repeat(part[-1:], length - len(part), axis=0)])
            results.append(np.asarray(function(filled))[: len(part)])
        return np.concatenate(results)

    def __str__(self) -> str:
        return f"{self.height}x{self.width} images as latents of {'x'.join(map(str, self.shape))}"


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Decoding:
    """Latents to pixels, in slices of bounded memory.

    Attributes:
        decoder, scaling_factor, shift_factor: see `Latents`.
        at_once: the number of images that are decoded at once.
    """

    decoder: Callable
    scaling_factor: float | Array
    shift_factor: float | Array
    at_once: int = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b height width 3"]:
        """Pixels, clipped to [-1, 1]."""
        z = x / self.scaling_factor + self.shift_factor
        pixels = self.decoder(z) if len(z) <= self.at_once else self._in_slices(z)
        return jnp.clip(pixels, -1.0, 1.0)

    def _in_slices(self, z: Array) -> Array:
        return jax.lax.map(lambda row: self.decoder(row[None])[0], z, batch_size=self.at_once)


@jax.jit
def _mean(encoder: Callable, pixels: Float[Array, "b height width 3"]) -> Float[Array, "b h w c"]:
    return encoder(pixels)[0]


@jax.jit
def _decoded(decoding: Decoding, latents: Float[Array, "b h w c"]) -> Float[Array, "b height width 3"]:
    return decoding(latents)
