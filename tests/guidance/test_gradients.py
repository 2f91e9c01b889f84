"""Gradients through guidances are those of finite differences, also where a norm or a difference is 0 or a set is padded."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import as_denoiser, evaluate, initial_memory
from jaxdiff.guidance.record import record
from jaxdiff.probability_flow import Path
from jaxdiff.process import expand, vp_cosine
from jaxdiff.references import references
from jaxdiff.solvers import DDIM, DDPM, Init, sample

ALWAYS = (0.0, float("inf"))
SHAPE = (2, 2, 1)
PROCESS = vp_cosine()
LEAST = 1e-6
"""The step of finite differences: their error is about 1e-9, of rounding."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bent:
    """A denoiser that is nonlinear in the state and in a condition of the state's shape."""

    gain: jax.Array

    def __call__(self, x, t, condition):
        t = jnp.broadcast_to(jnp.asarray(t), x.shape[:1])
        return 0.3 * condition + self.gain * jnp.tanh(x - expand(PROCESS.alpha(t), x) * condition)


def itself(x, t, condition):
    """The state as its own posterior mean."""
    return x


def drawn(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def in_doubles(tree):
    """The same with floats of 64 bits, so that a strength can be moved by a small step."""
    wide = lambda leaf: leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf  # noqa: E731
    return jax.tree.map(lambda leaf: wide(jnp.asarray(leaf)), tree)


def agree(function, *arrays):
    """The gradient in each array is that of central differences in a random direction; all of it is finite.

    function: of the arrays, () in float64.
    """
    both = jax.jit(jax.value_and_grad(function, argnums=tuple(range(len(arrays)))))
    gradients = both(*arrays)[1]
    for number, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
        direction = drawn(number, *array.shape)
        moved = lambda by: (*arrays[:number], array + by * direction, *arrays[number + 1 :])  # noqa: B023, E731
        wanted = (both(*moved(LEAST))[0] - both(*moved(-LEAST))[0]) / (2 * LEAST)
        assert abs(wanted) > 1e-3
        np.testing.assert_allclose(jnp.vdot(gradient, direction), wanted, rtol=1e-5)


def mean_of(guided, t=0.5):
    """A function of the guided mean of states under a condition."""
    return lambda x, condition=None: (drawn(9, *x.shape) * guided(x, jnp.float32(t), condition)).sum()


X, NULL = (3, *SHAPE), SHAPE


@pytest.mark.parametrize("radius", [np.inf, 0.3])
def test_projected_guidance_where_both_means_are_equal(doubles, radius):
    null = drawn(2, *NULL)
    projected = in_doubles(guidance.adaptive_projected(Bent(jnp.asarray(0.4)), null, 3.0, radius=radius, momentum=-0.3))
    agree(mean_of(projected), drawn(1, *X), jnp.broadcast_to(null, X))


@pytest.mark.parametrize("radius", [np.inf, 0.3])
def test_projected_guidance_where_the_means_differ(doubles, radius):
    projected = in_doubles(guidance.adaptive_projected(Bent(jnp.asarray(0.4)), drawn(2, *NULL), 3.0, radius=radius))
    agree(mean_of(projected), drawn(1, *X), drawn(3, *X))


def test_repellency_outside_of_all_balls_has_the_gradient_of_the_plain_mean(doubles):
    kept = guidance.repellency(itself, PROCESS, np.random.default_rng(0).uniform(-1, 1, (2, *SHAPE)), radius=1e-3)

    def value(x):
        x0, memory = evaluate(kept, x, 0.5, None, initial_memory(kept, x))
        return (drawn(9, *X) * x0).sum() + record(kept, memory, len(x)).strongest.sum()

    np.testing.assert_array_equal(jax.jit(jax.grad(value))(drawn(1, *X)), drawn(9, *X))


def test_safety_flow_with_a_tile_that_is_not_full(doubles):
    refs = references(np.random.default_rng(0).uniform(-1, 1, (5, *SHAPE)), tile=2)
    agree(mean_of(guidance.safety_flow(itself, PROCESS, refs, strength=0.5, window=ALWAYS)), drawn(1, *X))


def test_safety_flow_at_the_only_reference_has_the_gradient_of_the_plain_mean(doubles):
    """There the push is 0 and its direction undefined."""
    point = np.random.default_rng(0).uniform(-1, 1, (1, *SHAPE))
    value = mean_of(guidance.safety_flow(itself, PROCESS, point, strength=0.5, window=ALWAYS))
    np.testing.assert_array_equal(jax.jit(jax.grad(value))(jnp.asarray(point)), drawn(9, 1, *SHAPE))


def test_the_laplace_kernel_at_the_centre_of_a_padded_set(doubles):
    points = np.random.default_rng(0).uniform(-1, 1, (5, *SHAPE))
    refs = references(points, tile=2)
    safe = guidance.safe(itself, PROCESS, refs, kernel="laplace", bandwidth=1.0, weight="density", window=ALWAYS)
    agree(mean_of(safe), jnp.asarray(np.broadcast_to(points.mean(0), X)))


def test_the_laplace_kernel_at_a_reference(doubles):
    """A distance has a kink at 0, where central differences are the mean of the slopes on both sides."""
    points = np.random.default_rng(0).uniform(-1, 1, (3, *SHAPE))
    refs = references(points, centre=points[0])
    agree(lambda x: (drawn(9, 1, *SHAPE) * refs.laplace(x, 1.0)[0]).sum(), jnp.asarray(points[:1]))


def test_a_particle_alone_has_the_gradient_of_the_plain_mean(doubles):
    value = mean_of(guidance.particle(itself, PROCESS, strength=0.5))
    np.testing.assert_array_equal(jax.jit(jax.grad(value))(drawn(1, 1, *SHAPE)), drawn(9, 1, *SHAPE))


def test_score_mixing_of_equal_means(doubles):
    """Where the means are equal their weights are 0.6 and 0.4, and have no effect."""
    plain, condition = Bent(jnp.asarray(0.4)), drawn(3, *X)
    mixed = in_doubles(guidance.score_mixing(plain, shares=[0.6, 0.4], reference=[0.5, 0.5]))
    got = jax.jit(jax.grad(mean_of(mixed)))(drawn(1, *X), (condition, (condition, condition)))
    np.testing.assert_allclose(got, jax.grad(mean_of(plain))(drawn(1, *X), condition), rtol=1e-6)


def test_score_mixing_where_only_values_without_a_share_are_possible(doubles):
    """The marginal lies beyond the first value, whose new share is 0, as seen from the second: the sample is the second's."""
    mixed = in_doubles(guidance.score_mixing(lambda x, t, condition: condition, shares=[0.6, 0.4], reference=[0.0, 1.0]))
    first, second = drawn(3, *X), drawn(4, *X)
    np.testing.assert_allclose(mixed(drawn(1, *X), 0.5, (2 * first - second, (first, second))), second, rtol=1e-6)


def test_a_masked_mean_in_its_path(doubles):
    """The first two nodes are equal, as with the spacing log_snr: no share of a step of length 0 is a number."""
    times = jnp.broadcast_to(jnp.asarray([0.25, 0.25, 0.75])[:, None], (3, 3))
    mask = jnp.asarray(np.random.default_rng(0).random((3, *SHAPE)) < 0.5)

    def value(states, x, t):
        spread = lambda x, t, condition: x + x.mean((1, 2), keepdims=True)  # noqa: E731
        masked = guidance.masked(spread, PROCESS, mask, drawn(5, *X), Path(times, states))
        return (drawn(9, *X) * masked(x, t, None)).sum()

    both = jax.jit(jax.value_and_grad(value))
    x, states = drawn(1, *X), drawn(6, 3, *X)
    for t, weights in ((0.25, (0.0, 1.0, 0.0)), (0.75, (0.0, 0.0, 1.0))):
        _, gradient = both(states, x, t)
        assert np.isfinite(gradient).all()
        assert [bool(np.any(part)) for part in gradient] == [bool(weight) for weight in weights]


def test_a_nest_of_guidances_through_a_whole_run(doubles):
    """In x_T, the condition and every number of the nest but its times, with memories and records."""
    rng = np.random.default_rng(0)
    refs = references(rng.uniform(-1, 1, (5, *SHAPE)), tile=2)
    guided = guidance.adaptive_projected(Bent(jnp.asarray(0.4)), drawn(2, *NULL), 2.0, radius=0.4, momentum=-0.3)
    guided = guidance.safe(guided, PROCESS, refs, weight=guidance.tracked(0.2), strength=0.3, window=ALWAYS)
    guided = guidance.repellency(guided, PROCESS, refs, radius=0.9, strength=0.5)
    guided = in_doubles(as_denoiser(guidance.clipped(guided, -2.0, 2.0)))

    def value(x, condition, guided):
        end, _ = sample(
            guided, PROCESS, shape=SHAPE, solver=DDPM(5), key=jax.random.key(0), condition=condition, init=Init(x),
            return_memory=True,
        )  # fmt: skip
        return (drawn(9, *X) * end).sum()

    agree(lambda x, condition, by: value(x, condition, _with_strengths(guided, by)), drawn(1, *X), drawn(3, *X), jnp.ones(2))


def _with_strengths(nest, by):
    """The nest with the strength of both of its guards multiplied."""
    spell = nest.denoiser
    inner = replace(spell.denoiser, strength=spell.denoiser.strength * by[0])
    return replace(nest, denoiser=replace(spell, denoiser=inner, strength=spell.strength * by[1]))


def test_interval_and_switching_in_their_conditions(doubles):
    """An empty window and a sample that has not switched have derivative 0 in what they do not use."""
    null = drawn(2, *NULL)
    for window, used in (((0.3, 0.3), False), ((1e-3, 1e3), True)):

        def value(null, window=window):
            guided = guidance.interval(
                guidance.classifier_free(Bent(jnp.asarray(0.4)), null, 2.0), PROCESS, Bent(jnp.asarray(0.4)), window=window
            )
            return sample(guided, PROCESS, shape=SHAPE, solver=DDIM(4), key=jax.random.key(0), condition=drawn(3, *X)).sum()

        gradient = jax.grad(value)(null)
        assert np.isfinite(gradient).all()
        assert np.any(gradient) == used
