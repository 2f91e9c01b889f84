"""Trend and season of a series: cubic polynomials, and the strongest frequencies of a Fourier series."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

DEGREE = 3
"""Of the polynomials of the trend, which have no constant term: the mean is a part of its own."""


def polynomials(length: int) -> Float[np.ndarray, "l 3"]:
    """The basis of the trend: (i / (L + 1))^p for the steps i = 1 .. L and p = 1, 2, 3 (N-BEATS, Oreshkin et al. 2020)."""
    time = np.arange(1, length + 1) / (length + 1)
    return (time[:, None] ** np.arange(1, DEGREE + 1)).astype(np.float32)


def frequencies(length: int) -> int:
    """How many frequencies k / L the season chooses from: k = 1 .. ceil(L / 2) - 1.

    Those between the mean, k = 0, and the Nyquist frequency, k = L / 2, which only windows of even length have.
    """
    return (length + 1) // 2 - 1


def season_size(length: int) -> int:
    """How many frequencies make up the season: the natural logarithm of their number rounded down, but at least 1."""
    return max(1, math.floor(math.log(frequencies(length))))


def fourier(length: int) -> Float[np.ndarray, "l m"]:
    """Cosines and negative sines of the n frequencies of a window: cos(2 pi k i / L), then -sin(2 pi k i / L), (L, 2 n).

    The product of a window with them is the real and then the imaginary part of its discrete Fourier transform.
    """
    turns = np.outer(np.arange(length), np.arange(1, frequencies(length) + 1)) % length / length
    return np.concatenate([np.cos(2 * np.pi * turns), -np.sin(2 * np.pi * turns)], -1).astype(np.float32)


def inverse_fourier(length: int) -> Float[np.ndarray, "l m"]:
    """The inverse of `fourier` for windows without a mean and a part at the Nyquist frequency.

    A real window has equal amplitudes at k and -k: x_i = (2 / L) sum_k (Re X_k cos(2 pi k i / L) - Im X_k sin(2 pi k i / L)).
    """
    return 2 / length * fourier(length)


def strongest(spectrum: Float[Array, "*b m d"], count: int) -> Float[Array, "*b m d"]:
    """A spectrum with all but the strongest frequencies set to zero, for each channel.

    Arguments:
        spectrum: real parts, then imaginary parts, see `fourier`.
        count: how many are kept. Of equally strong ones the lower is kept.
    """
    real, imaginary = jnp.split(spectrum, 2, -2)
    kept = _largest(jax.lax.stop_gradient(jnp.square(real) + jnp.square(imaginary)), count)
    return jnp.where(jnp.concatenate([kept, kept], -2), spectrum, 0)


def _largest(power: Float[Array, "*b n d"], count: int) -> Bool[Array, "*b n d"]:
    """Whether an entry, of at least 0, is among the `count` largest along the axis before the last; of equal ones the first."""
    # a maximum at a time: `lax.top_k` sorts, which takes five times as long on a CPU
    n = power.shape[-2]
    places, kept = jnp.arange(n)[:, None], jnp.zeros(power.shape, bool)
    for _ in range(count):
        left = jnp.where(kept, -1, power)
        first = jnp.where(left == left.max(-2, keepdims=True), places, n).min(-2, keepdims=True)
        kept |= places == first
    return kept
