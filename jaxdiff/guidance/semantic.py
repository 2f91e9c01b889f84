"""Semantic guidance: directions of several concepts added to classifier-free guidance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxdiff.denoiser import Stateful, as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance.scale import scale_of
from jaxdiff.parallel import stacked, unstacked
from jaxdiff.process import Process, expand


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Semantic(Stateful):
    """See `semantic`."""

    process: Process
    null: Any
    scale: Float[Array, ""]
    strengths: Float[Array, " k"]
    threshold: Float[Array, ""]
    start: Float[Array, ""]
    stop: Float[Array, ""]
    momentum: Float[Array, ""]
    momentum_decay: Float[Array, ""]

    def own_breakpoints(self) -> tuple[Array, ...]:
        """The times at which the directions start to act, and stop."""
        return (self.start, self.stop)

    def inner_states(self, x: Array) -> Array:
        """x for the null condition, the prompt and every concept."""
        return stacked(*[x] * (2 + len(self.strengths)))

    def begin(self, x: Array) -> Array:
        """No momentum."""
        return jnp.zeros_like(x)

    def guide(
        self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any, memory: Any
    ) -> tuple[Array, Any]:
        """The guided posterior mean, and the momentum after it."""
        prompt, concepts, *signs = condition
        if len(concepts) != len(self.strengths):
            raise InputError(
                f"the condition of semantic guidance is (prompt, concepts) with {len(self.strengths)} concepts, "
                f"as many as `strengths`; got {len(concepts)}"
            )
        # (K, B), so that one program serves every direction of every sample
        strengths = self.strengths[:, None] * (signs[0].T if signs else jnp.ones((1, len(x))))
        count = 2 + len(concepts)
        null = jax.tree.map(lambda n, c: jnp.broadcast_to(n, c.shape).astype(c.dtype), self.null, prompt)
        conditions = stacked(null, prompt, *concepts)
        times = jnp.broadcast_to(jnp.asarray(t), x.shape[:1])
        means = unstacked(denoise(self.inner_states(x), stacked(*[times] * count), conditions), count)
        # converts differences of x_0 to differences of eps
        unit = expand(self.process.alpha(times) / self.process.sigma(times), x)
        directions = -unit * (means[2:] - means[0])
        directions = jax.vmap(lambda strength, direction: _largest(expand(strength, x) * direction, self.threshold))(
            strengths, directions
        )
        acts = expand(times <= self.start, x)
        total = jnp.where(expand(times > self.stop, x), directions.sum(0), 0.0) + self.momentum * memory
        memory = self.momentum_decay * memory + (1 - self.momentum_decay) * total
        guided = means[1] + (scale_of(self.scale, prompt, x) - 1) * (means[1] - means[0])
        return jnp.where(acts, guided - total / unit, guided), memory


def _largest(direction: Float[Array, "b ..."], threshold) -> Float[Array, "b ..."]:
    """The entries of a direction whose absolute value is at least their quantile `threshold` per image and channel."""
    space = tuple(range(1, direction.ndim - 1)) or (1,)
    size = jnp.abs(direction)
    return jnp.where(size >= jnp.quantile(size, threshold, axis=space, keepdims=True), direction, 0.0)


def semantic(
    denoise: Callable,
    process: Process,
    null: Any,
    *,
    strengths: Array | np.ndarray | Sequence[float | int],
    scale: ArrayLike = 1.0,
    threshold: ArrayLike = 0.95,
    start: ArrayLike = 0.8,
    stop: ArrayLike = 0.0,
    momentum: ArrayLike = 0.5,
    momentum_decay: ArrayLike = 0.6,
) -> Semantic:
    """Semantic guidance, SEGA (Brack et al. 2023), with any conditions; used by Fair Diffusion (Friedrich et al. 2023).

    With eps_u, eps_p, eps_k under the null condition, the prompt and concept k, the guided eps is

        eps_u + scale (eps_p - eps_u) + G,    G = sum_k [strength_k (eps_k - eps_u)]_threshold + momentum nu,

    where [.]_threshold keeps the entries whose absolute value is at least that quantile over the space of each image and
    channel, and nu <- momentum_decay nu + (1 - momentum_decay) G after each step, from nu = 0. G acts where t <= start; nu
    accumulates before that too. Where t <= stop the sum over the concepts is 0, and the momentum alone fades out. This is
    diffusers' SemanticStableDiffusionPipeline with equal warm-ups of all concepts. One evaluation at 2 + K times the batch.

    The guided denoiser takes (prompt, concepts) or (prompt, concepts, signs): concepts a tuple of K conditions, and signs
    (B, K) factors of the strengths of each sample, such as -1, 0 and 1; with all signs 0 a sample is that of
    `classifier_free`. For a model without a neutral class the prompt is the null condition.

    Arguments:
        denoise: the denoiser inside.
        process: the forward process.
        null: the null condition, see `classifier_free`.
        strengths: (K,), the edit scales: above 0 towards a concept, below 0 away from it; `classifier_free` if all are 0.
        scale: of classifier-free guidance on the prompt; 1 is the prompt alone. The prompt may have its own, see
            `classifier_free`.
        threshold: in [0, 1); 0 keeps everything.
        start: the time at or below which the concepts act, in [0, 1]; the authors' 10 warm-up steps of 50 are 0.8.
        stop: the time at or below which they are 0: diffusers' cool-down.
        momentum: the share of nu in G, at least 0.
        momentum_decay: of nu, in [0, 1).

    Raises:
        InputError: there are no strengths, or an argument is out of range.
    """
    values = {"threshold": threshold, "momentum_decay": momentum_decay}
    for name, value in values.items():
        if not isinstance(value, jax.core.Tracer) and not 0 <= float(np.asarray(value)) < 1:
            raise InputError(f"`{name}` must lie in [0, 1), got {value}")
    if not isinstance(start, jax.core.Tracer) and not 0 <= float(np.asarray(stop)) < float(np.asarray(start)) <= 1:
        raise InputError(f"`start` and `stop` must be times with 0 <= stop < start <= 1, got {start} and {stop}")
    if not isinstance(momentum, jax.core.Tracer) and float(np.asarray(momentum)) < 0:
        raise InputError(f"`momentum` must be at least 0, got {momentum}")
    if np.ndim(strengths) != 1 or not len(strengths):
        raise InputError(f"`strengths` must be (K,), one for each concept, got shape {np.shape(strengths)}")
    numbers = [jnp.asarray(n, jnp.float32) for n in (scale, strengths, threshold, start, stop, momentum, momentum_decay)]
    return Semantic(as_denoiser(denoise), process, jax.tree.map(jnp.asarray, null), *numbers)
