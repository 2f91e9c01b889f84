"""Interpolation between known values is NumPy's along any axis, of arrays on the host and of JAX alike."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.interpolation import linear, neighbours


@pytest.fixture
def case(rng):
    """Values (5, 9, 4) and which are known; some features have one known value, one has none, one has all."""
    known = rng.random((5, 9, 4)) < 0.4
    known[0, :, 0], known[1, :, 1], known[2, :, 2] = False, True, False
    known[2, 4, 2] = True
    return rng.normal(size=known.shape), known


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_lines_are_those_of_numpy(case, axis):
    values, known = (np.moveaxis(each, 1, axis) for each in case)
    found = linear(np.where(known, values, np.nan), known, axis)
    traced = linear(jnp.where(known, jnp.asarray(values, jnp.float32), jnp.nan), jnp.asarray(known), axis)
    assert found.dtype == np.float64 and traced.dtype == jnp.float32
    rows = [np.moveaxis(each, axis, -1).reshape(-1, 9) for each in (found, np.asarray(traced), values, known)]
    for line, of_jax, value, seen in zip(*rows, strict=True):
        at = np.flatnonzero(seen)
        expected = np.interp(np.arange(9), at, value[at]) if len(at) else np.zeros(9)
        np.testing.assert_allclose(line, expected, atol=1e-14)
        np.testing.assert_allclose(of_jax, expected, atol=1e-6)
        np.testing.assert_array_equal(line[at], value[at])
        for beyond, end in ((slice(None, at[0]), at[0]), (slice(at[-1], None), at[-1])) if len(at) else ():
            assert (line[beyond] == value[end]).all() and (of_jax[beyond] == np.float32(value[end])).all()


def test_neighbours_are_found_by_looking(case):
    known = case[1][:, :, 0].T
    for found in (neighbours(known), neighbours(jnp.asarray(known))):
        for row in range(9):
            for column in range(5):
                at = np.flatnonzero(known[:, column])
                assert found[0][row, column] == max((i for i in at if i <= row), default=-1)
                assert found[1][row, column] == min((i for i in at if i >= row), default=9)
