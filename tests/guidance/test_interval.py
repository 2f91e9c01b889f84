"""The guidance interval: which denoiser is used and which is evaluated, and exact edges."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture, as_denoiser, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.guidance.window import ALWAYS
from jaxdiff.process import vp_cosine, vp_linear
from jaxdiff.solvers import DDIM, DPMSolver, Heun, sample
from jaxdiff.solvers.driver import _sample, evaluations, evaluations_of_each, sample_grid

PROCESS = vp_linear()
N = 4
LABELS = jnp.arange(N) % 2


def classes(process=PROCESS, std=0.5) -> GaussianMixture:
    """Two classes, N(-1, std²) and N(1, std²)."""
    return GaussianMixture(jnp.asarray([[[-1.0]], [[1.0]]]), jnp.full((2, 1), std), jnp.zeros((2, 1)), process)


def guided(window, scale=3.0, model=None):
    """Classifier-free guidance within the window."""
    model = classes() if model is None else model
    return guidance.interval(guidance.classifier_free(model, -1, scale), PROCESS, model, window=window)


def drawn(denoise, key, solver=None, condition=LABELS, **arguments):
    """Samples of one number."""
    return sample(denoise, PROCESS, shape=(1,), solver=solver or DDIM(8), key=key, condition=condition, **arguments)


@jax.jit
def mean(denoise, x, t):
    """A posterior mean, as one program."""
    return denoise(x, t, LABELS)


def snr(t):
    """The SNR of a time."""
    return float(PROCESS.snr(t))


def test_the_guided_denoiser_is_in_force_within_the_window_and_the_plain_one_outside(rng):
    x = jnp.asarray(rng.standard_normal((N, 1)), jnp.float32)
    model, inside = classes(), guidance.classifier_free(classes(), -1, 3.0)
    limited = guided((snr(0.7), snr(0.3)))
    for t, expected in ((0.9, model), (0.7001, model), (0.5, inside), (0.3001, inside), (0.2999, model), (0.01, model)):
        np.testing.assert_allclose(mean(limited, x, t), mean(expected, x, t), rtol=1e-6, err_msg=str(t))
    mixed = jnp.asarray([0.9, 0.5, 0.4, 0.1])
    expected = np.where([[False], [True], [True], [False]], mean(inside, x, mixed), mean(model, x, mixed))
    np.testing.assert_allclose(mean(limited, x, mixed), expected, rtol=1e-6)


def test_the_edges_are_nodes_and_the_law_of_the_samples_is_known_in_closed_form(key):
    """The flow of N(m, s²) data keeps e in x_t = a m + sqrt(a² s² + sigma²) e. Taking the data's mean for m + c between t1 and
    t2 leads to another e there, and to an end that differs by c (r(t2) - r(t1)), r = s a / sqrt(a² s² + sigma²).
    """
    std, shift = 0.5, 0.8
    one = partial(GaussianMixture, stds=jnp.full((1, 1), std), log_weights=jnp.zeros((1, 1)), process=PROCESS)
    plain, moved = one(jnp.full((1, 1, 1), 0.25)), one(jnp.full((1, 1, 1), 0.25 + shift))
    limited = guidance.interval(moved, PROCESS, plain, window=(snr(0.7), snr(0.3)))
    np.testing.assert_allclose(breakpoints(limited), [0.7, 0.3], rtol=1e-5)
    nodes = np.asarray(sample_grid(limited, PROCESS, DDIM(8), 1).times)[:, 0]
    assert set(map(float, breakpoints(limited))) <= set(map(float, nodes))

    def pull(t):
        alpha, sigma = float(PROCESS.alpha(t)), float(PROCESS.sigma(t))
        return std * alpha / np.sqrt(alpha**2 * std**2 + sigma**2)

    run = {"condition": jnp.full(N, -1), "solver": DPMSolver(400)}
    difference = drawn(limited, key, **run) - drawn(plain, key, **run)
    np.testing.assert_allclose(difference, shift * (pull(0.3) - pull(0.7)), atol=2e-3)


@pytest.mark.bits
@pytest.mark.parametrize("solver", [DDIM(8), Heun(6)], ids=lambda solver: solver.name)
def test_over_all_noise_it_is_the_guided_denoiser_and_over_none_the_plain_one_bit_for_bit(solver, key):
    model = classes()
    inside = guidance.classifier_free(model, -1, 3.0)
    assert not np.array_equal(drawn(inside, key, solver), drawn(model, key, solver))
    np.testing.assert_array_equal(drawn(guided(ALWAYS), key, solver), drawn(inside, key, solver))
    np.testing.assert_array_equal(drawn(guided((1.0, 1.0)), key, solver), drawn(model, key, solver))


def test_only_the_denoiser_in_force_is_evaluated_and_counted(key):
    calls = []

    def counting(x, t, condition):
        jax.debug.callback(lambda x: calls.append(len(x) // N), x)
        return 0.5 * x

    limited = guided((snr(0.7), snr(0.3)), model=counting)
    for solver in (DDIM(10), Heun(10, spacing="uniform")):
        calls.clear()
        jax.block_until_ready(drawn(limited, key, solver))
        jax.effects_barrier()
        assert sum(calls) == evaluations(limited, PROCESS, solver)
        assert evaluations_of_each(limited, PROCESS, solver) == (2 * calls.count(2), calls.count(1))
    # nodes at 1, .9, .8 and, below the window, at .3, .2, .1; within it at .7, .6, .5, .4
    assert evaluations_of_each(limited, PROCESS, DDIM(10)) == (8, 6)


def test_where_samples_are_at_different_times_a_step_may_cost_both(key):
    """A transition point at 0.6 of one sample alone takes its node from the lower edge, 0.65, which takes another."""
    calls = []

    def counting(x, t, condition):
        jax.debug.callback(lambda x: calls.append(len(x) // N), x)
        return 0.5 * x

    at = jnp.asarray([0.0, 0.0, 0.0, 0.6])
    switched = guidance.switching(guided((0.0, snr(0.65)), model=counting), at)
    times = np.asarray(sample_grid(switched, PROCESS, DDIM(5), N).times)
    np.testing.assert_allclose(times[:, 0], [1, 0.8, 0.65, 0.4, 0.2, 0], rtol=1e-5)
    np.testing.assert_allclose(times[:, 3], [1, 0.65, 0.6, 0.4, 0.2, 0], rtol=1e-5)
    jax.block_until_ready(drawn(switched, key, DDIM(5), (LABELS, LABELS)))
    jax.effects_barrier()
    assert sum(calls) == evaluations(switched, PROCESS, DDIM(5)) == 2 + (2 + 1) + 1 + 1 + 1


def test_numbers_compile_nothing(key):
    first = drawn(guided((snr(0.7), snr(0.3))), key)
    programs = _sample._cache_size()
    others = [
        drawn(guided((snr(0.7), snr(0.4))), key),
        drawn(guided((snr(0.7), snr(0.3)), 2.0), key),
        drawn(guided(ALWAYS), key),
    ]
    assert _sample._cache_size() == programs
    assert all(not np.array_equal(first, other) for other in others)


def test_the_memory_of_a_stateful_guidance_is_carried_through_the_interval(key):
    """The momentum of projected guidance gathers within the window alone, as over a run of that length."""
    still = as_denoiser(lambda x, t, condition: jnp.broadcast_to(condition[:, None], x.shape).astype(jnp.float32))
    projected = guidance.adaptive_projected(still, -1, 3.0, eta=1.0, momentum=0.5)
    limited = guidance.interval(projected, PROCESS, still, window=(snr(0.7), snr(0.3)))
    _, memory = drawn(limited, key, DDIM(10), return_memory=True)
    # d = 1 or 2 in each of four steps: d (1 + 1/2 + 1/4 + 1/8)
    np.testing.assert_allclose(memory.children[0].own[:, 0], (LABELS + 1) * 1.875, rtol=1e-6)


def test_a_breakpoint_that_both_denoisers_share_takes_one_node():
    inner = guidance.switching(lambda x, t, c: x, 0.5)
    limited = guidance.interval(guidance.classifier_free(inner, -1, 2.0), vp_cosine(), inner, window=(0.1, 10.0))
    grid = sample_grid(limited, vp_cosine(), DDIM(8), 1)
    assert (np.asarray(grid.times) == 0.5).sum() == 1 and np.asarray(grid.restarts).sum() == 3
    assert (np.diff(np.asarray(grid.times), axis=0) < 0).all()


def test_a_window_outside_the_schedule_is_an_error():
    with pytest.raises(InputError, match="`snr`"):
        guided((2.0, 1.0))
    with pytest.raises(InputError, match="outside the schedule"):
        guided((1e30, 1e31))
