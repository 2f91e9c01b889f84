"""Denoisers: `denoise(x, t, condition) -> x0_hat`, the posterior mean E[x_0 | x_t = x, condition].

A denoiser is a pure function of arrays: x (B, ...), t of shape () or (B,), condition a pytree of arrays with leading
axis B (or None). Solvers, searches and guidances use nothing else of a model. A denoiser is a pytree, so that weights
and scales are arguments of a compiled program, not constants in it; a plain function is a denoiser too (its closure
is then constant).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import get_opaque_trace_state
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jaxdiff.parallel import replicate
from jaxdiff.process import Prediction, Process, expand


@runtime_checkable
class Denoiser(Protocol):
    """Anything that can be called as `denoise(x, t, condition)`."""

    def __call__(self, x: Array, t: Array, condition: Any, /) -> Array:
        """The posterior mean of x_0, of the shape of `x`."""


def as_denoiser(denoise: Callable) -> Callable:
    """A denoiser that jit accepts as an argument: functions are wrapped in a `jax.tree_util.Partial`."""
    leaves = jax.tree.leaves(denoise)
    return jax.tree_util.Partial(denoise) if len(leaves) == 1 and leaves[0] is denoise else denoise


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NetworkDenoiser:
    """A trained network as a denoiser, through its parameterisation.

    Attributes:
        network: a pytree called as `network(process.network_input(x, t, condition), t, condition)` that predicts `prediction`,
            of the shape of x.
        process: the forward process that it was trained on.
        prediction: the kind of prediction: `x0`, `eps`, `v`, `score`, `edm`, or of a bridge `edm_marginal`.
    """

    network: Callable
    process: Process
    prediction: Prediction = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The posterior mean, float32."""
        t = jnp.broadcast_to(jnp.asarray(t, jnp.float32), x.shape[:1])
        shown = self.process.network_input(x, t, condition)
        return self.process.estimate(self.prediction, self.network(shown, t, condition), x, t, condition)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GaussianMixture:
    """The exact denoiser of a class-conditional mixture of isotropic Gaussians: for tests and teaching.

    Class c of C has K components N(means[c, k], stds[c, k]² I) of weight proportional to exp(log_weights[c, k]). The
    condition is a class index (B,); -1 is the mixture of all classes with equal weights.

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

    def __call__(self, x: Float[Array, "b d"], t: ArrayLike, condition: Any) -> Float[Array, "b d"]:
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

    def draw(self, key: PRNGKeyArray, condition: Any) -> Float[Array, "b d"]:
        """Exact samples of x_0 for classes (B,), each at least 0."""
        choose, spread = jax.random.split(key)
        component = jax.random.categorical(choose, self.log_weights[condition])
        noise = jax.random.normal(spread, (len(condition), self.means.shape[-1]), self.means.dtype)
        return self.means[condition, component] + self.stds[condition, component][:, None] * noise


class InnerDenoiser:
    """A denoiser inside a guidance, as `Guidance.guide` calls it: a function of (x, t, condition), for one evaluation.

    It carries the memory of the guidances inside it, so that `guide` need not: each call sees the memory from before the
    evaluation, and the memory after the first call is kept. With such a memory, a call inside a `lax.cond` or another
    transformation is an error, since the memory would be lost: use `where_any` to skip an evaluation.
    """

    def __init__(self, denoiser: Callable, memory: Any):
        self._denoiser = denoiser
        self._before = self._after = memory
        self._called = False
        self._trace = get_opaque_trace_state()

    @property
    def memory(self) -> Any:
        """The memory after the evaluation."""
        return self._after

    def __call__(self, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The posterior mean."""
        return self._keep(*evaluate(self._denoiser, x, t, condition, self._before))

    def where_any(
        self, needed: Bool[Array, " b"], x: Float[Array, "b ..."], t: ArrayLike, condition: Any
    ) -> Float[Array, "b ..."]:
        """The posterior mean if any sample of the batch needs it; else zeros without an evaluation, and an unchanged memory."""

        def evaluated(before):
            x0, after = evaluate(self._denoiser, x, t, condition, before)
            return x0.astype(x.dtype), jax.tree.map(lambda new, old: new.astype(old.dtype), after, before)

        def skipped(before):
            return jnp.zeros_like(x), before

        return self._keep(*jax.lax.cond(replicate(needed).any(), evaluated, skipped, self._before))

    def _keep(self, x0: Array, after: Any) -> Array:
        if jax.tree.leaves(self._before) and get_opaque_trace_state() != self._trace:
            raise RuntimeError("a guidance calls a stateful denoiser inside a transformation; use `where_any`")
        if not self._called:
            self._after, self._called = after, True
        return x0


