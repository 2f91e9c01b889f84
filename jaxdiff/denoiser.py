"""Denoisers: `denoise(x, t, condition) -> x0_hat`, the posterior mean E[x_0 | x_t = x, condition].

A denoiser is a pure function of arrays: x (B, ...), t of shape () or (B,), condition a pytree of arrays with leading
axis B (or None). Solvers, searches and guidances know nothing else of a model. A denoiser is a pytree, so that weights
and scales are arguments of a compiled program and never constants in it; a plain function is a denoiser too (its
closure is then constant).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdiff.process import Prediction, Process, expand


@runtime_checkable
class Denoiser(Protocol):
    """Anything that can be called as `denoise(x, t, condition)`."""

    def __call__(self, x: Array, t: Array, condition: Any, /) -> Array:
        """The posterior mean of x_0, of the shape of `x`."""


def as_denoiser(denoise: Callable) -> Callable:
    """A denoiser that jit takes as an argument: functions in a `jax.tree_util.Partial`, pytrees as they are."""
    leaves = jax.tree.leaves(denoise)
    return jax.tree_util.Partial(denoise) if len(leaves) == 1 and leaves[0] is denoise else denoise


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NetworkDenoiser:
    """A trained network as a denoiser, through its parameterisation.

    Attributes:
        network: a pytree called as `network(x / scale(t), t, condition)` that predicts `prediction`, of the shape of x: noised
            data of unit variance come to it with unit variance, whatever the process.
        process: the forward process that it was trained on.
        prediction: what it predicts: `x0`, `eps`, `v`, `score` or `edm`.
    """

    network: Callable
    process: Process
    prediction: Prediction = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "b ..."], t, condition) -> Float[Array, "b ..."]:
        """The posterior mean, float32."""
        t = jnp.broadcast_to(jnp.asarray(t, jnp.float32), x.shape[:1])
        scaled = x / expand(self.process.scale(t), x)
        return self.process.to_x0(self.prediction, self.network(scaled, t, condition), x, t)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GaussianMixture:
    """The exact denoiser of a class-conditional mixture of isotropic Gaussians: the oracle of the tests, and for teaching.

    Class c of C has K components N(means[c, k], stds[c, k]² I) of weight proportional to exp(log_weights[c, k]). The
    condition is a class index (B,), where -1 stands for the mixture of all classes in equal parts.

    Attributes:
        means: (C, K, D).
        stds: (C, K), above 0.
        log_weights: (C, K), normalised or not.
        process: the forward process.
    """

    means: Float[Array, "c k d"]
    stds: Float[Array, "c k"]
    log_weights: Float[Array, "c k"]
    process: Process

    def __call__(self, x: Float[Array, "b d"], t, condition) -> Float[Array, "b d"]:
        """The posterior mean: the components' posterior means, weighted by responsibility."""
        classes, components, _ = self.means.shape
        means, variances = self.means.reshape(classes * components, -1), self.stds.reshape(-1) ** 2
        log_weights = jax.nn.log_softmax(self.log_weights, axis=-1).reshape(-1)
        owner = jnp.repeat(jnp.arange(classes), components)
        alpha, sigma = expand(self.process.alpha(t), x), expand(self.process.sigma(t), x)
        spread = alpha**2 * variances + sigma**2  # (B, CK)
        centred = x[:, None] - jnp.expand_dims(alpha, -1) * means  # (B, CK, D)
        log_density = -0.5 * jnp.square(centred).sum(-1) / spread - 0.5 * x.shape[1] * jnp.log(spread)
        allowed = (condition[:, None] == owner) | (condition[:, None] < 0)
        weights = jax.nn.softmax(jnp.where(allowed, log_weights + log_density, -jnp.inf), axis=-1)
        shrink = alpha * variances / spread
        return jnp.einsum("bk,bkd->bd", weights, means + shrink[..., None] * centred, precision="highest")

    def draw(self, key, condition) -> Float[Array, "b d"]:
        """Exact samples of x_0 for classes (B,), each at least 0."""
        choose, spread = jax.random.split(key)
        component = jax.random.categorical(choose, self.log_weights[condition])
        noise = jax.random.normal(spread, (len(condition), self.means.shape[-1]), self.means.dtype)
        return self.means[condition, component] + self.stds[condition, component][:, None] * noise


@dataclass(frozen=True)
class Guidance:
    """A denoiser made from a denoiser. Subclasses are registered pytrees and define `__call__(x, t, condition)`.

    Attributes:
        denoiser: the denoiser inside, which may be a guidance itself.
    """

    denoiser: Callable

    def own_breakpoints(self) -> tuple[Array, ...]:
        """Times, of shape () or (B,), at which this guidance is discontinuous in t; the solver puts a node on each."""
        return ()


def breakpoints(denoiser: Callable) -> tuple[Array, ...]:
    """All breakpoints of a nest of guidances, the outermost first; () for a denoiser that is none."""
    found: tuple[Array, ...] = ()
    while isinstance(denoiser, Guidance):
        found += denoiser.own_breakpoints()
        denoiser = denoiser.denoiser
    return found
