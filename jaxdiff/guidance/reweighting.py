"""Score mixing: the unconditional model as a reweighted mixture over attribute values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import Guidance, as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.parallel import stacked, unstacked
from jaxdiff.process import expand

ITERATIONS = 100
RIDGE = 1e-4


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ScoreMixing(Guidance):
    """See `score_mixing`."""

    shares: Float[Array, " k"]
    reference: Float[Array, " k"]

    def inner_states(self, x: Array) -> Array:
        """x for the marginal and for every value."""
        return stacked(*[x] * (1 + len(self.shares)))

    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The values' posterior means, weighted by the reference posterior."""
        marginal, values = condition
        if len(values) != len(self.shares):
            raise InputError(
                f"the condition of score mixing is (marginal, values) with {len(self.shares)} values, as many as `shares`; "
                f"got {len(values)}"
            )
        count = 1 + len(values)
        conditions = stacked(marginal, *values)
        times = stacked(*[jnp.broadcast_to(jnp.asarray(t), x.shape[:1])] * count)
        means = unstacked(denoise(self.inner_states(x), times, conditions), count)
        posterior = mixture_weights(means[0], means[1:], self.shares)
        weights = posterior * self.reference / self.shares
        total = weights.sum(-1, keepdims=True)
        # where only values of new share 0 are possible, their posterior says nothing about the others
        weights = jnp.where(total > 0, weights / jnp.where(total > 0, total, 1.0), self.reference)
        return sum(expand(weight, x) * mean for weight, mean in zip(weights.T, means[1:], strict=True))


def mixture_weights(
    marginal: Float[Array, "b ..."], means: Float[Array, "k b ..."], shares: Float[Array, " k"]
) -> Float[Array, "b k"]:
    """The weights w of the simplex with the least || marginal - sum_k w_k means_k ||, which are p(k | x_t) for exact means.

    If the means hardly differ, the weights are undetermined but have no effect; a small ridge pulls them to `shares`. Solved by
    accelerated projected gradients on the K x K Gram matrix.
    """
    rows = jnp.moveaxis(means - marginal, 0, 1).reshape(means.shape[1], means.shape[0], -1)
    gram = jnp.einsum("bkd,bld->bkl", rows, rows, precision="highest")
    spread = rows - rows.mean(1, keepdims=True)
    tiny = jnp.finfo(rows.dtype).tiny
    pull = RIDGE * jnp.square(spread).sum((1, 2)) + tiny
    length = (jnp.trace(gram, axis1=1, axis2=2) + pull)[:, None]
    # equal means leave the weights at `shares`; the derivative of 1 / tiny would be infinite
    step = jnp.where(length > tiny, 1 / jnp.where(length > tiny, length, 1.0), 0.0)

    def descend(carry, momentum):
        weights, ahead = carry
        slope = jnp.einsum("bkl,bl->bk", gram, ahead, precision="highest") + pull[:, None] * (ahead - shares)
        stepped = _on_simplex(ahead - step * slope)
        return (stepped, stepped + momentum * (stepped - weights)), None

    index = jnp.arange(ITERATIONS)
    start = jnp.broadcast_to(shares, rows.shape[:2])
    return jax.lax.scan(descend, (start, start), index / (index + 3))[0][0]


def _on_simplex(weights: Float[Array, "b k"]) -> Float[Array, "b k"]:
    """The nearest point of the simplex (Held, Wolfe & Crowder 1974)."""
    falling = -jnp.sort(-weights, axis=-1)
    excess = (jnp.cumsum(falling, -1) - 1) / jnp.arange(1, weights.shape[-1] + 1)
    held = (falling > excess).sum(-1, keepdims=True)
    return jnp.maximum(weights - jnp.take_along_axis(excess, held - 1, -1), 0.0)


def score_mixing(
    denoise: Callable,
    *,
    shares: Array | np.ndarray | Sequence[float | int],
    reference: Array | np.ndarray | Sequence[float | int],
) -> ScoreMixing:
    """Samples the marginal with new shares of the values of an attribute, without retraining.

    The score of the marginal is the mean of the values' scores, weighted by p(a | x_t). The weights are computed from the
    posterior means by least squares on the simplex, and multiplied by reference_a / share_a, which gives the posterior of the
    mixture sum_a reference_a p(x | a). It is sampled exactly if the means are exact. (Published score guidance by convex
    combination takes p(a | x_t) from a classifier.) One evaluation at 1 + K times the batch.

    The guided denoiser takes a pair (marginal, values): the condition without the attribute, and a tuple of K conditions, one
    per value.

    Arguments:
        denoise: the denoiser inside.
        shares: (K,), p(a) in the training data; above 0, sums to 1.
        reference: (K,), the new shares; at least 0, sums to 1. With `shares` the marginal is unchanged.

    Raises:
        InputError: the shares are invalid.
    """
    for name, value, least in (("shares", shares, "above 0"), ("reference", reference, "at least 0")):
        if isinstance(value, jax.core.Tracer):
            continue
        array = np.asarray(value, np.float64)
        low = array.size and (array.min() <= 0 if name == "shares" else array.min() < 0)
        if array.ndim != 1 or len(array) < 2 or low or abs(array.sum() - 1) > 1e-4:
            raise InputError(f"`{name}` must be two or more shares, each {least}, that sum to 1; got {array.tolist()}")
    if np.shape(shares) != np.shape(reference):
        raise InputError(f"`reference` must have as many shares as `shares`, got {len(reference)} and {len(shares)}")
    return ScoreMixing(as_denoiser(denoise), jnp.asarray(shares, jnp.float32), jnp.asarray(reference, jnp.float32))
