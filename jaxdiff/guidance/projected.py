"""Projected guidance: the direction of a label, without what other directions explain."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import Guidance, InnerDenoiser, Stateful, as_denoiser, nest
from jaxdiff.errors import InputError
from jaxdiff.guidance.displacing import at_least_zero
from jaxdiff.parallel import replicate, stacked, unstacked
from jaxdiff.process import Process, expand

RIDGE = 1e-4


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Projected(Guidance):
    """See `projected`."""

    strength: Float[Array, ""]
    counts: tuple[int, ...] = field(metadata={"static": True})
    subspace: Float[Array, "k ..."] | None = None
    process: Process | None = None
    log_posteriors: tuple[Callable, ...] = ()

    @property
    def _rows(self) -> int:
        return 2 + sum(self.counts) + self._following

    @property
    def _following(self) -> int:
        """How many directions of the subspace follow x_t."""
        return 0 if self.subspace is None or self.process is None else len(self.subspace)

    @property
    def _whole(self) -> bool:
        """Whether all conditions are evaluated at strength 0 too: a stateful guidance inside remembers all of them."""
        return any(isinstance(each, Stateful) for each in nest(self.denoiser))

    def inner_states(self, x: Array) -> Array:
        """x without a label, under its own, and for every value of every other attribute or direction that follows it."""
        return stacked(*[x] * self._rows)

    def multiple(self, t: float | Float[np.ndarray, " b"], child: int = 0) -> int:
        """2, and the values that are conditions or the directions that follow; 1 at strength 0."""
        return self._rows if self._whole or float(self.strength) > 0 else 1

    def guide(  # ty: ignore[incompatible-method-override]  # it skips evaluations by `where_any`
        self, denoise: InnerDenoiser, x: Float[Array, "b ..."], t: ArrayLike, condition: Any
    ) -> Float[Array, "b ..."]:
        """null + strength (own - null, projected)."""
        null, own, others = condition
        if tuple(map(len, others)) != self.counts:
            raise InputError(
                f"the condition of `projected` is (null, own, others) with {self.counts} conditions in others; "
                f"got {tuple(map(len, others))}"
            )
        if self.subspace is not None and self.subspace.shape[1:] != x.shape[1:]:
            raise InputError(
                f"`subspace` must hold directions of the shape of a sample, {x.shape[1:]}, got {self.subspace.shape[1:]}"
            )
        times = replicate(jnp.broadcast_to(jnp.asarray(t), x.shape[:1]))
        acts = jnp.broadcast_to((self.strength > 0) | self._whole, x.shape[:1])
        each = [condition for values in others for condition in values]
        moved = []
        if self.subspace is not None and self.process is not None:
            noise = expand(self.process.sigma(times), x)
            moved = [x + noise * self.subspace[k] for k in range(self._following)]
        states, given = stacked(*[x] * (2 + len(each)), *moved), stacked(null, own, *each, *[null] * len(moved))
        rows = self._rows
        means = unstacked(denoise.where_any(stacked(*[acts] * rows), states, stacked(*[times] * rows), given), rows)
        direction = without(means[1] - means[0], self._removed(means, x, times))
        guided = jnp.where(self.strength > 0, means[0] + self.strength * direction, means[0])
        if self._whole:
            return guided
        return jnp.where(expand(acts, x), guided, denoise.where_any(~acts, x, t, null))

    def _removed(self, means: Float[Array, "n b ..."], x: Float[Array, "b ..."], times: Float[Array, " b"]) -> Array:
        """The directions that are removed, (K, B, ...)."""
        if self.log_posteriors:
            return jnp.concatenate([_slopes(each, x, times) for each in self.log_posteriors])
        if self._following:
            return means[2:] - means[0]
        if self.subspace is not None:
            return jnp.broadcast_to(self.subspace[:, None], (len(self.subspace), *means.shape[1:]))
        edges = np.cumsum((2, *self.counts))
        values = (means[start:stop] for start, stop in zip(edges, edges[1:], strict=False))
        return jnp.concatenate([each - each.mean(0) for each in values])


def _slopes(log_posterior: Callable, x: Float[Array, "b ..."], times: Float[Array, " b"]) -> Float[Array, "k b ..."]:
    """The gradients in x of the log posterior of each value. Weighted by the posterior they sum to 0, so they span the
    differences of values."""
    log_p, pull_back = jax.vjp(lambda x: log_posterior(x, times), x)
    of_value = jnp.eye(log_p.shape[1], dtype=log_p.dtype)
    return jax.vmap(lambda value: pull_back(jnp.broadcast_to(value, log_p.shape))[0])(of_value)


def without(direction: Float[Array, "b ..."], others: Float[Array, "k b ..."]) -> Float[Array, "b ..."]:
    """A direction minus its least-squares fit by K others, of each sample; the ridge is `RIDGE` of their mean squared norm."""
    flat = direction.reshape(len(direction), -1)
    rows = jnp.moveaxis(others, 0, 1).reshape(len(direction), len(others), -1)
    gram = jnp.einsum("bkd,bld->bkl", rows, rows, precision="highest")
    ridge = RIDGE * jnp.trace(gram, axis1=1, axis2=2) / len(others) + jnp.finfo(rows.dtype).tiny
    against = jnp.einsum("bkd,bd->bk", rows, flat, precision="highest")
    # scaled to a ridge of RIDGE, so that small directions are as well conditioned as large ones
    scaled = gram / ridge[:, None, None] + jnp.eye(len(others), dtype=rows.dtype)
    weights = jnp.linalg.solve(scaled, (against / ridge[:, None])[..., None])[..., 0]
    return (flat - jnp.einsum("bk,bkd->bd", weights, rows, precision="highest")).reshape(direction.shape)


def projected(
    denoise: Callable,
    *,
    strength: ArrayLike = 1.0,
    counts: Sequence[int] = (),
    subspace: Float[ArrayLike, "k ..."] | None = None,
    process: Process | None = None,
    log_posteriors: Sequence[Callable] = (),
) -> Projected:
    """Leads samples from no label to their own along that part of its direction which other attributes do not explain:

        D_null + strength (d - U w),    d = D_own - D_null,    w = argmin ||d - U w||² + ridge ||w||².

    The columns of U are one of

    - the directions of other attributes at the same x_t, D_(a = k) - mean_l D_(a = l) for each value k of an attribute a:
      concept algebra (Wang et al. 2023, arXiv 2302.03693), in which concepts are subspaces of the score, with the subspace
      spanned by the model's own labels. One evaluation at 2 + K_1 + K_2 + ... times the batch;
    - the same directions by classifiers of noised samples, for which the model needs no other label: D_(a = k) - D_(a = l) is
      sigma² / alpha times the gradient of log p(a = k | x_t) - log p(a = l | x_t), by Bayes' rule. One evaluation at twice the
      batch, and one of each classifier with a gradient for each value;
    - a fixed subspace, such as that of `jaxdiff.fairness.associated_subspace`, for which no other attribute needs a label. One
      evaluation at twice the batch;
    - with its process, what goes with each direction u of the subspace at x_t, D_null(x_t + sigma u) - D_null(x_t), which is
      along the covariance of x_0 with u . x_0 given x_t to first order (Tweedie's formula, differentiated). One evaluation at
      2 + k times the batch.

    A guided mean D_null + b moves the expectation of a function f(x_0) given x_t in proportion to b . Cov(x_0, f | x_t), beside
    its noise. The first removes these covariances for the values of a, the last for u . x_0: with exact means and the reverse
    SDE, their means in each group are those without labels. A fixed subspace does so only where it holds the covariances.

    Where the directions of two attributes are orthogonal nothing is lost. Where they overlap, as when both are seen in the same
    pixels, the shared part of the label's own direction goes too.

    The guided denoiser takes (null, own, others): the condition without labels, that of the sample's own label alone, and for
    each other attribute a tuple of the conditions of its values alone; () without `counts`.

    Arguments:
        denoise: the denoiser inside.
        strength: at least 0; 0 is sampling without labels, bit for bit.
        counts: the number of values of each other attribute, each 2 or more.
        subspace: the directions of the subspace, one or more of the shape of a sample each, instead of `counts`.
        process: the forward process, for a subspace that follows x_t.
        log_posteriors: pytrees, one for each other attribute, called as `log_posterior(x, t)` for log p(a | x_t), (B, K), with
            t of shape (B,), such as `NoisedClassifier.log_posterior`; instead of `counts`.

    Raises:
        InputError: the strength is below 0, there are too few values, the subspace has no direction, or not exactly one of
            `counts`, `subspace` and `log_posteriors` is given, or a process without a subspace.
    """
    strength = at_least_zero("strength", strength)
    given = {"counts": bool(counts), "subspace": subspace is not None, "log_posteriors": bool(log_posteriors)}
    if sum(given.values()) != 1:
        names = " and ".join(f"`{name}`" for name, is_given in given.items() if is_given)
        raise InputError(f"`projected` takes one of `counts`, `subspace` and `log_posteriors`, got {names or 'none'}")
    if process is not None and subspace is None:
        raise InputError("`process` is for a `subspace`, and there is none")
    if log_posteriors:
        return Projected(as_denoiser(denoise), strength, (), log_posteriors=tuple(map(as_denoiser, log_posteriors)))
    if subspace is not None:
        rows = jnp.asarray(subspace)
        if rows.ndim < 2 or not rows.size:
            raise InputError(f"`subspace` must hold one or more directions of the shape of a sample, got shape {rows.shape}")
        return Projected(as_denoiser(denoise), strength, (), rows, process)
    if min(counts) < 2:
        raise InputError(f"`counts` must be the number of values of other attributes, each at least 2; got {tuple(counts)}")
    return Projected(as_denoiser(denoise), strength, tuple(counts))
