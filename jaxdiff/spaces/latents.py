"""The space of latents: images through an autoencoder."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, UInt8

from jaxdiff.errors import InputError
from jaxdiff.guidance import Unbounded
from jaxdiff.spaces.pixels import Pixels, rgb, scaled, to_bytes
from jaxdiff.spaces.space import Space
from jaxdiff.spaces.tiling import decoded_in_tiles

AT_ONCE = 2**20
"""Pixels that a device encodes or decodes at once: four images of 512x512, whose activations take some 6 GiB."""


@dataclass(frozen=True, eq=False)
class Latents(Space):
    """uint8 images, encoded as the latents of an autoencoder: z becomes scaling_factor (z - shift_factor).

    Images are encoded as the mean of the autoencoder's posterior, without noise, and both ways go in slices, so that memory is
    bounded whatever the number of images; the result does not depend on the slices. Each device of the process decodes its own
    share of a slice.

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
        tile: height and width in pixels, a multiple of `factor`, of the tiles in which larger images are decoded, see
            `jaxdiff.spaces.tiling`: it bounds memory, and is approximate. None decodes images whole, which is exact.
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
    tile: int | None = None

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
        if self.tile is not None and (self.tile < self.factor or self.tile % self.factor):
            raise InputError(
                f"`tile` must be a multiple of {self.factor}, the pixels along one side of a latent; got {self.tile}"
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
        tile = None if self.tile is None else self.tile // self.factor
        return Decoding(self.decoder, self.scaling_factor, self.shift_factor, self.at_once, tile)

    @property
    def decoded_by(self) -> dict[str, Any]:
        """The tile, if there is one; see `Space.decoded_by`."""
        return {} if self.tile is None else {"tile": self.tile}

    @property
    def encoded_by(self) -> dict[str, Any]:
        """What latents are a function of beside the images, JSON-ready: the autoencoder, its scale, and the image size."""
        return {
            "height": self.height,
            "width": self.width,
            "channels": self.channels,
            "factor": self.factor,
            "scaling_factor": self.scaling_factor,
            "shift_factor": self.shift_factor,
            "autoencoder": self.fingerprint,
        }

    @property
    def is_abstract(self) -> bool:
        """Whether the autoencoder has shapes in place of weights."""
        return any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(self.encoder))

    @property
    def at_once(self) -> int:
        """Images that a device encodes or decodes at once."""
        return max(1, AT_ONCE // (self.height * self.width))

    def sized(self, height: int, width: int) -> "Latents":
        """The space of images of another size; see `Latents`."""
        return replace(self, height=height, width=width)

    def tiled(self, tile: int) -> "Latents":
        """The space in which large images are decoded in tiles; see `Latents`."""
        return replace(self, tile=tile)

    def encode(self, shown: UInt8[Any, "b height width 3"]) -> Float[Any, "b h w c"]:
        """The latents of uint8 images; see `Space.encode`.

        Of an abstract autoencoder they are numbers that differ from image to image, for programs that are not run.
        """
        self.shown.check(shown)
        if self.is_abstract:
            return np.broadcast_to(np.arange(len(shown), dtype=np.float32)[:, None, None, None], (len(shown), *self.shape))
        means = self._in_slices(lambda images: _mean(self.encoder, scaled(images)), shown)
        latents = (means - self.shift_factor) * self.scaling_factor
        return jnp.asarray(latents) if isinstance(shown, jax.Array) else latents

    def decode(self, x: Float[Array, "b h w c"] | Float[np.ndarray, "b h w c"]) -> UInt8[np.ndarray, "b height width 3"]:
        """uint8 images, rounded to nearest; see `Space.decode`."""
        placed = self._placed
        rows = NamedSharding(placed.mesh, PartitionSpec(_DEVICES))
        decoded = lambda part: to_bytes(_decoded(placed.decoding, jax.device_put(part, rows), placed.mesh))  # noqa: E731
        with jax.set_mesh(placed.mesh):
            return self._in_slices(decoded, x, devices=placed.mesh.size)

    @cached_property
    def _placed(self) -> "_Placed":
        """The decoding with its weights on every device of this process."""
        mesh = Mesh(np.array(jax.local_devices()), (_DEVICES,))
        return _Placed(mesh, jax.device_put(self.decoding, NamedSharding(mesh, PartitionSpec())))

    def lower(self, count: int) -> jax.stages.Lowered:
        """The program that decodes latents on one device, to be compiled and inspected; weights may be abstract."""
        return jax.jit(Decoding.__call__).lower(self.decoding, jax.ShapeDtypeStruct((count, *self.shape), jnp.float32))

    def pictures(self, shown: UInt8[np.ndarray, "b height width 3"]) -> UInt8[np.ndarray, "b height width 3"]:
        """The images."""
        return rgb(shown)

    def settings(self) -> dict[str, Any]:
        return {**self.encoded_by, **self.decoded_by}

    def _in_slices(self, function: Callable, rows: Any, devices: int = 1) -> np.ndarray:
        """A function of a batch, applied to slices of equal length, so that one program serves all; a multiple of `devices`."""
        length = devices * max(1, min(-(-len(rows) // devices), self.at_once))
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
        tile: height and width of tiles, in latents; None decodes images whole.
    """

    decoder: Callable
    scaling_factor: float | Array
    shift_factor: float | Array
    at_once: int = field(metadata={"static": True})
    tile: int | None = field(default=None, metadata={"static": True})

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b height width 3"]:
        """Pixels, clipped to [-1, 1]."""
        z = x / self.scaling_factor + self.shift_factor
        pixels = self._decoded(z) if len(z) <= self.at_once else self._in_slices(z)
        return jnp.clip(pixels, -1.0, 1.0)

    def _decoded(self, z: Array) -> Array:
        return self.decoder(z) if self.tile is None else decoded_in_tiles(self.decoder, z, tile=self.tile)

    def _in_slices(self, z: Array) -> Array:
        return jax.lax.map(lambda row: self._decoded(row[None])[0], z, batch_size=self.at_once)


@jax.jit
def _mean(encoder: Callable, pixels: Float[Array, "b height width 3"]) -> Float[Array, "b h w c"]:
    return encoder(pixels)[0]


_DEVICES = "devices"


@dataclass(frozen=True)
class _Placed:
    """A decoding whose weights lie on every device of a mesh."""

    mesh: Mesh
    decoding: Decoding


@partial(jax.jit, static_argnames="mesh")
def _decoded(decoding: Decoding, latents: Float[Array, "b h w c"], mesh: Mesh) -> Float[Array, "b height width 3"]:
    """Pixels; each device decodes the rows that it holds."""
    rows = PartitionSpec(_DEVICES)
    each = jax.shard_map(Decoding.__call__, mesh=mesh, in_specs=(PartitionSpec(), rows), out_specs=rows)
    return each(decoding, latents)
