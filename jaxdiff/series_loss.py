"""The training error of series: of their values and of their Fourier transforms."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


def series_error(
    estimate: Float[Array, "b l f"], x0: Float[Array, "b l f"], given: Bool[Array, "b l f"] | None = None
) -> Float[Array, " b"]:
    """The mean absolute error of each estimate and of its Fourier transform, as in the code of Diffusion-TS and TimeBridge.

    With d = estimate - x_0 and its transform over time D, divided by L, it is the mean over time, or frequency, and features of

        |d| + (sqrt(L) / 5) (|Re D| + |Im D|).

    Arguments:
        estimate: estimates of x_0.
        x0: the series, any finite or other numbers where they are not given.
        given: which entries are given. The others count neither as an error nor in the mean: d is 0 there. A series of which
            nothing is given has the error 0. None if all are.
    """
    length = estimate.shape[1]
    error = estimate - x0 if given is None else jnp.where(given, estimate - jnp.where(given, x0, 0), 0)
    # cosines and sines of the frequencies up to L / 2; those above are their mirror images
    frequencies = np.arange(length // 2 + 1)
    turns = np.outer(np.arange(length), frequencies) % length / length
    twice = np.where((frequencies == 0) | (2 * frequencies == length), 1, 2)  # of real series: as many as there are
    basis = np.concatenate([twice * np.cos(2 * np.pi * turns), twice * np.sin(2 * np.pi * turns)], -1) / length
    spectrum = jnp.einsum("blf,lm->bmf", error, basis.astype(np.float32), precision="highest")
    total = jnp.abs(error).sum((1, 2)) + math.sqrt(length) / 5 * jnp.abs(spectrum).sum((1, 2))
    count = math.prod(error.shape[1:]) if given is None else jnp.maximum(given.sum((1, 2)), 1)
    return total / count
