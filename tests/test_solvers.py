"""DDIM and its driver, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.process import ddpm, vp_cosine, vp_linear
from jaxdiff.solvers import DDIM, sample
from jaxdiff.solvers.grid import on_breakpoints, uniform


def gaussian(process, mean=(1.0, -0.5), std=0.6) -> GaussianMixture:
    """One Gaussian of one class."""
    return GaussianMixture(jnp.asarray([[mean]]), jnp.full((1, 1), std), jnp.zeros((1, 1)), process)


@pytest.mark.parametrize("process", [vp_linear(), vp_cosine(), ddpm("cosine")], ids=lambda p: p.name)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_every_eta_recovers_the_mean_and_covariance_of_a_gaussian(process, eta, key):
    n, std = 20_000, 0.6
    x = sample(gaussian(process), process, shape=(2,), solver=DDIM(800, eta), key=key, condition=jnp.zeros(n, jnp.int32))
    np.testing.assert_allclose(x.mean(0), (1.0, -0.5), atol=4 * std / n**0.5 + 0.01)
    np.testing.assert_allclose(np.cov(np.asarray(x).T), std**2 * np.eye(2), atol=0.02)


@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_a_step_with_the_true_x0_lands_on_the_marginal(eta, key):
    process, n = vp_cosine(), 200_000
    x0 = jnp.full((n, 1), 0.8)
    noise, fresh = jax.random.normal(key, (2, n, 1))
    t, t_next = jnp.full(n, 0.6), jnp.full(n, 0.4)
    x = DDIM(10, eta).step(process, x0, process.noised(x0, noise, t), t, t_next, fresh if eta else None)
    assert float(x.mean()) == pytest.approx(0.8 * float(process.alpha(0.4)), abs=0.01)
    assert float(x.std()) == pytest.approx(float(process.sigma(0.4)), rel=0.01)


def test_eta_one_has_the_variance_of_ancestral_ddpm_sampling():
    """beta_tilde = (1 - abar') / (1 - abar) (1 - abar / abar') (Ho et al. 2020, eq. 7)."""
    process, t, t_next = ddpm("linear"), 0.5, 0.45
    one, zero = jnp.ones((1, 1)), jnp.zeros((1, 1))
    step = lambda noise: DDIM(20, 1.0).step(process, zero, zero, jnp.full(1, t), jnp.full(1, t_next), noise)  # noqa: E731
    abar, abar_next = float(process.alpha(t)) ** 2, float(process.alpha(t_next)) ** 2
    expected = (1 - abar_next) / (1 - abar) * (1 - abar / abar_next)
    assert float((step(one) - step(zero))[0, 0]) ** 2 == pytest.approx(expected, rel=1e-4)


def test_the_error_falls_with_the_first_power_of_the_step():
    process = vp_linear()
    denoise, condition = gaussian(process), jnp.zeros(256, jnp.int32)
    run = lambda steps: sample(denoise, process, shape=(2,), solver=DDIM(steps), key=jax.random.key(3), condition=condition)  # noqa: E731
    noise = sample(denoise, process, shape=(2,), solver=DDIM(1), key=jax.random.key(3), condition=condition, path=True)[0]
    # the probability flow of a Gaussian is a linear map: x_0 = mean + std / s(1) (x_1 - alpha(1) mean)
    alpha, sigma, std = float(process.alpha(1.0)), float(process.sigma(1.0)), 0.6
    truth = jnp.asarray((1.0, -0.5)) + std / (alpha**2 * std**2 + sigma**2) ** 0.5 * (noise - alpha * jnp.asarray((1.0, -0.5)))
    steps = np.array([16, 32, 64, 128])
    errors = [float(jnp.sqrt(jnp.mean((run(int(s)) - truth) ** 2))) for s in steps]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1, abs=0.15)


def test_samples_do_not_depend_on_their_batch(key):
    process = vp_cosine()
    denoise = gaussian(process)
    draw = lambda indices: np.asarray(  # noqa: E731
        sample(
            denoise,
            process,
            shape=(2,),
            solver=DDIM(20, 1.0),
            key=key,
            condition=jnp.zeros(len(indices), jnp.int32),
            indices=indices,
        )
    )
    whole = draw(np.arange(64))
    np.testing.assert_allclose(draw(np.array([17])), whole[17:18], atol=1e-6)
    np.testing.assert_allclose(draw(np.arange(32, 64)), whole[32:], atol=1e-6)
    assert len(np.unique(whole[:, 0])) == 64  # no two start from the same noise


def test_a_sample_does_not_move_when_its_neighbour_does(key):
    process = vp_cosine()
    both = GaussianMixture(jnp.asarray([[[1.0, 0]], [[-1.0, 0]]]), jnp.full((2, 1), 0.5), jnp.zeros((2, 1)), process)
    at = lambda taus, ends: sample(  # noqa: E731
        guidance.switching(both, jnp.asarray(taus)), process, shape=(2,), solver=DDIM(10), key=key,
        condition=(jnp.zeros(2, jnp.int32), jnp.asarray(ends)),
    )  # fmt: skip
    np.testing.assert_array_equal(at([0.33, 0.5], [1, 1])[0], at([0.33, 0.871], [1, 0])[0])


def test_the_path_begins_with_the_noise_and_ends_with_the_sample(key):
    process = vp_cosine()
    arguments = {"shape": (2,), "solver": DDIM(5), "key": key, "condition": jnp.zeros(3, jnp.int32)}
    path = sample(gaussian(process), process, **arguments, path=True)
    assert path.shape == (6, 3, 2)
    np.testing.assert_array_equal(path[-1], sample(gaussian(process), process, **arguments))


@pytest.mark.parametrize("steps", [6, 25, 50, 250, 1000])
def test_the_grid_ends_exactly_at_the_data_also_when_compiled(steps):
    for count in (1, 6, 64):
        times = np.asarray(jax.jit(lambda count=count: jnp.broadcast_to(uniform(steps)[:, None], (steps + 1, count)))())
        assert np.all(times[0] == 1) and np.all(times[-1] == 0)
        assert np.all(np.diff(times, axis=0) < 0)


def test_a_breakpoint_takes_the_place_of_the_nearest_interior_node():
    times = jnp.broadcast_to(uniform(10)[:, None], (11, 4))
    moved = np.asarray(on_breakpoints(times, (jnp.asarray([0.0, 1.0, 0.33, 0.97]),)))
    np.testing.assert_array_equal(moved[:, :2], times[:, :2])  # at the ends nothing moves
    assert moved[7, 2] == np.float32(0.33) and moved[1, 3] == np.float32(0.97)  # the first node cannot move, so the second does
    assert np.all(np.diff(moved, axis=0) < 0)
    assert (np.asarray(times)[:, 2:] != moved[:, 2:]).sum() == 2


def test_two_breakpoints_take_two_nodes_in_order():
    times = jnp.broadcast_to(uniform(4)[:, None], (5, 1))
    moved = np.asarray(on_breakpoints(times, (jnp.asarray(0.52), jnp.asarray(0.49))))[:, 0]
    assert {np.float32(0.52), np.float32(0.49)} <= set(moved)
    assert np.all(np.diff(moved) < 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DDIM(0), "`steps`.*0"),
        (lambda: DDIM(10, 1.5), "`eta`.*1.5"),
        (lambda: on_breakpoints(uniform(1)[:, None], (jnp.asarray(0.5),)), "too few"),
        (lambda: sample(lambda x, t, c: x, vp_cosine(), shape=(2,), solver=DDIM(2), key=jax.random.key(0)), "leading axis"),
        (
            lambda: sample(
                lambda x, t, c: x,
                vp_cosine(),
                shape=(2,),
                solver=DDIM(2),
                key=jax.random.key(0),
                condition=(jnp.zeros(2), jnp.zeros(3)),
            ),
            "leading axis.*2.*3",
        ),
    ],
)
def test_impossible_runs_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
