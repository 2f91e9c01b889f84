"""Switching, mixing and classifier-free guidance: closed forms, exact edges, no recompiling."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture, NetworkDenoiser, as_denoiser, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import unet
from jaxdiff.process import ddpm, vp_cosine, vp_linear
from jaxdiff.solvers import DDIM, sample
from jaxdiff.solvers.driver import _sample

N = 6


def pair(process, std=0.7, mean=1.5) -> GaussianMixture:
    """Two classes, N(-mean, std²) and N(mean, std²) along the first of two axes."""
    means = jnp.asarray([[[-mean, 0.0]], [[mean, 0.0]]])
    return GaussianMixture(means, jnp.full((2, 1), std), jnp.zeros((2, 1)), process)


@pytest.fixture(scope="module")
def network() -> NetworkDenoiser:
    """An untrained UNet whose output is not zero."""
    config = UNetConfig(
        size=8, values=(2,), base=16, multipliers=(1,), blocks=0, attention=(4,), head_channels=16, dropout=0.0, stem=2
    )
    made = jax.jit(partial(unet, config))(jax.random.key(5))
    rng = np.random.default_rng(5)
    weights = jax.tree.map(lambda w: w + 0.05 * rng.standard_normal(w.shape, np.float32), made.weights)
    return guidance.clipped(NetworkDenoiser(type(made)(weights, made.structure), vp_cosine(), "v"))


def drawn(denoise, key, condition, steps=6, **arguments):
    """Samples of the small network."""
    return np.asarray(
        sample(denoise, vp_cosine(), shape=(8, 8, 3), solver=DDIM(steps), key=key, condition=condition, **arguments)
    )


@pytest.mark.parametrize(
    ("std", "process"),
    [
        (0.5, ddpm("cosine")),
        (1.0, vp_linear()),
        pytest.param(0.5, vp_linear(), marks=pytest.mark.slow),
        pytest.param(1.0, ddpm("cosine"), marks=pytest.mark.slow),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_switched_outputs_follow_the_closed_form(process, std, key):
    """Solved exactly, the switched mean is mu_1 + kappa (mu_0 - mu_1), kappa = c sqrt(abar / (abar c² + 1 - abar))."""
    mean, n = 1.5, 64
    for tau in (0.2, 0.45, 0.7, 0.9):
        alpha, sigma = float(process.alpha(tau)), float(process.sigma(tau))
        kappa = std * alpha / (alpha**2 * std**2 + sigma**2) ** 0.5
        ends = jnp.repeat(jnp.arange(2), n)
        x = sample(
            guidance.switching(pair(process, std, mean), tau), process, shape=(2,), solver=DDIM(3000), key=key,
            condition=(1 - ends, ends), indices=np.tile(np.arange(n), 2),
        )  # fmt: skip
        # the same noise under both directions: their mean difference is exactly 2 mean (1 - 2 kappa), whatever the noise
        measured = float((x[n:, 0] - x[:n, 0]).mean())
        assert measured == pytest.approx(2 * mean * (1 - 2 * kappa), abs=0.01 * 2 * mean)


@pytest.mark.bits
def test_tau_at_either_end_is_the_plain_sampler_bit_for_bit(network, key):
    start, end = jnp.zeros(N, jnp.int32), jnp.ones(N, jnp.int32)
    plain_start, plain_end = drawn(network, key, start), drawn(network, key, end)
    assert not np.array_equal(plain_start, plain_end)
    np.testing.assert_array_equal(drawn(guidance.switching(network, 0.0), key, (start, end)), plain_start)
    np.testing.assert_array_equal(drawn(guidance.switching(network, 1.0), key, (start, end)), plain_end)
    # and so is a switch between equal conditions, at a node of the plain grid
    at = DDIM(6).times(vp_cosine())[3]
    np.testing.assert_array_equal(drawn(guidance.switching(network, at), key, (end, end)), plain_end)


def test_one_batch_may_hold_every_start_end_and_tau(network, key):
    starts, ends, taus = (
        jnp.asarray([0, 1, 0, 1, 0, 1]),
        jnp.asarray([1, 0, 1, 0, 0, 1]),
        jnp.asarray([0.0, 0.2, 0.4, 0.61, 0.8, 1.0]),
    )
    together = drawn(guidance.switching(network, taus), key, (starts, ends))
    for i in range(N):
        alone = drawn(guidance.switching(network, taus[i]), key, (starts[i : i + 1], ends[i : i + 1]), indices=np.array([i]))
        np.testing.assert_allclose(alone[0], together[i], atol=2e-5)


def test_a_sample_is_the_same_alone_and_in_a_batch_of_64(network, key):
    labels = jnp.arange(64) % 2
    whole = drawn(network, key, labels)
    np.testing.assert_allclose(drawn(network, key, labels[41:42], indices=np.array([41])), whole[41:42], atol=2e-5)


def test_tau_condition_seed_and_scale_compile_nothing(network, key):
    null, ends = jnp.asarray(-1), jnp.asarray([0, 1] * 3)

    def run(tau, scale, seed, ends):
        guided = guidance.switching(guidance.classifier_free(network, null, scale), tau)
        return drawn(guided, jax.random.key(seed), (1 - ends, ends))

    first = run(0.5, 2.0, 0, ends)
    programs = _sample._cache_size()
    others = [run(0.31, 2.0, 0, ends), run(0.5, 1.0, 0, ends), run(0.5, 2.0, 1, ends), run(0.5, 2.0, 0, 1 - ends)]
    assert _sample._cache_size() == programs
    assert all(not np.array_equal(first, other) for other in others)


def test_switching_costs_no_evaluation(key):
    """Counted at run time, by a callback in the denoiser."""
    process, calls = vp_cosine(), []

    def counting(x, t, condition):
        jax.debug.callback(lambda _: calls.append(1), t[0])
        return jnp.zeros_like(x)

    counts = []
    for denoise, condition in (
        (counting, jnp.zeros(2)),
        (guidance.switching(counting, 0.437), (jnp.zeros(2), jnp.ones(2))),
    ):
        calls.clear()
        jax.block_until_ready(sample(denoise, process, shape=(2,), solver=DDIM(13), key=key, condition=condition))
        jax.effects_barrier()
        counts.append(len(calls))
    assert counts == [13, 13]


def test_the_condition_changes_exactly_at_tau():
    seen = lambda x, t, condition: jnp.broadcast_to(condition[:, None], x.shape)  # noqa: E731
    switched = guidance.switching(seen, 0.4)
    x = jnp.zeros((3, 2))
    t = jnp.asarray([0.4001, 0.4, 0.3999])
    np.testing.assert_array_equal(switched(x, t, (jnp.zeros(3), jnp.ones(3)))[:, 0], [0, 1, 1])


def test_mixing_is_a_convex_combination_of_the_conditions():
    seen = lambda x, t, condition: condition  # noqa: E731
    start, end = jnp.asarray([[1.0, 0.0]]), jnp.asarray([[0.0, 1.0]])
    np.testing.assert_allclose(guidance.mixing(seen, 0.6)(jnp.zeros((1, 2)), 0.5, (start, end)), [[0.4, 0.6]], rtol=1e-6)
    with pytest.raises(InputError, match="floating conditions"):
        guidance.mixing(seen, 0.6)(jnp.zeros((1, 2)), 0.5, (jnp.zeros(1, int), jnp.ones(1, int)))


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.3, 0.6, 0.9, 1.0])
def test_a_mixture_is_exact_at_its_ends_and_of_equal_conditions(weight, rng):
    start, end = (jnp.asarray(rng.standard_normal((3, 40)), jnp.float32) for _ in range(2))
    mixed = lambda start, end: guidance.mixing(lambda x, t, condition: condition, weight)(start, 0.5, (start, end))  # noqa: E731
    np.testing.assert_array_equal(mixed(end, end), end)
    if weight in (0.0, 1.0):
        np.testing.assert_array_equal(mixed(start, end), end if weight else start)
    # also where the two are equal, each has its share of the gradient
    shares = jax.grad(lambda both: mixed(*both).sum())((end, end))
    for share, of in zip(shares, (1 - weight, weight), strict=True):
        np.testing.assert_allclose(share, of, atol=1e-6)


def test_guidance_extrapolates_and_is_exact_at_scale_one():
    process = vp_cosine()
    exact, x, t, condition = pair(process), jnp.asarray([[0.3, 0.2], [-1.0, 0.5]]), jnp.asarray([0.5, 0.7]), jnp.asarray([0, 1])
    conditional, null = exact(x, t, condition), exact(x, t, jnp.asarray([-1, -1]))
    guided = lambda scale: guidance.classifier_free(exact, jnp.asarray(-1), scale)(x, t, condition)  # noqa: E731
    np.testing.assert_array_equal(guided(1.0), conditional)
    np.testing.assert_allclose(guided(3.0), null + 3 * (conditional - null), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(guided(0.0), null, atol=1e-6)


def test_clipping_keeps_the_step_consistent():
    """eps is derived from the clipped posterior mean, so that alpha x0 + sigma eps is still x."""
    process, x, t = vp_cosine(), jnp.asarray([[5.0]]), jnp.asarray([0.5])
    x0 = guidance.clipped(lambda x, t, c: 3 * x)(x, t, None)
    np.testing.assert_array_equal(x0, [[1.0]])
    np.testing.assert_allclose(process.noised(x0, process.from_x0("eps", x0, x, t), t), x, rtol=1e-6)


def test_breakpoints_of_a_nest_are_all_found():
    nest = guidance.clipped(guidance.switching(guidance.clipped(pair(vp_cosine())), 0.25))
    assert [float(point) for point in breakpoints(nest)] == [0.25]
    assert breakpoints(pair(vp_cosine())) == ()


def test_a_function_and_a_pytree_are_denoisers():
    assert jax.tree.leaves(as_denoiser(lambda x, t, c: x)) == []
    exact = pair(vp_cosine())
    assert as_denoiser(exact) is exact


@pytest.mark.parametrize("at", [-0.1, 1.2, np.nan, [[0.5]]])
def test_a_tau_outside_the_axis_is_refused(at):
    with pytest.raises(InputError, match="`at` must be one time"):
        guidance.switching(pair(vp_cosine()), at)


def test_a_tau_that_the_grid_does_not_reach_is_refused(key):
    """Spacings that begin at a noise level of 80 begin at t = 0.992: a tau between there and 1 could not act."""
    process = vp_cosine()
    run = lambda tau: sample(  # noqa: E731
        guidance.switching(pair(process), tau), process, shape=(2,), solver=DDIM(4, spacing="log_snr"), key=key,
        condition=(jnp.zeros(2, jnp.int32), jnp.ones(2, jnp.int32)),
    )  # fmt: skip
    with pytest.raises(InputError, match=r"a breakpoint at t=0.995 lies outside the grid, which spans t=0.992"):
        run([0.3, 0.995])
    np.testing.assert_array_equal(run([1.0, 1.0])[0], run([1.0, 0.3])[0])