class Memory(NamedTuple):
    """The memory of a nest of guidances, a tree of the same structure.

    Attributes:
        own: the memory of the guidance itself; () if it is not a `Stateful`.
        children: the memory of each child: a `Memory`, or () for a denoiser that is not a guidance.
    """

    own: Any
    children: tuple[Any, ...]


@dataclass(frozen=True)
class Guidance(ABC):
    """A denoiser made from a denoiser, or from several. Subclasses are registered pytrees and define `guide`.

    Attributes:
        denoiser: the denoiser inside, which may be a guidance itself.
    """

    denoiser: Callable

    @property
    def children(self) -> tuple[Callable, ...]:
        """The denoisers inside, the main one first."""
        return (self.denoiser,)

    @abstractmethod
    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Any:
        """The guided posterior mean.

        Arguments:
            denoise: the denoiser inside, as a function of (x, t, condition), see `InnerDenoiser`. A guidance of several
                children takes one argument for each, in their order.
            x, t, condition: see `Denoiser`.
        """

    def own_breakpoints(self) -> tuple[Array, ...]:
        """Times, of shape () or (B,), at which this guidance is discontinuous in t; the solver puts a node on each."""
        return ()

    def inner_states(self, x: Array) -> Array:
        """The states on which `guide` evaluates each denoiser inside: x, or several copies of x."""
        return x

    def multiple(self, t: float | Float[np.ndarray, " b"], child: int = 0) -> int:
        """Evaluations of child number `child` per evaluation at t, one time or those of a batch."""
        return jax.eval_shape(self.inner_states, jax.ShapeDtypeStruct((1, 1), jnp.float32)).shape[0]

    def __call__(self, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The guided posterior mean; stateful guidances in the nest start with an initial memory."""
        return evaluate(self, x, t, condition, initial_memory(self, x))[0]


class Stateful(Guidance):
    """A stateful guidance, which carries a memory from node to node of a run, e.g. a momentum.

    The memory after the first evaluation of a step is kept.
    """

    @abstractmethod
    def begin(self, x: Array) -> Any:
        """The memory before the first step from x, a pytree of arrays with leading axis B."""

    @abstractmethod
    def guide(  # ty: ignore[incompatible-method-override]  # `evaluate` distinguishes the two kinds
        self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any, memory: Any
    ) -> tuple[Array, Any]:
        """The guided posterior mean and the memory after it; see `Guidance.guide`."""


def nest(denoiser: Callable) -> Iterator[Guidance]:
    """The guidances of a nest, in pre-order, child by child; none for a denoiser that is not a guidance."""
    if isinstance(denoiser, Guidance):
        yield denoiser
        for child in denoiser.children:
            yield from nest(child)


def breakpoints(denoiser: Callable) -> tuple[Array, ...]:
    """All breakpoints of a nest of guidances, in the order of `nest`."""
    return tuple(point for guidance in nest(denoiser) for point in guidance.own_breakpoints())


def initial_memory(denoiser: Callable, x: Array) -> Any:
    """The memory of a nest before the first step from x: a `Memory`, or () for a denoiser that is not a guidance."""
    if not isinstance(denoiser, Guidance):
        return ()
    own = denoiser.begin(x) if isinstance(denoiser, Stateful) else ()
    states = denoiser.inner_states(x)
    return Memory(own, tuple(initial_memory(child, states) for child in denoiser.children))


def evaluate(denoiser: Callable, x: Array, t: ArrayLike, condition: Any, memory: Any) -> tuple[Array, Any]:
    """The posterior mean and the memory after it.

    Arguments:
        denoiser: a denoiser, guided or not.
        x, t, condition: see `Denoiser`.
        memory: from `initial_memory` or the previous evaluation.
    """
    if not isinstance(denoiser, Guidance):
        return denoiser(x, t, condition), memory
    inside = [InnerDenoiser(child, own) for child, own in zip(denoiser.children, memory.children, strict=True)]
    if isinstance(denoiser, Stateful):
        x0, own = denoiser.guide(*inside, x, t, condition, memory.own)
    else:
        x0, own = denoiser.guide(*inside, x, t, condition), memory.own
    return x0, Memory(own, tuple(each.memory for each in inside))
