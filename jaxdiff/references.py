"""Finite sets of images as distributions, whose posterior mean is known in closed form.

Each of the N images x_n has weight 1/N. Noised to x_t = alpha x + sigma e, the set has the density (1/N) sum_n q(x_t | x_n) and
the posterior mean sum_n x_n q(x_t | x_n) / sum_m q(x_t | x_m), with q(x_t | x_n) proportional to exp(-||x_t - alpha x_n||² /
(2 sigma²)). Both are summed tile by tile in log space, so that no kernel overflows and memory depends on the sizes of a batch
and a tile, not on N times the batch.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxdiff import parallel
from jaxdiff.errors import InputError
from jaxdiff.parallel import AXES
from jaxdiff.process import Process
from jaxdiff.square_root import square_root

TILE = 1024
"""Default number of references in a tile."""


class ReferencePosterior(NamedTuple):
    """The posterior of a set of references, given a batch of noised states.

    Attributes:
        mean: (B, ...), the mean of the references under the weights of the kernel.
        log_sum: (B,), log sum_n exp(logit_n).
        deviation: (B,), (||x - alpha x_n||² / sigma² - D) / sqrt(2 D) of the nearest reference x_n: approximately standard
            normal for a state noised from it, at any D and t, and larger for states far from all references.
    """

    mean: Float[Array, "b ..."]
    log_sum: Float[Array, " b"]
    deviation: Float[Array, " b"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class References:
    """A set of N images in tiles, from `references`.

    Attributes:
        tiles: (T, n, D), images minus `centre`; the last tiles are padded with zeros.
        lengths: (T, n), their squared norms; infinite for padding.
        centre: (D,), subtracted from all images to reduce rounding in products.
        repeated: (T, n), whether an image equals one before it.
        count: N.
        distinct: the number of images that differ from one another.
        shape: of one image.
        mesh: the mesh over whose devices the tiles are sharded; None where each device has all of them.
    """

    tiles: Float[Array, "t n d"]
    lengths: Float[Array, "t n"]
    centre: Float[Array, " d"]
    repeated: Bool[Array, "t n"]
    count: int = field(metadata={"static": True})
    distinct: int = field(metadata={"static": True})
    shape: tuple[int, ...] = field(metadata={"static": True})
    mesh: Mesh | None = field(default=None, metadata={"static": True})

    def without_repeats(self) -> "References":
        """The set with each of its images once."""
        if self.distinct == self.count:
            return self
        return replace(self, lengths=jnp.where(self.repeated, jnp.inf, self.lengths), count=self.distinct)

    def noised(
        self, process: Process, x: Float[Array, "b ..."], t: ArrayLike, temperature: ArrayLike = 1.0
    ) -> ReferencePosterior:
        """The posterior mean E[x_0 | x_t = x] of the set, and its density at x.

        The logits are -||x - alpha x_n||² / (2 sigma² temperature), minus a term that is the same for all n and for all sets
        with this `centre`: `log_sum` is the log density up to that term, which cancels in the odds of two sets. `log_kernel`
        includes it.

        Arguments:
            process: the forward process.
            x: states (B, ...).
            t: their times, () or (B,), above 0.
            temperature: 1 gives the exact posterior, which for large D concentrates on one image; D gives weights by mean
                squared distances over pixels.
        """
        t = jnp.broadcast_to(jnp.asarray(t), x.shape[:1])
        alpha, variance = process.alpha(t)[:, None], jnp.exp(2 * process.log_sigma(t))[:, None]
        query = x.reshape(len(x), -1) - alpha * self.centre
        logits = lambda products, lengths, scale: (scale[0] * products - 0.5 * scale[0] ** 2 * lengths) / scale[1]  # noqa: E731
        mean, log_sum, nearest = self._soft(query, logits, (alpha, variance * temperature))
        squares = jnp.square(query - alpha * nearest).sum(1) / variance[:, 0]
        dimension = math.prod(self.shape)
        return ReferencePosterior(
            (mean + self.centre).reshape(x.shape), log_sum, (squares - dimension) / math.sqrt(2 * dimension)
        )

    def log_kernel(
        self, process: Process, x: Float[Array, "b ..."], t: ArrayLike, temperature: ArrayLike, log_sum: Float[Array, " b"]
    ) -> Float[Array, " b"]:
        """log (1/N) sum_n exp(-||x - alpha x_n||² / (2 sigma² temperature)), at most 0.

        Arguments:
            process, x, t, temperature: as in `noised`.
            log_sum: from `noised`.
        """
        t = jnp.broadcast_to(jnp.asarray(t), x.shape[:1])
        query = x.reshape(len(x), -1) - process.alpha(t)[:, None] * self.centre
        spread = 2 * jnp.exp(2 * process.log_sigma(t)) * temperature
        # by rounding the log of a mean of numbers below 1 may be above 0
        return jnp.minimum(log_sum - math.log(self.count) - jnp.square(query).sum(1) / spread, 0.0)

    def laplace(self, x0: Float[Array, "b ..."], bandwidth: ArrayLike) -> tuple[Float[Array, "b ..."], Float[Array, " b"]]:
        """The mean of the references under the kernel exp(-||x0 - x_n|| / (2 bandwidth²)), and the log of the mean kernel.

        Arguments:
            x0: clean images (B, ...), e.g. posterior means.
            bandwidth: above 0, in the images' units.
        """
        query = x0.reshape(len(x0), -1) - self.centre
        own = jnp.square(query).sum(1, keepdims=True)

        def logits(products, lengths, scale):
            return -square_root(jnp.maximum(scale[1] - 2 * products + lengths, 0.0)) / (2 * scale[0] ** 2)

        mean, log_sum, _ = self._soft(query, logits, (jnp.full_like(own, bandwidth), own))
        return (mean + self.centre).reshape(x0.shape), jnp.minimum(log_sum - math.log(self.count), 0.0)

    def repulsion(self, x0: Float[Array, "b ..."], weight: Callable[[Array], Array]) -> Float[Array, "b ..."]:
        """sum_n weight(||x0 - x_n||²) (x0 - x_n), for a weight that is a function of the squared distance.

        Arguments:
            x0: clean images (B, ...), e.g. posterior means.
            weight: an elementwise function of squared distances (B, n), which are at least their rounding error, see
                `squared_distances`, so that a weight that diverges at 0 stays finite.
        """
        query = x0.reshape(len(x0), -1) - self.centre

        def body(carry, tile):
            images, lengths = tile
            real = jnp.isfinite(lengths)
            # padding is at a finite distance first: its weight is 0, but infinity times the derivative 0 would be NaN
            squares = squared_distances(query, images, jnp.where(real, lengths, 0.0))
            weights = jnp.where(real, weight(squares), 0.0)
            total, moment = carry
            return (total + weights.sum(1), moment + jnp.matmul(weights, images, precision="highest")), None

        def local(query, tiles, lengths):
            start = _varying((jnp.zeros_like(query[:, 0]), jnp.zeros_like(query)), self.mesh)
            total, moment = jax.lax.scan(body, start, (tiles, lengths))[0]
            return (total, moment) if self.mesh is None else jax.lax.psum((total, moment), AXES)

        total, moment = self._on_devices(local, query)
        return (total[:, None] * query - moment).reshape(x0.shape)

    def nearest_squares(self, x0: Float[Array, "b ..."], count: int) -> Float[Array, "b k"]:
        """The squared distances ||x0 - x_n||² to the nearest references, ascending (B, min(count, N)).

        Arguments:
            x0: clean images (B, ...), e.g. posterior means.
            count: the number of references, at least 1.
        """
        query, count = x0.reshape(len(x0), -1) - self.centre, min(count, self.count)
        least = lambda values: -jax.lax.top_k(-values, count)[0]  # noqa: E731

        def local(query, tiles, lengths):
            def body(kept, tile):
                return least(jnp.concatenate([kept, squared_distances(query, *tile)], 1)), None

            start = _varying(jnp.full((len(query), count), jnp.inf, query.dtype), self.mesh)
            kept = jax.lax.scan(body, start, (tiles, lengths))[0]
            if self.mesh is None:
                return kept
            # each device writes into its own slot, 0 on the others: the compiler knows that the sum is replicated
            places = jnp.zeros((len(query), jax.lax.axis_size(AXES), count), query.dtype)
            placed = jax.lax.psum(places.at[:, jax.lax.axis_index(AXES)].set(kept), AXES)
            return least(placed.reshape(len(query), -1))

        return self._on_devices(local, query)

    def _soft(self, query: Float[Array, "b d"], logits: Callable, scale: Any) -> tuple[Array, Array, Array]:
        """The mean of the images under softmax weights, the log-sum-exp of the logits, and the image of the largest logit.

        Arguments:
            query: states minus the centre.
            logits: a function of products (B, n) of query and images, squared norms (n,) of the images, and `scale`.
            scale: arrays of shape (B, 1), passed to `logits`.
        """

        def body(carry, tile):
            most, total, moment, best, place, index = carry
            images, lengths = tile
            products = jnp.matmul(query, images.T, precision="highest")
            values = jnp.where(
                jnp.isfinite(lengths), logits(products, jnp.where(jnp.isfinite(lengths), lengths, 0), scale), -jnp.inf
            )
            # the logits are shifted by their maximum, on which the result does not depend
            top = jax.lax.stop_gradient(values).max(1)
            raised = jnp.maximum(most, top)
            shrink, weights = jnp.exp(most - raised), jnp.exp(values - raised[:, None])
            total = total * shrink + weights.sum(1)
            moment = moment * shrink[:, None] + jnp.matmul(weights, images, precision="highest")
            position = index * lengths.shape[0] + jnp.argmax(values, 1).astype(jnp.int32)
            return (raised, total, moment, jnp.maximum(best, top), jnp.where(top > best, position, place), index + 1), None

        def local(query, tiles, lengths):
            # finite, so that a device with only padding contributes a weight of 0 and no NaN
            least = jnp.full_like(query[:, 0], jnp.finfo(query.dtype).min)
            place = jnp.zeros(len(query), jnp.int32)
            start = (least, jnp.zeros_like(least), jnp.zeros_like(query), least, place, jnp.int32(0))
            most, total, moment, best, place, _ = jax.lax.scan(body, _varying(start, self.mesh), (tiles, lengths))[0]
            nearest = tiles.reshape(-1, tiles.shape[-1])[place]
            if self.mesh is None:
                return moment / total[:, None], most + jnp.log(total), nearest
            raised = jax.lax.pmax(most, AXES)
            share = jnp.exp(most - raised)
            total, moment = jax.lax.psum((total * share, moment * share[:, None]), AXES)
            # the first of the devices with equally near images
            rank = jnp.where(best == jax.lax.pmax(best, AXES), jax.lax.axis_index(AXES), jax.lax.axis_size(AXES))
            first = rank == jax.lax.pmin(rank, AXES)
            nearest = jax.lax.psum(jnp.where((first & (rank < jax.lax.axis_size(AXES)))[:, None], nearest, 0), AXES)
            return moment / total[:, None], raised + jnp.log(total), nearest

        return self._on_devices(local, query)

    def _on_devices(self, local: Callable, query: Array) -> Any:
        """`local(query, tiles, lengths)` on one device, or on each device of the mesh with its own tiles."""
        if self.mesh is None:
            return local(query, self.tiles, self.lengths)
        mapped = jax.shard_map(
            local,
            mesh=self.mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXES), PartitionSpec(AXES)),
            out_specs=PartitionSpec(),
        )
        return mapped(query, self.tiles, self.lengths)


def squared_distances(
    query: Float[Array, "b d"], images: Float[Array, "n d"], lengths: Float[Array, " n"]
) -> Float[Array, "b n"]:
    """Squared distances, from products; at least their rounding error, about 8 units in the last place of the squared norms.

    Arguments:
        query, images: minus a common centre near both.
        lengths: the images' squared norms.
    """
    both = jnp.square(query).sum(1, keepdims=True) + lengths
    products = jnp.matmul(query, images.T, precision="highest")
    return jnp.maximum(both - 2 * products, 8 * jnp.finfo(query.dtype).eps * both)


def _varying(start: Any, mesh: Mesh | None) -> Any:
    """The initial carry of a scan whose later carries differ between devices."""
    return start if mesh is None else jax.tree.map(partial(jax.lax.pcast, axis_name=AXES, to="varying"), start)


def references(
    images: Any,
    *,
    centre: Any = None,
    limits: tuple[float, float] | None = (-1.0, 1.0),
    tile: int = TILE,
    mesh: Mesh | None = None,
) -> References:
    """A set of images as a distribution.

    Arguments:
        images: (N, ...) in the scale of the network's data, at least 1; float64 is kept where JAX has it enabled.
        centre: an image (...) to subtract, by default the mean of the set. Two sets whose odds are computed need the same.
        limits: the range of the data, which the images must be in; None for unbounded data, e.g. latents.
        tile: references compared at once, at least 1.
        mesh: a mesh of `jaxdiff.parallel` to shard the tiles over; each of D devices then holds N / D images. Each evaluation
            sends the states to all devices and the partial sums back, so that this pays where one device cannot hold all
            images.

    Raises:
        InputError: no images, values that are not finite or outside the limits, a tile below 1, or a mesh with other axes.
    """
    images = np.asarray(images)
    images = images.astype(jax.dtypes.canonicalize_dtype(np.float64) if images.dtype == np.float64 else np.float32)
    if images.ndim < 2 or not len(images):
        raise InputError(f"`images` must be (N, ...) with at least one image, got shape {images.shape}")
    if tile < 1:
        raise InputError(f"`tile` must be at least 1, got {tile}")
    if mesh is not None and set(mesh.axis_names) != set(AXES):
        raise InputError(f"`mesh` must have the axes {' and '.join(AXES)}, got {', '.join(mesh.axis_names) or 'none'}")
    if bad := np.flatnonzero(~np.isfinite(images.reshape(len(images), -1)).all(1)).tolist():
        raise InputError(f"`images` has NaN or infinity in {len(bad)} images, the first at index {bad[0]}")
    if limits is not None and not (limits[0] - 1e-6 <= images.min() and images.max() <= limits[1] + 1e-6):
        raise InputError(
            f"`images` must lie in [{limits[0]:g}, {limits[1]:g}], the scale of the network's data, got values from "
            f"{images.min():.4g} to {images.max():.4g}; `limits` takes another range"
        )
    shape, count = images.shape[1:], len(images)
    flat = images.reshape(count, -1)
    middle = flat.mean(0) if centre is None else np.asarray(centre, flat.dtype).reshape(-1)
    if middle.shape != flat.shape[1:]:
        raise InputError(f"`centre` must have the shape of an image, {shape}, got {np.shape(centre)}")
    flat = flat - middle
    devices = 1 if mesh is None else mesh.size
    tile = min(tile, -(-count // devices))
    number = -(-count // (tile * devices)) * devices
    tiles = np.zeros((number * tile, flat.shape[1]), flat.dtype)
    lengths = np.full(number * tile, np.inf, flat.dtype)
    repeated = np.zeros(number * tile, bool)
    tiles[:count], lengths[:count], repeated[:count] = flat, np.square(flat).sum(1), _repeated(flat)
    distinct = count - int(repeated.sum())
    tiles, lengths, repeated = (each.reshape(number, tile, *each.shape[1:]) for each in (tiles, lengths, repeated))
    laid = jnp.asarray if mesh is None else partial(parallel.place, shardings=parallel.batch_sharding(mesh))
    return References(laid(tiles), laid(lengths), jnp.asarray(middle), laid(repeated), count, distinct, shape, mesh)


def _repeated(flat: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
    """Whether each row equals one before it."""
    seen: set[bytes] = set()
    repeated = np.zeros(len(flat), bool)
    for i, row in enumerate(flat):
        digest = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
        repeated[i] = digest in seen
        seen.add(digest)
    return repeated
