"""Decomposition of arrays into orthogonal bands: spatial frequencies, or principal components.

A decomposition is an orthonormal transform and an assignment of its coefficients to bands, from coarse to fine: band 0 has the
lowest frequencies, or the components of largest variance.
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
    """A decomposition of arrays (B, ...) into `count` orthogonal parts, from `frequency_bands` or `principal_bands`.

    Attributes:
        factors: orthonormal matrices whose rows are the basis along one axis of the coefficients each, starting with the first
            axis; further axes are not transformed.
        band: the band of each coefficient, in 0 .. count - 1, with the shape of the coefficients of one sample.
        count: K, the number of bands.
    """

    factors: tuple[Float[Array, "n n"], ...]
    band: Int[Array, "..."]
    count: int = field(metadata={"static": True})

    def coefficients(self, x: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """The coefficients of samples (B, ...) in the basis: (B, *band.shape)."""
        return self._transformed(x.reshape(x.shape[0], *self.band.shape), 1)

    def assembled(self, coefficients: Float[Array, "b ..."], shape: tuple[int, ...]) -> Float[Array, "b ..."]:
        """The samples (B, *shape) with these coefficients: the inverse of `coefficients`."""
        return self._transformed(coefficients, 0).reshape(-1, *shape)

    def split(self, x: Float[Array, "b ..."]) -> Float[Array, "k b ..."]:
        """The mutually orthogonal parts (K, B, ...) of `x`, which sum to it."""
        coefficients = self.coefficients(x)
        own = [jnp.where(self.band == k, coefficients, 0) for k in range(self.count)]
        return jnp.stack([self.assembled(part, x.shape[1:]) for part in own])

    def norms(self, x: Float[Array, "b ..."]) -> Float[Array, "k b"]:
        """The Euclidean norm of each part (K, B)."""
        squares = jnp.square(self.coefficients(x).astype(jnp.float32)).reshape(x.shape[0], -1)
        return jnp.sqrt(jax.ops.segment_sum(squares.T, self.band.reshape(-1), self.count))

    def _transformed(self, values: Float[Array, "b ..."], contracted: int) -> Float[Array, "b ..."]:
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
    """Bands of spatial frequency, by the orthonormal DCT-II along all axes but the last (channels), without periodic
    boundaries.

    Band k has the coefficients with a radius in [edges[k - 1], edges[k]), where the radius is the Euclidean norm of the
    indices: half-cycles across the image, in any direction. Band 0 with edge 1 is the mean of each channel.

    Arguments:
        shape: the shape of one sample, e.g. (32, 32, 3) or (L, F).
        edges: K - 1 increasing radii, between 0 and the largest radius (exclusive).

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
            f"`edges` must increase and leave no band empty; {list(edges)} gives bands of {held.tolist()} coefficients"
        )
    factors = tuple(jnp.asarray(cosine_basis(size), jnp.float32) for size in shape[:-1])
    return Bands(factors, jnp.asarray(np.broadcast_to(band[..., None], shape), jnp.int32), len(edges) + 1)


def principal_bands(images: Shaped[np.ndarray, "n ..."], labels: Int[np.ndarray, " n"], counts: Sequence[int]) -> Bands:
    """Bands of principal components of the pooled within-group covariance, in order of decreasing variance.

    For groups that differ by a shift, with a shared covariance that is diagonal in this basis, the components of a sampling
    trajectory are independent. The basis has (H W C)² entries: for small images.

    Arguments:
        images: uint8, or float in [-1, 1], or any other data (N, ...).
        labels: the group of each image (N,).
        counts: the number of components of each band but the last, which has all others.

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
    """Variances, in decreasing order, and directions, as rows, of the pooled within-group covariance.

    Raises:
        InputError: a group of fewer than two images.
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
