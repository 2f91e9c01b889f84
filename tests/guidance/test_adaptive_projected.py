"""Adaptive projected guidance: the paper's algorithm in float64, its limits, and its memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.process import vp_cosine
from jaxdiff.solvers import DDIM, Heun, UniPC, sample
from jaxdiff.solvers.driver import _sample, evaluations

PROCESS = vp_cosine()
N, SHAPE = 3, (2, 3, 2)


def mixture() -> GaussianMixture:
    """Two classes of two components."""
    means = jnp.asarray(np.random.default_rng(4).normal(size=(2, 2, 12)), jnp.float32)
    return GaussianMixture(means, jnp.full((2, 2), 0.5), jnp.zeros((2, 2)), PROCESS)


def of_images(x, t, condition):
    """Its posterior mean of images."""
    return mixture()(x.reshape(len(x), -1), t, condition).reshape(x.shape)


mean_of_images = jax.jit(of_images)


def drawn(denoise, key, solver=None, **arguments):
    """Samples."""
    condition = jnp.arange(N) % 2
    return sample(denoise, PROCESS, shape=SHAPE, solver=solver or DDIM(6), key=key, condition=condition, **arguments)


def by_hand(path, times, scale, eta, radius, momentum):
    """The guided means at the states of a path, and the last running difference: a loop over samples, in float64."""
    running, guided = np.zeros((N, *SHAPE)), []
    for x, t in zip(path, times, strict=True):
        conditional = np.asarray(mean_of_images(x, t, np.arange(N) % 2), np.float64)
        unconditional = np.asarray(mean_of_images(x, t, np.full(N, -1)), np.float64)
        means = []
        for i, (one, other) in enumerate(zip(conditional, unconditional, strict=True)):
            running[i] = one - other + momentum * running[i]
            update = running[i] * min(1.0, radius / np.linalg.norm(running[i].ravel()))
            unit = one / np.linalg.norm(one.ravel())
            parallel = np.vdot(update, unit) * unit
            means.append(one + (scale - 1) * (update - parallel + eta * parallel))
        guided.append(means)
    return np.array(guided), running


@pytest.mark.parametrize(
    ("scale", "eta", "radius", "momentum"),
    [(4.0, 0.0, 0.7, -0.5), (4.0, 1.0, np.inf, -0.75), (2.0, 0.3, 0.2, 0.5), (4.0, 0.0, np.inf, 0.0), (0.0, 0.0, 1.0, -0.5)],
)
def test_it_is_the_paper_s_algorithm(scale, eta, radius, momentum, key):
    guided = guidance.adaptive_projected(of_images, -1, scale, eta=eta, radius=radius, momentum=momentum)
    path, memory = drawn(guided, key, path=True, return_memory=True)
    times = np.linspace(1, 0, 7).astype(np.float32)
    means, running = by_hand(path[:-1], times[:-1], scale, eta, radius, momentum)
    # the last step of DDIM ends at the guided mean, the others between it and the state
    np.testing.assert_allclose(path[-1], means[-1], rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(memory.own[-1], running, rtol=1e-3, atol=2e-4)
    for node in range(6):
        alpha, sigma = (np.float64(of(times[node])) for of in (PROCESS.alpha, PROCESS.sigma))
        after, spread = (np.float64(of(times[node + 1])) for of in (PROCESS.alpha, PROCESS.sigma))
        stepped = after * means[node] + spread * (path[node] - alpha * means[node]) / sigma
        np.testing.assert_allclose(path[node + 1], stepped, rtol=1e-3, atol=5e-4)


def elementwise(x, t, condition):
    """A posterior mean without sums, which compiles in less time."""
    return jnp.sin(x) + condition[:, None, None, None]


@pytest.mark.bits
@pytest.mark.parametrize("solver", [Heun(4), UniPC(6)], ids=lambda solver: solver.name)
def test_without_projection_radius_and_momentum_it_is_classifier_free_guidance_bit_for_bit(solver, key):
    plain = drawn(guidance.classifier_free(elementwise, -1, 3.0), key, solver)
    np.testing.assert_array_equal(drawn(guidance.adaptive_projected(elementwise, -1, 3.0, eta=1.0), key, solver), plain)
    assert not np.array_equal(drawn(guidance.adaptive_projected(elementwise, -1, 3.0), key, solver), plain)


def test_scale_1_is_the_conditional_denoiser_and_radius_0_guides_nothing(key):
    x, labels = jax.random.normal(key, (N, *SHAPE)), jnp.arange(N) % 2
    for numbers in ({"scale": 1.0, "momentum": -0.5, "radius": 0.3}, {"scale": 5.0, "radius": 0.0}):
        guided = guidance.adaptive_projected(elementwise, -1, **numbers)
        np.testing.assert_array_equal(guided(x, 0.5, labels), elementwise(x, 0.5, labels))


def test_a_mean_of_zero_and_conditions_that_agree_are_no_division_by_zero():
    zero = lambda x, t, condition: jnp.where(condition[:, None] < 0, x, 0 * x)  # noqa: E731
    guided = guidance.adaptive_projected(zero, -1, 2.0, radius=1.0)(jnp.asarray([[3.0, 4.0]]), 0.5, jnp.zeros(1, int))
    np.testing.assert_allclose(guided, [[-0.6, -0.8]], rtol=1e-6)
    same = lambda x, t, condition: x  # noqa: E731
    for radius in (0.0, 1.0, np.inf):
        guided = guidance.adaptive_projected(same, -1, 2.0, radius=radius)(jnp.asarray([[3.0, 4.0]]), 0.5, jnp.zeros(1, int))
        np.testing.assert_array_equal(guided, [[3.0, 4.0]])


def test_projected_updates_are_orthogonal_and_no_longer_than_the_radius(rng):
    x = jnp.asarray(rng.standard_normal((N, *SHAPE)), jnp.float32)
    own = np.asarray(of_images(x, 0.6, jnp.arange(N) % 2)).reshape(N, -1)
    guided = guidance.adaptive_projected(of_images, -1, 2.0, radius=0.1)(x, 0.6, jnp.arange(N) % 2)
    update = np.asarray(guided).reshape(N, -1) - own
    np.testing.assert_allclose((update * own).sum(1), 0, atol=1e-5)
    assert (np.linalg.norm(update, axis=1) <= 0.1 + 1e-6).all() and np.linalg.norm(update, axis=1).max() > 0.01


def test_numbers_compile_nothing_and_a_step_costs_two_evaluations(key):
    numbers = {"eta": 0.2, "radius": 0.5, "momentum": -0.5}
    first = drawn(guidance.adaptive_projected(of_images, -1, 3.0, **numbers), key)
    programs = _sample._cache_size()
    for changed in ({"eta": 0.4}, {"radius": 0.1}, {"momentum": 0.0}):
        assert not np.array_equal(drawn(guidance.adaptive_projected(of_images, -1, 3.0, **{**numbers, **changed}), key), first)
    assert not np.array_equal(drawn(guidance.adaptive_projected(of_images, -1, 2.0, **numbers), key), first)
    assert _sample._cache_size() == programs
    assert evaluations(guidance.adaptive_projected(of_images, -1, 3.0), PROCESS, DDIM(6)) == 12


def test_numbers_out_of_their_range_are_errors():
    with pytest.raises(InputError, match="`radius` must be at least 0"):
        guidance.adaptive_projected(of_images, -1, 3.0, radius=-1.0)
    for momentum in (1.0, -1.0, float("nan")):
        with pytest.raises(InputError, match=r"`momentum` must lie in \(-1, 1\)"):
            guidance.adaptive_projected(of_images, -1, 3.0, momentum=momentum)
