"""Sparse repellency, SPELL: the posterior mean keeps away from references and the batch (Kirchhof et al. 2025)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.errors import InputError
from jaxdiff.guidance.displacing import Displacing, at_least_zero, fields, require_shape
from jaxdiff.guidance.pairs import copies, pairs
from jaxdiff.guidance.window import ALWAYS
from jaxdiff.process import Process
from jaxdiff.references import References, references

SAMPLED = 1024
"""Maximum number of references whose nearest neighbour `radius_of` computes."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Repellency(Displacing):
    """See `repellency`."""

    references: References | None
    radius: Float[Array, ""]
    within_batch: bool = field(metadata={"static": True})

    def prepare(self, x: Array) -> Any:
        """Which rows are different samples, with `within_batch`."""
        if self.references is not None:
            require_shape(self.references, x)
        return copies(x) if self.within_batch else ()

    def push(self, x: Float[Array, "b ..."], t: Float[Array, " b"], x0: Float[Array, "b ..."], own: Any) -> Array:
        """sum_k relu(radius / ||x0 - z_k|| - 1) (x0 - z_k)."""
        push = jnp.zeros_like(x0)
        if self.references is not None:
            push = push + self.references.repulsion(x0, self._weight)
        if self.within_batch:
            batch = pairs(x0, own)
            push = push + batch.away(self._weight(batch.squares)).reshape(x0.shape)
        return push

    def _weight(self, squares: Array) -> Array:
        # at distance 0 the direction is undefined
        apart = squares > 0
        distance = jnp.sqrt(jnp.where(apart, squares, 1.0))
        return jnp.where(apart, jax.nn.relu(self.radius / distance - 1), 0.0)


def repellency(
    denoise: Callable,
    process: Process,
    unsafe: Any = None,
    *,
    radius: Any = None,
    strength: ArrayLike = 1.6,
    within_batch: bool = False,
    window: tuple[float, float] = ALWAYS,
) -> Repellency:
    """Pushes each posterior mean out of balls around the references, and leaves it unchanged outside them, bit for bit (SPELL,
    Kirchhof et al., ICML 2025):

        x0 <- x0 + strength sum_k relu(radius / ||x0 - z_k|| - 1) (x0 - z_k).

    With one reference within the radius, strength 1 moves the mean onto the sphere around it, above 1 beyond it; several add
    up. The result is not the posterior mean of any distribution: samples avoid the references, but their distribution is not
    specified.

    With `within_batch` the z_k include the posterior means of the other samples of the batch, for diversity: then a sample
    depends on its batch. Both samples of a pair move the whole way, so strength 1/2 sets them at the radius. Rows with the
    same initial state count as one sample under several conditions, as outer guidances evaluate them, and interact only with
    samples under the same condition.

    Apply `clipped` outside it, since the moved mean may leave the range of the data.

    Arguments:
        denoise: the denoiser inside, which may be a guidance.
        process: the forward process.
        unsafe: (N, ...) images in the data's scale, or `References`; None for the batch only.
        radius: in the data's units, at least 0. None uses `radius_of(references)`, the median distance from a reference to its
            nearest different one. A lower quantile excludes near copies only. With `within_batch` alone, use
            `radius_of(references(images))` of some of the data.
        strength: at least 0; the authors use 1.6, above 1 because the mean is pulled back between steps.
        within_batch: whether the samples of a batch repel each other.
        window: SNR between which it acts; an edge within the schedule is a node of the solver's grid.

    Raises:
        InputError: there are no references and `within_batch` is False, images are invalid, a number is below 0, there is no
            radius, or the window is outside the schedule.
    """
    if unsafe is None and not within_batch:
        raise InputError("`unsafe` must be images or References, or `within_batch` True; got neither")
    if unsafe is None and radius is None:
        raise InputError("`radius` must be a number if there are no references, got None")
    refs = unsafe if unsafe is None or isinstance(unsafe, References) else references(unsafe)
    radius = at_least_zero("radius", radius_of(refs) if radius is None else radius)
    return Repellency(*fields(denoise, process, window, strength), refs, radius, within_batch)


def radius_of(references: References, quantile: float = 0.5) -> float:
    """A quantile of the distances from each reference to the nearest different one, in the data's units.

    Repeats of an image count as the same, however many there are: with their distance, 0, the balls would be empty. With more
    than 1024 references, the distances are computed for 1024 at equal strides.

    Arguments:
        references: at least 2 different images.
        quantile: in [0, 1]; 0.5 is the median.

    Raises:
        InputError: there are fewer than 2 different references, or the quantile is outside [0, 1].
    """
    if references.distinct < 2:
        raise InputError(f"`references` must be at least 2 different images, got {references.distinct}; give a `radius`")
    if not 0 <= quantile <= 1:
        raise InputError(f"`quantile` must lie in [0, 1], got {quantile}")
    chosen = np.unique(np.linspace(0, references.count - 1, min(references.count, SAMPLED)).round().astype(np.int32))
    return float(jnp.quantile(_to_nearest_other(references, chosen), quantile))


@jax.jit
def _to_nearest_other(references: References, chosen: Array) -> Float[Array, " n"]:
    images = references.tiles.reshape(-1, references.tiles.shape[-1])[chosen] + references.centre
    # the nearest of all is the reference itself, or the first of its repeats
    return jnp.sqrt(references.without_repeats().nearest_squares(images.reshape(-1, *references.shape), 2)[:, 1])
