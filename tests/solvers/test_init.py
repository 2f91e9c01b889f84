"""Runs from a given state and time: closed forms, equality with a run from the prior, and wrong input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.process import ve, vp_cosine, vp_linear
from jaxdiff.solvers import DDIM, DDPM, SOLVERS, DPMSolver, DPMSolverSDE, Heun, Init, UniPC, sample
from jaxdiff.solvers.driver import _grid, _sample, evaluations, sample_keys, starts, steps_from

N = 4000


def gaussian(process, mean=0.5, std=0.3) -> GaussianMixture:
    """The posterior mean of N(mean, std²) data."""
    return GaussianMixture(jnp.full((1, 1, 1), mean), jnp.full((1, 1), std), jnp.zeros((1, 1)), process)


def two_points(process) -> GaussianMixture:
    """Narrow components at -1 and 1, in one class."""
    return GaussianMixture(jnp.asarray([[[-1.0], [1.0]]]), jnp.full((1, 2), 0.2), jnp.log(jnp.asarray([[0.3, 0.7]])), process)


def noised(process, denoise, t, key):
    """States at t of the exact law."""
    draw, noise = jax.random.split(key)
    x0 = denoise.draw(draw, jnp.zeros(N, int))
    return process.noised(x0, jax.random.normal(noise, x0.shape), t)


@pytest.mark.parametrize("t", [0.9, 0.5])
@pytest.mark.parametrize("process", [vp_linear(), ve(0.001, 20.0)], ids=lambda process: process.name)
def test_a_deterministic_run_from_the_middle_is_the_flow_s_map(process, t, key):
    """Of a Gaussian it maps x_t to m + s (x_t - alpha m) / sqrt(alpha² s² + sigma²)."""
    mean, std = 0.5, 0.3
    denoise = gaussian(process, mean, std)
    x = np.asarray(noised(process, denoise, t, key))[:50]
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    exact = mean + std * (x - alpha * mean) / np.sqrt(alpha**2 * std**2 + sigma**2)
    errors = []
    for steps in (30, 60):
        solver = DPMSolver(steps)
        found = sample(denoise, process, shape=(1,), solver=solver, key=key, condition=jnp.full(50, -1), init=Init(x, t))
        errors.append(np.abs(found - exact).max())
    assert errors[1] < 0.004 and errors[0] / errors[1] > 2.5


@pytest.mark.parametrize(
    "solver",
    [DDPM(300), *(pytest.param(each, marks=pytest.mark.slow) for each in (DDIM(300), DPMSolverSDE(100)))],
    ids=lambda s: s.name,
)
def test_states_of_the_exact_law_at_the_start_end_with_the_law_of_the_data(solver, key):
    process, t = vp_cosine(), 0.6
    denoise = two_points(process)
    x = noised(process, denoise, t, key)
    found = np.asarray(
        sample(denoise, process, shape=(1,), solver=solver, key=jax.random.key(9), condition=jnp.full(N, -1), init=Init(x, t))
    )[:, 0]
    upper = found > 0
    assert upper.mean() == pytest.approx(0.7, abs=4 * (0.21 / N) ** 0.5 + 0.01)
    for side, centre in ((found[upper], 1.0), (found[~upper], -1.0)):
        assert side.mean() == pytest.approx(centre, abs=4 * 0.2 / len(side) ** 0.5 + 0.01)
        assert side.std() == pytest.approx(0.2, rel=4 / (2 * len(side)) ** 0.5 + 0.03)


# in `make test`, and compiled as users do with --as-users:
# a solver of one step, one of several, and one whose noise is not that of its steps alone
AS_USERS = {"ddim", "unipc", "predictor_corrector"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.bits if name in AS_USERS else pytest.mark.slow) for name in SOLVERS],
    ids=SOLVERS,
)
def test_the_prior_s_own_draw_at_time_1_gives_the_samples_of_no_init_bit_for_bit(name, key):
    # few steps of Euler-Maruyama are unstable
    process, solver = vp_linear(), SOLVERS[name](40 if name == "euler_maruyama" else 4, spacing="log_snr")
    run = {"shape": (1,), "solver": solver, "key": key, "condition": jnp.full(5, -1)}
    denoise = two_points(process)
    first = _grid(denoise, process, solver=solver, count=5).times[0, 0]
    draws = jax.jit(lambda keys: starts(process, keys, (1,), None, first)[0])(sample_keys(key, jnp.arange(5)))
    plain = sample(denoise, process, **run)
    np.testing.assert_array_equal(sample(denoise, process, init=Init(draws), **run), plain)
    assert not np.array_equal(sample(denoise, process, init=Init(-draws), **run), plain)


@pytest.mark.parametrize(
    "solver",
    [
        DDIM(9, eta=1.0),
        DPMSolverSDE(9, spacing="uniform"),
        *(pytest.param(each, marks=pytest.mark.slow) for each in (DDPM(9), Heun(9, spacing="uniform"))),
    ],
    ids=lambda s: s.name,
)
def test_a_run_from_a_node_continues_as_the_whole_run_does(solver, key):
    """The noise of a step is that of the same step of the whole run; a multistep solver begins anew at a breakpoint."""
    process = vp_linear()
    denoise = guidance.switching(two_points(process), 0.301)
    condition = (jnp.full(5, -1), jnp.zeros(5, int))
    run = {"shape": (1,), "solver": solver, "key": key, "condition": condition, "path": True}
    path = sample(denoise, process, **run)
    node, t = (int(np.argmin(np.abs(np.linspace(1, 0, 10) - 0.301))), 0.301)
    again = sample(denoise, process, init=Init(path[node], t), **run)
    np.testing.assert_allclose(again[node:], path[node:], atol=2e-6)
    np.testing.assert_array_equal(again[:node], np.broadcast_to(path[node], (node, 5, 1)))


def test_a_start_takes_the_nearest_node_and_the_steps_below_it(key):
    process, times = vp_linear(), []

    def seen(x, t, condition):
        jax.debug.callback(lambda t: times.append(float(t)), t[0])
        return x * 0.5

    run = {"shape": (1,), "solver": DDIM(10), "key": key, "indices": jnp.arange(1)}
    for t, expected in (
        (0.62, [0.62, 0.5, 0.4, 0.3, 0.2, 0.1]),
        (0.66, [0.66, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        (0.97, [0.97, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        (0.001, [0.001]),
    ):
        times.clear()
        jax.block_until_ready(sample(seen, process, init=Init(jnp.ones((1, 1)), t), **run))
        jax.effects_barrier()
        np.testing.assert_allclose(times, expected, rtol=1e-6)
        assert steps_from(process, DDIM(10), t) == evaluations(seen, process, DDIM(10), t) == len(expected)
    assert evaluations(seen, process, Heun(10, spacing="uniform"), 0.62) == 11
    # a single step ends at the posterior mean of the state itself
    last = sample(lambda x, t, c: x * 0.5, process, init=Init(jnp.full((1, 1), 3.0), 0.001), **run)
    np.testing.assert_allclose(last, [[1.5]])


def test_another_start_time_or_state_compiles_nothing(key):
    process = vp_cosine()
    denoise = guidance.switching(gaussian(process), 0.25)
    condition = (jnp.full(3, -1), jnp.zeros(3, int))

    def run(x, t):
        return np.asarray(
            sample(
                denoise, process, shape=(1,), solver=UniPC(8), key=key, condition=condition, init=Init(jnp.full((3, 1), x), t)
            )
        )

    first = run(1.0, 0.7)
    programs = _sample._cache_size(), _grid._cache_size()
    others = [run(1.0, 0.45), run(0.5, 0.7), run(1.0, 0.1)]
    assert (_sample._cache_size(), _grid._cache_size()) == programs
    assert all(not np.array_equal(first, other) for other in others)


def test_a_breakpoint_above_the_start_does_nothing_and_one_below_has_a_node(key):
    """By samples whose posterior mean is their condition: the end's, except where the switch is at 0."""
    process = vp_linear()
    shown = lambda x, t, condition: jnp.broadcast_to(condition[:, None], x.shape).astype(x.dtype)  # noqa: E731
    at = jnp.asarray([0.0, 0.17, 0.449, 0.6, 1.0])
    run = {"shape": (1,), "solver": DDIM(10), "key": key, "condition": (jnp.zeros(5), jnp.ones(5))}
    x = sample(guidance.switching(shown, at), process, init=Init(jnp.zeros((5, 1)), 0.45), **run)
    np.testing.assert_allclose(x[:, 0], [0, 1, 1, 1, 1], atol=1e-6)
    # a single step has no room for a breakpoint below its start, and needs none for one above
    sample(guidance.switching(shown, 0.6), process, init=Init(jnp.zeros((5, 1)), 0.01), **run)
    with pytest.raises(InputError, match="must be at least 2 for 1 breakpoints"):
        sample(guidance.switching(shown, 0.005), process, init=Init(jnp.zeros((5, 1)), 0.01), **run)


