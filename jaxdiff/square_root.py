"""A square root that can be differentiated at 0."""

import jax.numpy as jnp
from jaxtyping import Array


def square_root(square: Array) -> Array:
    """sqrt(square), whose derivative at 0 is 0.

    That of `jnp.sqrt` is infinite there, and infinity times a derivative of 0, as that of a squared norm at its minimum, is
    NaN. With this one the gradient of a norm at 0 is the vector 0, a subgradient.

    Arguments:
        square: at least 0; NaN stays NaN.
    """
    zero = square == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, square)))
