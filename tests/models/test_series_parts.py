"""Trend and season of series: polynomials, and the strongest frequencies of a window."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.models.series_parts import (
    fourier,
    frequencies,
    inverse_fourier,
    polynomials,
    season_size,
    strongest,
)

LENGTHS = (4, 5, 6, 7, 8, 9, 24, 25, 36, 63, 64, 257)


def season(x, count=None):
    """The season of windows (..., L, D)."""
    length = x.shape[-2]
    spectrum = fourier(length).T @ x
    kept = strongest(jnp.asarray(spectrum, jnp.float32), season_size(length) if count is None else count)
    return inverse_fourier(length) @ np.asarray(kept, np.float64)


def wave(length, frequency, amplitude=1.0, phase=0.0):
    return amplitude * np.cos(2 * np.pi * frequency * np.arange(length) / length + phase)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_spectrum_is_that_of_a_fourier_transform_without_mean_and_nyquist(length):
    x = np.random.default_rng(length).standard_normal((length, 3))
    whole = np.fft.rfft(x, axis=0)
    inner = whole[1:-1] if length % 2 == 0 else whole[1:]
    assert len(inner) == frequencies(length)
    np.testing.assert_allclose(fourier(length).T @ x, np.concatenate([inner.real, inner.imag]), atol=3e-5)
    left = np.where(np.arange(len(whole)) % (length / 2) == 0, 0, 1)[:, None] * whole
    np.testing.assert_allclose(inverse_fourier(length) @ (fourier(length).T @ x), np.fft.irfft(left, length, 0), atol=3e-6)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_season_of_a_wave_is_the_wave_itself(length):
    for frequency in range(1, frequencies(length) + 1):
        x = wave(length, frequency, 1.7, 0.4)[:, None]
        np.testing.assert_allclose(season(x), x, atol=2e-5)
        np.testing.assert_allclose(season(x, count=1), x, atol=2e-5)


@pytest.mark.parametrize("length", LENGTHS)
def test_mean_and_nyquist_frequency_are_no_season(length):
    x = np.ones((length, 1))
    np.testing.assert_allclose(season(x), 0, atol=1e-5)
    if length % 2 == 0:
        np.testing.assert_allclose(season(wave(length, length // 2)[:, None]), 0, atol=1e-5)


def test_the_number_of_frequencies_of_a_season():
    assert [frequencies(length) for length in (4, 5, 6, 7, 24, 25)] == [1, 2, 2, 3, 11, 12]
    for length in range(4, 600):
        n = len(np.fft.rfftfreq(length)) - (2 if length % 2 == 0 else 1)
        assert season_size(length) == max(1, int(math.log(n)))
    assert [season_size(length) for length in (4, 6, 7, 16, 24, 64, 256)] == [1, 1, 1, 1, 2, 3, 4]


@pytest.mark.parametrize(("length", "count"), [(24, 2), (25, 3), (9, 1), (64, 3)])
def test_the_strongest_frequencies_of_each_channel_are_kept(length, count):
    """Against NumPy: each channel of each window by itself."""
    x = np.random.default_rng(count).standard_normal((2, length, 5))
    expected = np.zeros_like(x)
    for row in range(2):
        for channel in range(5):
            whole = np.fft.rfft(x[row, :, channel])
            whole[0] = 0
            if length % 2 == 0:
                whole[-1] = 0
            whole[np.argsort(-np.abs(whole))[count:]] = 0
            expected[row, :, channel] = np.fft.irfft(whole, length)
    np.testing.assert_allclose(season(x, count), expected, atol=1e-5)


@pytest.mark.parametrize("length", [7, 24])
def test_a_season_moves_with_its_window_and_grows_with_it(length):
    x = np.random.default_rng(3).standard_normal((length, 4))
    np.testing.assert_allclose(season(np.roll(x, 3, 0)), np.roll(season(x), 3, 0), atol=1e-5)
    np.testing.assert_allclose(season(-2.5 * x), -2.5 * season(x), atol=1e-5)


def test_of_equally_strong_frequencies_the_lower_is_kept():
    spectrum = jnp.ones((6, 2))  # three frequencies
    assert strongest(spectrum, 2).tolist() == [[1, 1], [1, 1], [0, 0], [1, 1], [1, 1], [0, 0]]
    assert strongest(jnp.zeros((6, 2)), 2).tolist() == [[0, 0]] * 6


def test_gradients_are_those_of_the_kept_frequencies_and_finite_without_any():
    slope = jax.grad(lambda spectrum: (strongest(spectrum, 1) * jnp.arange(1.0, 5)[:, None]).sum())
    given = jnp.asarray([[0.1], [3], [0.2], [0]])  # frequencies 0.1 + 0.2i and 3
    np.testing.assert_array_equal(slope(given), [[0], [2], [0], [4]])
    assert np.isfinite(slope(jnp.zeros((4, 1)))).all()


@pytest.mark.parametrize("length", LENGTHS)
def test_a_cubic_polynomial_without_constant_is_a_trend(length):
    time = np.linspace(-1.3, 2.1, length)
    cubic = np.polyval(np.random.default_rng(length).standard_normal(4), time)
    with_constant = np.concatenate([np.ones((length, 1)), polynomials(length)], 1).astype(np.float64)
    assert with_constant.shape == (length, 4)
    coefficients, *_ = np.linalg.lstsq(with_constant, cubic, rcond=None)
    np.testing.assert_allclose(with_constant @ coefficients, cubic, atol=1e-4)
    # the constant is a part of its own: the polynomials are 0 one step before the window and 1 one step after it
    np.testing.assert_allclose(polynomials(length)[:, 0], np.arange(1, length + 1) / (length + 1), rtol=1e-6)
    np.testing.assert_allclose(np.polyfit(np.arange(length), polynomials(length)[:, 2], 3)[0], (length + 1.0) ** -3, rtol=1e-3)
