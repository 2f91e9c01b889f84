"""The regions in which an attack searches: around a drawn noise or a condition, row by row."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from jaxdiff.errors import InputError
from jaxdiff.square_root import square_root


class Region(ABC):
    """A set of points around each row of a batch. Subclasses are registered pytrees."""

    radius: Float[Array, ""]

    @abstractmethod
    def project(self, point: Float[Array, "b ..."], centre: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """The nearest points of the region, row by row; `centre` itself, bit for bit, at radius 0."""

    @abstractmethod
    def steepest(self, slope: Float[Array, "b ..."], point: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """The step of length 1, in the distance of the region, along which a function of this gradient rises most; 0 for 0."""

    def reach(self, centre: Float[Array, "b ..."]) -> Array:
        """The longest step of a search, by which the edge is reached from the centre."""
        return self.radius

    @abstractmethod
    def draw(self, key: PRNGKeyArray, centre: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """Points in independent, uniform directions at the distance `radius`."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ball(Region):
    """See `ball`."""

    radius: Float[Array, ""]
    spread: Array

    def project(self, point: Float[Array, "b ..."], centre: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """See `Region.project`."""
        away = point - centre
        length = _norm(away / self.spread)
        outside = length > self.radius
        return jnp.where(outside, centre + away * self.radius / jnp.where(outside, length, 1.0), point)

    def steepest(self, slope: Float[Array, "b ..."], point: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """See `Region.steepest`."""
        return self.spread * _unit(self.spread * slope)

    def draw(self, key: PRNGKeyArray, centre: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """See `Region.draw`."""
        direction = _unit(jax.random.normal(key, centre.shape, centre.dtype))
        return self.project(centre + self.radius * self.spread * direction, centre)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Box(Region):
    """See `box`."""

    radius: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]

    def project(self, point: Float[Array, "b ..."], centre: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """See `Region.project`."""
        return jnp.clip(jnp.clip(point, centre - self.radius, centre + self.radius), self.low, self.high)

    def steepest(self, slope: Float[Array, "b ..."], point: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """See `Region.steepest`."""
        return jnp.sign(slope)

    def draw(self, key: PRNGKeyArray, centre: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """Random corners of the box."""
        return self.project(centre + self.radius * jax.random.rademacher(key, centre.shape, centre.dtype), centre)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shell(Region):
    """See `shell`."""

    radius: Float[Array, ""]

    def project(self, point: Float[Array, "b ..."], centre: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """See `Region.project`: the nearest points of the cap, by angle."""
        size = _norm(centre)
        axis = _unit(centre)
        along = (point * axis).sum(_entries(point), keepdims=True)
        across = point - along * axis
        angle = jnp.arctan2(_norm(across), along)
        most = self._angle(size)
        turned = jnp.minimum(angle, most)
        on_cap = size * (jnp.cos(turned) * axis + jnp.sin(turned) * _unit(across))
        return jnp.where(most > 0, on_cap, centre)

    def steepest(self, slope: Float[Array, "b ..."], point: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """See `Region.steepest`: along the sphere."""
        axis = _unit(point)
        return _unit(slope - (slope * axis).sum(_entries(slope), keepdims=True) * axis)

    def draw(self, key: PRNGKeyArray, centre: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        """See `Region.draw`; on a whole sphere, uniform points of it."""
        axis, size = _unit(centre), _norm(centre)
        noise = jax.random.normal(key, centre.shape, centre.dtype)
        across = _unit(noise - (noise * axis).sum(_entries(noise), keepdims=True) * axis)
        most = self._angle(size)
        on_edge = size * (jnp.cos(most) * axis + jnp.sin(most) * across)
        drawn = jnp.where(most < np.pi, on_edge, size * _unit(noise))
        return jnp.where(most > 0, drawn, centre)

    def reach(self, centre: Float[Array, "b ..."]) -> Array:
        """See `Region.reach`: at most the norm, since the radius may be infinite."""
        return jnp.minimum(self.radius, _norm(centre))

    def _angle(self, size: Array) -> Array:
        """The angle between the centre and the edge of the cap."""
        return 2 * jnp.arcsin(jnp.minimum(self.radius / (2 * size), 1.0))


def ball(radius: ArrayLike, spread: ArrayLike = 1.0) -> Ball:
    """All points within a distance: sqrt(sum ((x - c) / spread)²) <= radius, over the entries of a row.

    Arguments:
        radius: at least 0, in units of `spread`; 0 is the centre alone.
        spread: above 0, one number or one for each entry, e.g. the standard deviation of the entries over many prompts: the
            distance is then that of the whitened entries.

    Raises:
        InputError: a number is out of range.
    """
    if not isinstance(spread, jax.core.Tracer) and not (np.asarray(spread) > 0).all():
        raise InputError(f"`spread` must be above 0, got {np.min(np.asarray(spread))}")
    return Ball(_radius(radius), 1.0 * jnp.asarray(spread))


def box(radius: ArrayLike, low: float | int = -1.0, high: float | int = 1.0) -> Box:
    """All points whose entries each differ by at most `radius` and lie in [low, high]: the usual region around an image.

    Arguments:
        radius: at least 0, in the data's units: 8 / 255 of a byte image in [-1, 1] is 16 / 255.
        low, high: the range of the data.

    Raises:
        InputError: the radius is below 0.
    """
    return Box(_radius(radius), 1.0 * jnp.asarray(low), 1.0 * jnp.asarray(high))


def shell(radius: ArrayLike = np.inf) -> Shell:
    """All points of the norm of the centre within a distance of it: noise that is as large as a draw of N(0, I), whose norm is
    nearly constant in high dimensions.

    Arguments:
        radius: the Euclidean distance, at least 0; from twice the norm on it is the whole sphere.

    Raises:
        InputError: the radius is below 0.
    """
    return Shell(_radius(radius))


def _radius(radius: ArrayLike) -> Array:
    if not isinstance(radius, jax.core.Tracer) and not float(np.asarray(radius)) >= 0:
        raise InputError(f"`radius` must be at least 0, got {radius}")
    # a whole number too is of the kind of the data
    return 1.0 * jnp.asarray(radius)


def _entries(x: Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim))


def _norm(x: Array) -> Array:
    return square_root(jnp.square(x).sum(_entries(x), keepdims=True))


def _unit(x: Array) -> Array:
    size = _norm(x)
    return x / jnp.where(size > 0, size, 1.0)
