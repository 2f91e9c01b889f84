"""Time grids: the nodes that a solver steps through, from noise (t = 1) to data (t = 0)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdiff.errors import InputError


def uniform(steps: int) -> Float[Array, " s"]:
    """`steps` + 1 nodes, uniform in t from 1 to 0."""
    # by numpy: compiled, jnp.linspace may end at -3e-8, where sigma is not a number
    return jnp.asarray(np.linspace(1.0, 0.0, steps + 1), jnp.float32)


def on_breakpoints(times: Float[Array, "s b"], breakpoints: tuple[Array, ...]) -> Float[Array, "s b"]:
    """The grid of each sample with its nearest interior node moved onto each of its breakpoints.

    There is no node more, so no evaluation more. Breakpoints at or beyond the ends of the grid move nothing. Each
    sample has a column of its own, so one sample's breakpoint never touches another's grid.

    Arguments:
        times: (S + 1, B), falling along the first axis.
        breakpoints: times of shape () or (B,).

    Raises:
        InputError: fewer interior nodes than breakpoints.
    """
    interior = times.shape[0] - 2
    if len(breakpoints) > interior:
        raise InputError(
            f"a grid of {interior + 1} steps has {interior} interior nodes, too few for {len(breakpoints)} breakpoints"
        )
    taken = jnp.zeros(times.shape, bool).at[0].set(True).at[-1].set(True)
    for point in breakpoints:
        point = jnp.broadcast_to(point, times.shape[1:]).astype(times.dtype)
        inside = (point < times[0]) & (point > times[-1])
        nearest = jnp.argmin(jnp.where(taken, jnp.inf, jnp.abs(times - point)), axis=0)
        moved = (jnp.arange(times.shape[0])[:, None] == nearest) & inside
        times = jnp.where(moved, point, times)
        taken = taken | moved
    return -jnp.sort(-times, axis=0) if len(breakpoints) > 1 else times
