"""Sampling under a mask: one part of the data is sampled, the rest follows a known path (DiffEdit, inpainting)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxdiff.denoiser import Guidance, as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.probability_flow import Path
from jaxdiff.process import Process, expand


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Masked(Guidance):
    """See `masked`."""

    process: Process
    mask: Bool[Array, "b ..."]
    original: Float[Array, "b ..."]
    path: Path | Float[Array, "b ..."]

    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The inner posterior mean at the state whose unmasked part is the path's; the original outside the mask."""
        seen = jnp.where(self.mask, x, self._on_path(jnp.broadcast_to(jnp.asarray(t, jnp.float32), x.shape[:1])))
        return jnp.where(self.mask, denoise(seen, t, condition), self.original)

    def _on_path(self, t: Float[Array, " b"]) -> Float[Array, "b ..."]:
        """The path at `t`: x / alpha linear in sigma / alpha, as DDIM steps; at a node the state itself, bit for bit."""
        if not isinstance(self.path, Path):
            return self.process.noised(self.original, self.path, t)
        times, states = self.path
        above = jnp.clip(jnp.sum(times < t, axis=0), 1, len(times) - 1)
        # take_along_axis, so that each device gathers from its own rows only
        at = lambda values, node: jnp.take_along_axis(values, expand(node, values[0])[None], 0)[0]  # noqa: E731
        high, low = at(times, above), at(times, above - 1)
        upper, lower = at(states, above), at(states, above - 1)
        level = lambda t: jnp.exp(-0.5 * self.process.log_snr(t))  # noqa: E731
        # a step of length 0, such as the first of the spacing log_snr, is never between its nodes
        width = level(high) - level(low)
        share = (level(t) - level(low)) / jnp.where(width == 0, 1.0, width)
        log_alpha = self.process.log_alpha(t)
        from_upper = share * jnp.exp(log_alpha - self.process.log_alpha(high))
        from_lower = (1 - share) * jnp.exp(log_alpha - self.process.log_alpha(low))
        between = expand(from_upper, upper) * upper + expand(from_lower, lower) * lower
        return jnp.where(expand(t == high, upper), upper, between)


def masked(
    denoise: Callable,
    process: Process,
    mask: Bool[Array, "..."],
    original: Float[Array, "b ..."],
    path: Path | Float[Array, "b ..."],
) -> Masked:
    """Samples where the mask is set, and keeps the original elsewhere (Couairon et al. 2022, section 3.2).

    DiffEdit puts y <- M y + (1 - M) x_enc after each step. Here the inner denoiser is evaluated on the path outside the mask,
    and its output there is replaced by the original. With a solver that evaluates only at its nodes (DDIM) this gives the same
    samples in the mask, and the last step, which ends on the posterior mean, ends on the original; after a solver that ends at
    a timestep, put the original there, as `edit` does. It costs no evaluation. It must be outermost, since it contains the data
    of the batch; other guidances go inside.

    Arguments:
        denoise: the denoiser inside.
        process: the forward process.
        mask: (B, ...) where to sample; axes of length 1 broadcast against the data, e.g. (B, H, W, 1).
        original: the data x_0 (B, ...).
        path: the trajectory of the originals, from `probability_flow.encode`. It is exact at its nodes, so decode with the
            solver used to encode; between and beyond them it is interpolated as in DDIM steps. Or noise (B, ...), whose path is
            alpha x_0 + sigma noise: inpainting.

    Raises:
        InputError: the shape of `mask` or `path` does not match `original`.
    """
    shape = original.shape
    fits = mask.ndim == len(shape) and all(m in (1, n) for m, n in zip(mask.shape, shape, strict=True))
    if not fits or mask.shape[0] != shape[0]:
        raise InputError(f"`mask` must broadcast to `original` of shape {shape}, one for each sample; got shape {mask.shape}")
    if not isinstance(path, Path):
        if path.shape != shape:
            raise InputError(f"`path` must be noise of the shape {shape} of `original`, got {path.shape}")
    elif len(path.times) < 2 or path.times.shape != path.states.shape[:2] or path.states.shape[1:] != shape:
        got = f"times {path.times.shape} and states {path.states.shape}"
        raise InputError(f"`path` must have at least two states of the shape {shape} of `original`, got {got}")
    return Masked(as_denoiser(denoise), process, mask, original, path)
