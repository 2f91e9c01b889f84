"""Spectral switching: each band of the posterior mean switches its condition at its own time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from jaxdiff.bands import Bands
from jaxdiff.denoiser import Guidance, Stateful, as_denoiser, nest
from jaxdiff.errors import InputError
from jaxdiff.parallel import replicate, stacked, unstacked
from jaxdiff.process import expand
from jaxdiff.solvers.base import Solver


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SpectralSwitching(Guidance):
    """See `spectral_switching`."""

    bands: Bands
    at: Float[Array, " k"] | Float[Array, "b k"]

    def own_breakpoints(self) -> tuple[Array, ...]:
        """The transition points of the bands; 0, which moves no node, in place of duplicates."""
        points = jnp.moveaxis(self.at, -1, 0)
        first = lambda k: (points[k] == points[:k]).any(0)  # noqa: E731
        return tuple(jnp.where(first(k), 0.0, points[k]) for k in range(self.bands.count))

    def multiple(self, t: float | Float[np.ndarray, " b"], child: int = 0) -> int:
        """Two if the bands of some sample are in different conditions, else one."""
        return 1 + int(np.any((t > self.at.min(-1)) & (t <= self.at.max(-1))))

    def guide(self, denoise: Callable, x: Float[Array, "b ..."], t: ArrayLike, condition: Any) -> Float[Array, "b ..."]:
        """The inner posterior mean, each band under the condition in force for it at `t`."""
        start, end = condition
        times = replicate(jnp.broadcast_to(jnp.asarray(t), x.shape[:1]))
        switched = replicate(times[:, None] <= self.at)
        wholly, partly = replicate((switched.all(1), switched.any(1) & ~switched.all(1)))

        def one():
            return denoise(x, t, jax.tree.map(lambda s, e: jnp.where(expand(wholly, s), e, s), start, end))

        def both():
            before, after = unstacked(denoise(stacked(x, x), stacked(times, times), stacked(start, end)), 2)
            moved = jnp.where(switched[:, self.bands.band], self.bands.coefficients(after - before), 0)
            mixed = before + self.bands.assembled(moved, x.shape[1:])
            # if all bands agree there is no transform, so the posterior mean is exact
            return jnp.where(expand(partly, x), mixed, jnp.where(expand(wholly, x), after, before))

        return jax.lax.cond(partly.any(), both, one)

    def evaluations(self, solver: Solver, times: Float[Array, "s b"], first_step: ArrayLike = 0) -> Array:
        """Evaluations of the inner denoiser from step `first_step` on: twice as many in a step in which the bands
        of any sample of the batch are in different conditions.

        Arguments:
            solver: the solver.
            times: the nodes of each sample, from `sample_grid`, with this guidance's breakpoints.
            first_step: the number of steps to skip.
        """
        steps = jnp.arange(solver.steps)
        left = jnp.append(solver.evaluations_after(steps), 0)
        each = jnp.where(steps >= first_step, left[:-1] - left[1:], 0)
        return (each * (1 + self.disagree(times[:-1]).any(1))).sum()

    def disagree(self, times: Float[Array, "s b"]) -> Bool[Array, "s b"]:
        """Whether some bands have switched at these times, and others not."""
        return (times > self.at.min(-1)) & (times <= self.at.max(-1))


def spectral_switching(denoise: Callable, bands: Bands, at: ArrayLike | Sequence[Any]) -> SpectralSwitching:
    """Attribute switching with a transition point for each band.

    The guided denoiser takes a pair of conditions (start, end), like `switching`. At t the posterior mean is that of `start`
    in the bands whose point lies below t, and that of `end` in the others. For groups that differ by a shift, with a shared
    covariance diag(c_k²) in the basis of the bands, switching band k at SNR = 1 / (3 c_k²) makes the sets switched in both
    directions equal in every direction at once, which is impossible with a single point.

    A step costs a second evaluation (in one batch of twice the size) only while some bands of a sample have switched and others
    have not; see `SpectralSwitching.evaluations`. If all bands agree, it is the posterior mean of the single condition, bit for
    bit: with one point for all it is `switching`, at 0 and 1 the plain sampler. The result may leave the range of the data
    slightly: apply `clipped` outside.

    Arguments:
        denoise: the denoiser inside.
        bands: K bands of a sample.
        at: the transition point of each band in [0, 1], (K,), or of each sample (B, K). The solver needs more steps than
            bands.

    Raises:
        InputError: `at` is outside [0, 1] or not of shape (K,) or (B, K), or a guidance inside is stateful.
    """
    if any(isinstance(guidance, Stateful) for guidance in nest(denoise)):
        raise InputError(
            "`denoise` contains a stateful guidance, but is evaluated on the batch or on twice the batch; put it outside"
        )
    if not isinstance(at, jax.core.Tracer):
        values = np.asarray(at, np.float32)
        if values.ndim not in (1, 2) or values.shape[-1] != bands.count or not np.all((values >= 0) & (values <= 1)):
            raise InputError(
                f"`at` must be a time in [0, 1] for each of the {bands.count} bands, or one row per sample; "
                f"got {values.tolist()}"
            )
    return SpectralSwitching(as_denoiser(denoise), bands, jnp.asarray(at, jnp.float32))
