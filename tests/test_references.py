"""A set of images as a distribution: sums by tile equal dense ones in float64, on any number of devices, at any magnitude."""

import itertools
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp as jax_logsumexp
from scipy.special import logsumexp, softmax

from jaxdiff.errors import InputError
from jaxdiff.process import ve, vp_cosine, vp_linear
from jaxdiff.references import references
from tests.processes import QUICK, succeed

SHAPE = (4, 4, 3)
DEVICES = """
import json, sys
import jax, numpy as np
from jaxdiff import parallel
from jaxdiff.process import vp_cosine
from jaxdiff.references import references

counts, tiles = json.loads(sys.argv[1])
assert len(jax.devices()) == 8
for count in counts:
    rng = np.random.default_rng(count)
    images, x = rng.uniform(-1, 1, (count, 4, 4, 3)), rng.normal(size=(24, 4, 4, 3)).astype(np.float32)
    for tile in tiles:
        one = references(images, tile=tile)
        for text, devices in (("", 3), ("data=2,fsdp=4", 8)):
            mesh = parallel.make_mesh(text, jax.devices()[:devices])
            sharded = references(images, tile=tile, mesh=mesh)

            @jax.jit
            def run(refs, x, t, temperature):
                near = refs.noised(vp_cosine(), x, t, temperature)
                return *near, *refs.laplace(x, 0.5), refs.repulsion(x, lambda squares: 1 / (1 + squares))

            for t, temperature in ((0.05, 1.0), (0.5, 1.0), (0.95, 48.0)):
                with jax.set_mesh(mesh):
                    shared = run(sharded, parallel.shard_rows(mesh, x), t, temperature)
                for a, b in zip(run(one, x, t, temperature), shared):
                    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)
            held = {shard.device: shard.data.shape[0] for shard in sharded.tiles.addressable_shards}
            assert len(held) == devices and len(set(held.values())) == 1
print("equal")
"""


def dense(process, images, x, t, temperature):
    """Mean, log-sum and least deviation in float64, all pairs at once."""
    alpha, sigma = (np.float64(function(np.float64(t))) for function in (process.alpha, process.sigma))
    flat, states = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (images, x))
    squares = np.square(states[:, None] - alpha * flat).sum(-1)
    logits = -squares / (2 * sigma**2 * temperature)
    dimension = flat.shape[1]
    mean = (softmax(logits, axis=1) @ flat).reshape(np.shape(x))
    return mean, logsumexp(logits, axis=1), (squares.min(1) / sigma**2 - dimension) / np.sqrt(2 * dimension)


@jax.jit
def look(refs, process, x, t, temperature=1.0):
    """All that a set says of states."""
    seen = refs.noised(process, x, t, temperature)
    return seen, refs.log_kernel(process, x, t, temperature, seen.log_sum)


