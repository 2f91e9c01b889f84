"""Distances to references are those of brute force, for any tile size and on several devices."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.references import references, squared_distances
from tests.processes import QUICK


def brute(x, images):
    """Squared distances in float64, rising."""
    flat = lambda x: np.asarray(x, np.float64).reshape(len(x), -1)  # noqa: E731
    return np.sort(np.square(flat(x)[:, None] - flat(images)).sum(-1), axis=1)


@pytest.mark.parametrize("tile", [1, 4, 10, 1024])
@pytest.mark.parametrize("count", [1, 3, 11, 50])
def test_the_nearest_squares_are_those_of_brute_force(tile, count, rng):
    images, x = rng.uniform(-1, 1, (11, 3, 3, 2)).astype(np.float32), rng.uniform(-1, 1, (5, 3, 3, 2)).astype(np.float32)
    got = jax.jit(lambda refs, x: refs.nearest_squares(x, count))(references(images, tile=tile), x)
    np.testing.assert_allclose(got, brute(x, images)[:, :count], rtol=1e-5)


@pytest.mark.parametrize("tile", [1, 4, 1024])
def test_without_repeats_each_image_counts_once(tile, rng):
    images, x = rng.uniform(-1, 1, (5, 6)).astype(np.float32), rng.uniform(-1, 1, (3, 6)).astype(np.float32)
    repeated = references(images[[0, 1, 0, 2, 3, 3, 4, 0]], tile=tile)
    once = repeated.without_repeats()
    assert (repeated.count, once.count) == (8, 5)
    np.testing.assert_allclose(once.nearest_squares(jnp.asarray(x), 8), brute(x, images), rtol=1e-5)
    np.testing.assert_allclose(
        once.repulsion(jnp.asarray(x), jnp.exp), references(images, tile=tile).repulsion(jnp.asarray(x), jnp.exp), rtol=1e-4
    )  # fmt: skip


@pytest.mark.parametrize("tile", [1, 4, 1024])
def test_repulsion_is_the_sum_over_all_references(tile, rng):
    images, x = rng.uniform(-1, 1, (11, 6)).astype(np.float32), rng.standard_normal((5, 6)).astype(np.float32)
    got = references(images, tile=tile).repulsion(jnp.asarray(x), lambda squares: 1 / (1 + squares))
    away = (x[:, None] - images).astype(np.float64)
    wanted = (away / (1 + np.square(away).sum(-1, keepdims=True))).sum(1)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [2, 3072, 50000])
def test_a_distance_is_right_up_to_its_stated_rounding_and_never_below_it(size, rng):
    images = rng.standard_normal((40, size)).astype(np.float32)
    x = images + 1e-4 * rng.standard_normal((40, size)).astype(np.float32)
    got = np.diag(squared_distances(jnp.asarray(x), jnp.asarray(images), jnp.square(images).sum(1)))
    rounding = 8 * np.finfo(np.float32).eps * (np.square(x).sum(1) + np.square(images).sum(1))
    true = np.square(x.astype(np.float64) - images).sum(1)
    assert (np.abs(got - true) <= 2 * rounding).all() and (got >= 0.99 * rounding).all()


DEALT = """
import jax, jax.numpy as jnp, numpy as np
from jaxdiff import guidance
from jaxdiff.parallel import make_mesh
from jaxdiff.process import vp_cosine
from jaxdiff.references import references
mesh = make_mesh("data=3")
rng = np.random.default_rng(0)
x = jnp.asarray(rng.standard_normal((5, 4)), jnp.float32)
for count, different in ((2, 2), (17, 5), (17, 17)):
    images = np.resize(rng.uniform(-1, 1, (different, 4)), (count, 4)).astype(np.float32)
    one, sharded = references(images, tile=2), references(images, tile=2, mesh=mesh)
    assert not sharded.tiles.sharding.is_fully_replicated
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    nearest = jax.jit(lambda refs: refs.nearest_squares(x, 3))
    close(nearest(one), nearest(sharded))
    close(nearest(one.without_repeats()), nearest(sharded.without_repeats()))
    close(guidance.radius_of(one), guidance.radius_of(sharded))
    itself, window = lambda x, t, c: x, (0.0, float("inf"))
    for make in (guidance.safety_flow, lambda *a, **k: guidance.repellency(*a, **k, radius=2.5)):
        call = jax.jit(lambda guided, x: guided(x, 0.5, None))
        moved = [call(make(itself, vp_cosine(), refs, strength=1.0, window=window), x) for refs in (one, sharded)]
        assert not np.allclose(moved[0], x)
        close(*moved)
print("the same")
"""


def test_sharded_over_three_devices_they_are_the_same():
    """Of 2 references one device holds none."""
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "3", "JAX_PLATFORMS": "cpu", **QUICK}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", DEALT],
        cwd=Path(__file__).parents[1], env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.stdout == "the same\n", run.stderr[-3000:]
