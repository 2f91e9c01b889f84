"""The training error of series, against NumPy's Fourier transform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.series_loss import series_error

error_of = jax.jit(series_error)


def expected(estimate, x0, given=None):
    """By the definition, with the whole transform of each series and feature."""
    length = estimate.shape[1]
    d = (estimate - x0).astype(np.float64) if given is None else np.where(given, estimate - x0, 0).astype(np.float64)
    transform = np.fft.fft(d, axis=1, norm="forward")
    each = np.abs(d) + np.sqrt(length) / 5 * (np.abs(transform.real) + np.abs(transform.imag))
    return each.mean((1, 2)) if given is None else each.sum((1, 2)) / given.sum((1, 2))


def pair(length, features=3, rows=4):
    return np.random.default_rng(length).standard_normal((2, rows, length, features)).astype(np.float32)


@pytest.mark.parametrize("length", [4, 5, 24, 25, 64, 257])
def test_the_error_is_that_of_the_definition(length):
    estimate, x0 = pair(length)
    np.testing.assert_allclose(error_of(estimate, x0), expected(estimate, x0), rtol=2e-6)
    given = np.random.default_rng(0).random(x0.shape) < 0.6
    np.testing.assert_allclose(error_of(estimate, x0, given), expected(estimate, x0, given), rtol=2e-6)


def test_a_constant_and_a_wave():
    """A constant error c has the transform c at 0; a cosine, 1/2 at its frequency and at its mirror image."""
    constant = jnp.full((1, 24, 2), 0.7)
    np.testing.assert_allclose(error_of(constant, 0 * constant), 0.7 * (1 + np.sqrt(24) / 5 / 24), rtol=1e-6)
    wave = jnp.asarray(np.cos(2 * np.pi * 3 * np.arange(24) / 24), jnp.float32)[None, :, None]
    np.testing.assert_allclose(error_of(wave, 0 * wave), np.abs(wave).mean() + np.sqrt(24) / 5 / 24, rtol=1e-6)


def test_what_is_not_given_has_no_effect_on_error_and_gradient():
    estimate, x0 = pair(10)
    given = np.random.default_rng(1).random(x0.shape) < 0.5
    given[0] = False
    missing = np.where(given, x0, np.nan)
    error = error_of(estimate, missing, given)
    np.testing.assert_array_equal(error, error_of(np.where(given, estimate, 1e3), x0, given))
    assert error[0] == 0 and (np.asarray(error[1:]) > 0).all()
    np.testing.assert_allclose(error_of(estimate, x0, np.ones_like(given)), error_of(estimate, x0), rtol=1e-6)
    slope = jax.jit(jax.grad(lambda estimate: error_of(estimate, missing, given).sum()))(jnp.asarray(estimate))
    assert np.isfinite(slope).all() and ((np.asarray(slope) != 0) == given).all()


def test_the_error_of_each_series_is_its_own_and_0_for_itself():
    estimate, x0 = pair(24)
    np.testing.assert_allclose(error_of(estimate[::-1], x0[::-1]), error_of(estimate, x0)[::-1], rtol=1e-6)
    np.testing.assert_array_equal(error_of(x0, x0), np.zeros(4))
    np.testing.assert_allclose(error_of(3 * estimate, 3 * x0), 3 * error_of(estimate, x0), rtol=1e-6)