@pytest.mark.parametrize(
    "process", [vp_linear(), pytest.param(vp_cosine(), marks=pytest.mark.slow), ve()], ids=lambda process: process.name
)
def test_tiles_of_any_size_equal_the_dense_sums(process, rng):
    images = rng.uniform(-1, 1, (37, *SHAPE))
    for tile in (1, 5, 36, 37, 1000):
        refs = references(images, tile=tile)
        for t, temperature in itertools.product((0.2, 0.6, 1.0), (1.0, 48.0)):
            alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
            x = (alpha * images[:6] + sigma * rng.normal(size=(6, *SHAPE))).astype(np.float32)
            mean, log_sum, deviation = dense(process, images, x, t, temperature)
            seen, log_kernel = look(refs, process, jnp.asarray(x), t, temperature)
            np.testing.assert_allclose(seen.mean, mean, atol=2e-4)
            np.testing.assert_allclose(seen.deviation, deviation, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(log_kernel, log_sum - np.log(37), rtol=1e-4, atol=1e-3)


def test_the_sums_of_two_sets_of_one_centre_have_exact_odds(rng):
    images = rng.uniform(-1, 1, (20, *SHAPE))
    process, t = vp_cosine(), 0.6
    unsafe = references(images[:7])
    safe = references(images[7:], centre=unsafe.centre, tile=3)
    x = jnp.asarray(images[:5] * float(process.alpha(t)) + float(process.sigma(t)) * rng.normal(size=(5, *SHAPE)), jnp.float32)
    odds = look(unsafe, process, x, t)[0].log_sum - look(safe, process, x, t)[0].log_sum
    expected = dense(process, images[:7], x, t, 1.0)[1] - dense(process, images[7:], x, t, 1.0)[1]
    np.testing.assert_allclose(odds, expected, atol=1e-3)


def test_each_sample_has_its_own_time(rng):
    images, x = rng.uniform(-1, 1, (9, *SHAPE)), jnp.asarray(rng.normal(size=(3, *SHAPE)), jnp.float32)
    refs, times = references(images, tile=4), jnp.asarray([0.3, 0.6, 0.9])
    together, _ = look(refs, vp_cosine(), x, times)
    for i, t in enumerate(times):
        for whole, alone in zip(together, look(refs, vp_cosine(), x[i : i + 1], t)[0], strict=True):
            np.testing.assert_allclose(whole[i], alone[0], rtol=1e-5, atol=1e-5)


def test_the_laplace_kernel_weighs_by_distance(rng):
    images, x0 = rng.uniform(-1, 1, (23, *SHAPE)), rng.uniform(-1, 1, (4, *SHAPE))
    distances = np.sqrt(np.square(x0.reshape(4, 1, -1) - images.reshape(1, 23, -1)).sum(-1))
    logits = -distances / (2 * 0.7**2)
    for tile in (4, 23):
        mean, log_kernel = references(images, tile=tile).laplace(jnp.asarray(x0, jnp.float32), 0.7)
        np.testing.assert_allclose(mean.reshape(4, -1), softmax(logits, axis=1) @ images.reshape(23, -1), atol=1e-4)
        np.testing.assert_allclose(log_kernel, logsumexp(logits, axis=1) - np.log(23), atol=1e-4)


def test_repulsion_sums_a_weight_of_squared_distances(rng):
    images, x0 = rng.uniform(-1, 1, (23, *SHAPE)), rng.uniform(-1, 1, (4, *SHAPE))
    between = x0[:, None] - images
    weights = 1 / (1 + np.square(between).sum((2, 3, 4)))
    expected = (weights[:, :, None, None, None] * between).sum(1)
    for tile in (4, 23):
        moved = references(images, tile=tile).repulsion(jnp.asarray(x0, jnp.float32), lambda squares: 1 / (1 + squares))
        np.testing.assert_allclose(moved, expected, atol=1e-4)


@pytest.mark.parametrize("process", [vp_linear(), vp_cosine(), ve()], ids=lambda process: process.name)
def test_extreme_logits_stay_finite(process, rng):
    """12,288 dimensions near t = 0: logits of 1e9 and more, of which one is all."""
    shape = (64, 64, 3)
    images = rng.uniform(-1, 1, (5, *shape))
    refs = references(images, tile=2)
    for t in (1e-6, 1e-4, 0.01, 1.0):
        for x in (images * float(process.alpha(t)), np.full((5, *shape), 3.0)):
            seen, log_kernel = look(refs, process, jnp.asarray(x, jnp.float32), t)
            assert all(np.isfinite(leaf).all() for leaf in seen)
            assert np.isfinite(log_kernel).all() and (log_kernel <= 0).all()
        if t < 0.1:
            near, _ = look(refs, process, jnp.asarray(images * float(process.alpha(t)), jnp.float32), t)
            np.testing.assert_allclose(near.mean, images, atol=1e-3)


def test_deviations_of_noised_references_are_standard_normal(rng):
    process, images = vp_cosine(), rng.uniform(-1, 1, (3, 16, 16, 3))
    refs = references(images)
    for t in (0.1, 0.5, 0.9):
        noise = rng.normal(size=(600, 16, 16, 3))
        x = float(process.alpha(t)) * np.tile(images, (200, 1, 1, 1)) + float(process.sigma(t)) * noise
        deviation = np.asarray(look(refs, process, jnp.asarray(x, jnp.float32), t)[0].deviation)
        # standard errors of mean and variance at n = 600 are 0.04 and 0.06; the least of three is a little lower at high noise
        assert abs(deviation.mean()) < 0.25 and 0.75 < deviation.var() < 1.25


@pytest.mark.optimized
def test_memory_grows_with_batch_and_tile_alone():
    """The temporaries of the compiled sums, by XLA's own account: as large at four times the references."""

    def temporaries(count):
        refs = references(np.zeros((count, 16, 16, 3), np.float32), tile=64)
        of_tiles = lambda tiles, x: replace(refs, tiles=tiles).noised(vp_cosine(), x, 0.5)  # noqa: E731
        lowered = jax.jit(of_tiles).lower(refs.tiles, jnp.zeros((8, 16, 16, 3)))
        return lowered.compile().memory_analysis().temp_size_in_bytes

    small, large = temporaries(512), temporaries(2048)
    assert large <= small + 64 * 1024
    assert large < 2048 * 16 * 16 * 3 * 4 / 4


def test_sets_sharded_over_devices_equal_those_on_one():
    """On eight devices that the host simulates, in a process of their own."""
    (output,) = succeed(("-c", DEVICES, json.dumps([[3, 37], [4]])), 1, devices=8, **QUICK)
    assert output.strip() == "equal"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(images=np.zeros((0, 4, 4, 3))), "at least one image, got shape \\(0, 4, 4, 3\\)"),
        (dict(images=np.zeros(5)), "got shape \\(5,\\)"),
        (dict(images=np.array([[0.0, 1.0], [np.nan, 0.0]])), "NaN or infinity in 1 images, the first at index 1"),
        (dict(images=np.full((2, 3), 1.1)), "must lie in \\[-1, 1\\], .* from 1.1 to 1.1"),
        (dict(images=np.full((2, 3), 0.5), limits=(0.6, 1.0)), "must lie in \\[0.6, 1\\]"),
        (dict(images=np.zeros((2, 3)), tile=0), "`tile` must be at least 1, got 0"),
        (dict(images=np.zeros((2, 3)), centre=np.zeros(4)), "`centre` must have the shape of an image"),
        (dict(images=np.zeros((2, 3)), mesh=jax.make_mesh((1,), ("model",))), "must have the axes data and fsdp, got model"),
    ],
)
def test_unusable_references_are_errors(given, message):
    with pytest.raises(InputError, match=message):
        references(**given)


def test_the_log_sum_is_that_of_jax(rng):
    """By another implementation, at temperatures that flatten the weights."""
    images, x = rng.uniform(-1, 1, (11, 6)), jnp.asarray(rng.normal(size=(3, 6)), jnp.float32)
    refs, process, t = references(images, tile=3, centre=np.zeros(6)), vp_cosine(), 0.7
    alpha, sigma = process.alpha(t), process.sigma(t)
    logits = (alpha * x @ images.T.astype(np.float32) - alpha**2 * np.square(images).sum(1) / 2) / (sigma**2 * 6)
    np.testing.assert_allclose(look(refs, process, x, t, 6.0)[0].log_sum, jax_logsumexp(logits, axis=1), atol=1e-4)
