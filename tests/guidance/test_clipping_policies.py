"""Clipping policies, dynamic thresholding among them: what each does to the network's mean and to a guided one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.process import vp_cosine
from jaxdiff.solvers import DDIM, sample
from jaxdiff.solvers.driver import _sample

PROCESS = vp_cosine()


def constant(values):
    """A denoiser whose posterior mean is this."""
    return lambda x, t, condition: jnp.broadcast_to(jnp.asarray(values, jnp.float32), x.shape)


def mean_of(denoise, shape=(1, 5)):
    """Its posterior mean."""
    return np.asarray(denoise(jnp.zeros(shape), 0.5, None))


def two_classes() -> GaussianMixture:
    """Points at -1 and 1, so that guidance leads beyond them."""
    return GaussianMixture(jnp.asarray([[[-1.0] * 4], [[1.0] * 4]]), jnp.full((2, 1), 0.3), jnp.zeros((2, 1)), PROCESS)


@pytest.mark.parametrize("percentile", [0.0, 40.0, 50.0, 87.5, 99.5, 100.0])
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_dynamic_thresholding_is_the_paper_s_formula(percentile, scale, rng):
    x0 = (scale * rng.standard_normal((4, 3, 3, 2))).astype(np.float32)
    thresholded = mean_of(guidance.dynamic_thresholding(constant(x0), percentile), x0.shape)
    for one, seen in zip(x0, thresholded, strict=True):
        ordered = np.sort(np.abs(one).ravel())
        place = percentile / 100 * (one.size - 1)  # linear between the two entries about it
        low = int(place)
        s = max(1.0, ordered[low] + (place - low) * (ordered[min(low + 1, one.size - 1)] - ordered[low]))
        np.testing.assert_allclose(seen, np.clip(one, -s, s) / s, rtol=1e-5, atol=1e-7)
    assert np.abs(thresholded).max() <= 1


def test_each_sample_has_a_threshold_of_its_own_and_one_within_the_range_is_left_bit_for_bit(rng):
    within = rng.uniform(-1, 1, (6, 7)).astype(np.float32)
    within[0], within[1] = 1.0, -1.0
    np.testing.assert_array_equal(mean_of(guidance.dynamic_thresholding(constant(within)), within.shape), within)
    mixed = within * np.array([1, 1, 1, 50, 1, 1], np.float32)[:, None]
    seen = mean_of(guidance.dynamic_thresholding(constant(mixed), 100), mixed.shape)
    np.testing.assert_array_equal(np.delete(seen, 3, 0), np.delete(within, 3, 0))
    np.testing.assert_allclose(seen[3], mixed[3] / np.abs(mixed[3]).max(), rtol=1e-6)


OUT = [-3.0, -0.5, 0.0, 0.75, 2.0]


@pytest.mark.parametrize(
    ("policy", "network", "guided"),
    [
        (guidance.Clip(), [-1, -0.5, 0, 0.75, 1], [-1, -0.5, 0, 0.75, 1]),
        (guidance.Clip(-2.0, 0.5), [-2, -0.5, 0, 0.5, 0.5], [-2, -0.5, 0, 0.5, 0.5]),
        (guidance.Unbounded(), OUT, OUT),
        (guidance.DynamicThresholding(100.0), OUT, np.divide(OUT, 3)),
        (guidance.DynamicThresholding(75.0), OUT, np.divide([-2, -0.5, 0, 0.75, 2], 2)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, guidance.ClippingPolicy) else "",
)
def test_what_a_policy_does_to_each_mean(policy, network, guided):
    np.testing.assert_allclose(mean_of(policy.network(constant(OUT)))[0], network, rtol=1e-6)
    np.testing.assert_allclose(mean_of(policy.guided(constant(OUT)))[0], guided, rtol=1e-6)
    # a mean that the policy kept in the range is not moved again
    again = mean_of(policy.guided(policy.guided(constant(OUT))))
    np.testing.assert_array_equal(again, mean_of(policy.guided(constant(OUT))))


def test_thresholding_acts_on_what_guidance_extrapolates_where_clipping_inside_would_have_hidden_it(key):
    """Under guidance of scale 6 the means of both classes, at -1 and 1, lie beyond the range."""
    inner, condition = two_classes(), jnp.asarray([0, 1, 0, 1])
    run = {"shape": (4,), "solver": DDIM(8), "key": key, "condition": condition}
    x = jax.random.normal(key, (4, 4))
    for policy in (guidance.Clip(), guidance.DynamicThresholding(50.0)):
        extrapolated = guidance.classifier_free(policy.network(inner), -1, 6.0)
        beyond = np.abs(np.asarray(extrapolated(x, 0.8, condition))).max()
        assert beyond > 1.5
        assert np.abs(np.asarray(policy.guided(extrapolated)(x, 0.8, condition))).max() <= 1
        assert np.abs(np.asarray(sample(policy.guided(extrapolated), PROCESS, **run))).max() <= 1
    free = guidance.classifier_free(guidance.Unbounded().network(inner), -1, 6.0)
    assert np.abs(np.asarray(free(x, 0.8, condition))).max() > beyond - 1e-6


def test_a_policy_is_a_pytree_and_its_numbers_compile_nothing(key):
    assert jax.tree.leaves(guidance.Clip(-2.0, 3.0)) == [-2.0, 3.0]
    assert jax.tree.leaves(guidance.DynamicThresholding(90.0)) == [90.0] and jax.tree.leaves(guidance.Unbounded()) == []

    def run(policy):
        guided = policy.guided(guidance.classifier_free(policy.network(two_classes()), -1, 4.0))
        return np.asarray(sample(guided, PROCESS, shape=(4,), solver=DDIM(4), key=key, condition=jnp.zeros(3, int)))

    for first, second in (
        (guidance.Clip(), guidance.Clip(-0.5, 0.5)),
        (guidance.DynamicThresholding(50.0), guidance.DynamicThresholding(95.0)),
    ):
        before = run(first)
        programs = _sample._cache_size()
        assert not np.array_equal(before, run(second))
        assert _sample._cache_size() == programs


@pytest.mark.parametrize("percentile", [-1.0, 100.5, float("nan")])
def test_a_percentile_outside_its_range_is_an_error(percentile):
    with pytest.raises(InputError, match="`percentile` must lie in \\[0, 100\\]"):
        guidance.dynamic_thresholding(constant(0.0), percentile)
    with pytest.raises(InputError, match="`percentile`"):
        guidance.DynamicThresholding(percentile).guided(constant(0.0))
