"""Orthogonal parts of an array that sum to it: spatial frequencies, or principal components.

An orthonormal transform, and a band for each of its coefficients. Coarse comes first: band 0 holds the lowest frequencies, or
the components of largest variance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from jaxdiff.errors import InputError


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bands:
    """A decomposition of arrays (B, ...) into `count` parts. Make one with `frequency_bands` or `principal_bands`.

    Attributes:
        factors: orthonormal matrices, the rows of each the basis along one axis of the coefficients, the first axis first.
            None for an axis that stays as it is.
        band: the band of each coefficient, in 0 .. count - 1; its shape is that of the coefficients of one sample.
        count: K, the number of bands.
    """

    factors: tuple[Float[Array, "n n"], ...]
    band: Int[Array, "..."]
    count: int = field(metadata={"static": True})

    def coefficients(self, x: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """What the basis vectors' shares of each sample are, (B, *band.shape)."""
        return self._transformed(x.reshape(x.shape[0], *self.band.shape), 1)

    def assembled(self, coefficients: Float[Array, "b ..."], shape: tuple[int, ...]) -> Float[Array, "b ..."]:
        """The samples (B, *shape) of these coefficients: the inverse of `coefficients`."""
        return self._transformed(coefficients, 0).reshape(-1, *shape)

    def split(self, x: Float[Array, "b ..."]) -> Float[Array, "k b ..."]:
        """The parts (K, B, ...), orthogonal to one another, that sum to `x`."""
        coefficients = self.coefficients(x)
        own = [jnp.where(self.band == k, coefficients, 0) for k in range(self.count)]
        return jnp.stack([self.assembled(part, x.shape[1:]) for part in own])

    def norms(self, x: Float[Array, "b ..."]) -> Float[Array, "k b"]:
        """The Euclidean length of each part (K, B)."""
        squares = jnp.square(self.coefficients(x).astype(jnp.float32)).reshape(x.shape[0], -1)
        return jnp.sqrt(jax.ops.segment_sum(squares.T, self.band.reshape(-1), self.count))

    def _transformed(self, values, contracted):
        for axis, factor in enumerate(self.factors, 1):
            values = jnp.moveaxis(jnp.tensordot(values, factor, (axis, contracted), precision="highest"), -1, axis)
        return values


def cosine_basis(size: int) -> Float[np.ndarray, "n n"]:
    """The orthonormal DCT-II, one row per frequency: s_k cos(pi k (2 n + 1) / 2 N), s_0 = sqrt(1/N), else sqrt(2/N)."""
    frequency, place = np.arange(size)[:, None], np.arange(size)
    basis = np.sqrt(2 / size) * np.cos(np.pi * frequency * (2 * place + 1) / (2 * size))
    basis[0] /= np.sqrt(2)
    return basis


def frequency_bands(shape: tuple[int, ...], edges: Sequence[float | int]) -> Bands:
    """Bands of spatial frequency, by the orthonormal DCT-II along all axes but the last (channels): no edge wraps around.

    Band k holds the coefficients whose radius lies in [edges[k - 1], edges[k]), the radius being the Euclidean length of the
    indices: half-cycles across the image, whichever way they run. Band 0 with edge 1 is the mean of each channel.

    Arguments:
        shape: the shape of one sample, e.g. (32, 32, 3) or (L, F).
        edges: K - 1 radii, rising, between 0 and the largest radius (both excluded).

    Raises:
        InputError: a shape without axes to transform, or edges that leave a band empty.
    """
    if len(shape) < 2:
        raise InputError(f"`shape` must have at least one axis before its channels, got {shape}")
    places = np.meshgrid(*(np.arange(size) for size in shape[:-1]), indexing="ij")
    radius = np.sqrt(sum(np.square(place) for place in places))
    band = np.searchsorted(np.asarray(edges, np.float64), radius, side="right")
    held = np.bincount(band.reshape(-1), minlength=len(edges) + 1)
    if list(edges) != sorted(edges) or held.min() < 1:
        raise InputError(
            f"`edges` must rise and leave no band empty; {list(edges)} gives bands of {held.tolist()} coefficients"
        )
    factors = tuple(jnp.asarray(cosine_basis(size), jnp.float32) for size in shape[:-1])
    return Bands(factors, jnp.asarray(np.broadcast_to(band[..., None], shape), jnp.int32), len(edges) + 1)


def principal_bands(images: Shaped[np.ndarray, "n ..."], labels: Int[np.ndarray, " n"], counts: Sequence[int]) -> Bands:
    """Bands of principal components of the pooled within-group covariance, by falling variance.

    For groups that differ by a shift, whose shared covariance is diagonal in this basis, the components of a sampling path do
    not know of one another. The basis is (H W C)² large: for small images.

    Arguments:
        images: uint8, or float in [-1, 1], or any other data.
        labels: the group of each image.
        counts: how many components each band holds, the last band aside, which holds all others.

    Raises:
        InputError: a group of fewer than two images, or counts that leave a band empty.
    """
    size = math.prod(images.shape[1:])
    held = [*counts, size - sum(counts)]
    if min(held) < 1:
        raise InputError(f"`counts` must leave no band of the {size} components empty, got {list(counts)}")
    _, directions = within_group_components(images.reshape(len(images), size), labels)
    band = np.repeat(np.arange(len(held)), held)
    return Bands((jnp.asarray(directions, jnp.float32),), jnp.asarray(band, jnp.int32), len(held))


def within_group_components(
    values: Shaped[np.ndarray, "n d"], labels: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Variances, falling, and directions, as rows, of the pooled within-group covariance.

    Raises:
        InputError: a group of fewer than two.
    """
    groups, sizes = np.unique(labels, return_counts=True)
    if sizes.min() < 2:
        raise InputError(
            f"every group must have at least two images, got {dict(zip(groups.tolist(), sizes.tolist(), strict=True))}"
        )
    values = np.asarray(values, np.float64) / 127.5 - 1 if values.dtype == np.uint8 else np.asarray(values, np.float64)
    centred = np.concatenate([values[labels == group] - values[labels == group].mean(0) for group in groups])
    variances, directions = np.linalg.eigh(centred.T @ centred / (len(values) - len(groups)))
    return variances[::-1], directions.T[::-1]