def test_the_batch_is_that_of_the_states_where_nothing_else_says_it(key):
    x = sample(lambda x, t, c: x, vp_linear(), shape=(2,), solver=DDIM(2), key=key, init=Init(np.ones((3, 2), np.float32), 0.5))
    assert x.shape == (3, 2)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (Init(jnp.zeros((4, 3)), 0.5), r"`init` must hold states of shape \(B, 2\), got \(4, 3\)"),
        (Init(jnp.zeros((4, 2, 1)), 0.5), r"`init`.*\(4, 2, 1\)"),
        (Init(jnp.zeros((5, 2)), 0.5), "`condition`, `indices` and `init`.*'4', '5'"),
        (Init(jnp.asarray([[0.0, np.nan]] * 4), 0.5), "`init` must be finite"),
        (Init(jnp.full((4, 2), jnp.inf), 0.5), "`init` must be finite"),
        (Init(jnp.zeros((4, 2)), 0.0), r"`init.t`.*\(0, 1\].*0.0"),
        (Init(jnp.zeros((4, 2)), 1.5), r"`init.t`.*1.5"),
        (Init(jnp.zeros((4, 2)), float("nan")), r"`init.t`.*nan"),
    ],
)
def test_states_that_no_run_starts_from_are_refused(init, message, key):
    with pytest.raises(InputError, match=message):
        sample(lambda x, t, c: x, vp_linear(), shape=(2,), solver=DDIM(4), key=key, condition=jnp.zeros(4), init=init)


def test_images_of_bytes_are_no_states(key):
    with pytest.raises(InputError, match="floating states.*uint8"):
        sample(
            lambda x, t, c: x, vp_linear(), shape=(2,), solver=DDIM(4), key=key, init=Init(jnp.zeros((4, 2), jnp.uint8), 0.5)
        )
