"""One step of every solver: its result with an exact posterior mean, and the formulas of the papers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.process import ddpm, edm, flow, sub_vp, ve, vp_cosine, vp_linear
from jaxdiff.solvers import DDIM, DDPM, SOLVERS, Heun, PredictorCorrector
from jaxdiff.solvers.base import Node

VARIANTS = {
    **SOLVERS,
    "ddim_half": partial(DDIM, eta=0.5),
    "ddim_one": partial(DDIM, eta=1.0),
    "ddpm_large": partial(DDPM, variance="large"),
    "heun_churned": partial(Heun, churn=20.0, churn_noise=1.0),
    "ancestral": partial(PredictorCorrector, predictor="ancestral", correctors=0),
    "reverse_diffusion": partial(PredictorCorrector, correctors=0),
    "euler_maruyama_predictor": partial(PredictorCorrector, predictor="euler_maruyama", correctors=0),
}
DETERMINISTIC = ("ddim", "heun", "dpm_solver", "unipc")


def one_step(solver, process, x0, x, t, t_next, noise=0.0, history=None, restart=False):
    """A step of a batch under a perfect posterior mean."""
    count = len(x)
    node = Node(jnp.full(count, t, jnp.float32), jnp.full(count, t_next, jnp.float32), jnp.full(count, restart))
    history = solver.history(x) if history is None else history
    noises = lambda draw: jnp.broadcast_to(noise, x.shape) if draw == 0 else 1 / 0  # noqa: E731
    return solver.step(process, lambda x, t: jnp.broadcast_to(x0, x.shape), x, node, noises, history)


@pytest.mark.parametrize("process", [vp_cosine(), ve(), flow(), sub_vp(), ddpm("linear")], ids=lambda p: p.name)
@pytest.mark.parametrize(
    "name", ["ddim", "ddim_half", "ddim_one", "ddpm", "heun", "heun_churned", "dpm_solver", "dpm_solver_sde", "unipc"]
)
def test_a_step_with_the_true_x0_lands_on_the_marginal(name, process):
    """At x_0 the state is alpha x_0 + sigma eps: zero and unit eps and noise give the coefficient of each."""
    solver, t, t_next, x0 = VARIANTS[name](10), 0.6, 0.4, 0.8
    eps, noise = jnp.asarray([[0.0], [1.0], [0.0]]), jnp.asarray([[0.0], [0.0], [1.0]])
    x = process.noised(jnp.full((3, 1), x0), eps, jnp.full(3, t))
    mean, of_eps, of_noise = np.asarray(one_step(solver, process, x0, x, t, t_next, noise).x, np.float64)[:, 0]
    assert mean == pytest.approx(x0 * float(process.alpha(t_next)), rel=1e-5)
    of_eps, of_noise, sigma = of_eps - mean, of_noise - mean, float(process.sigma(t_next))
    assert np.hypot(of_eps, of_noise) == pytest.approx(sigma, rel=1e-4)
    if name in DETERMINISTIC:
        assert of_noise == 0 and of_eps == pytest.approx(sigma, rel=1e-4)
    else:
        assert of_noise > 0.1 * sigma


@pytest.mark.parametrize("drift", [1e-6, -1e-6])
@pytest.mark.parametrize("name", ["ddim_one", "ddpm", "ddpm_large", "heun_churned", "dpm_solver_sde", "reverse_diffusion"])
def test_rounding_in_a_step_of_no_length_gives_no_nan(name, drift, monkeypatch):
    """The added variance is a difference of two log SNR, which a compiler may round differently: each further one drifts."""
    process, drifted, calls = vp_cosine(), type(vp_cosine()).log_snr, iter(range(1000))
    monkeypatch.setattr(type(process), "log_snr", lambda self, t: drifted(self, t) + drift * next(calls))
    x = jnp.asarray([[0.4, -0.7]])
    assert np.isfinite(one_step(VARIANTS[name](10), process, 0.3, x, 0.6, 0.6, 1.0, restart=True).x).all()


@pytest.mark.parametrize("process", [vp_cosine(), ve(), flow()], ids=lambda p: p.name)
@pytest.mark.parametrize("name", ["ddpm_large", "euler_maruyama", "reverse_diffusion"])
def test_the_other_steps_land_on_the_marginal_to_the_second_power_of_the_step(name, process):
    """The local error of a method of first order: a step of half the length is four times nearer."""
    solver, t, x0, wrong = VARIANTS[name](10), 0.6, 0.8, []
    eps, noise = jnp.asarray([[0.0], [1.0], [0.0]]), jnp.asarray([[0.0], [0.0], [1.0]])
    x = process.noised(jnp.full((3, 1), x0), eps, jnp.full(3, t))
    for length in (0.004, 0.002):
        mean, of_eps, of_noise = np.asarray(one_step(solver, process, x0, x, t, t - length, noise).x, np.float64)[:, 0]
        sigma = float(process.sigma(t - length))
        variance = ((of_eps - mean) ** 2 + (of_noise - mean) ** 2) / sigma**2 - 1
        wrong.append(np.hypot(variance, mean / (x0 * float(process.alpha(t - length))) - 1))
    assert wrong[0] / wrong[1] == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("process", [vp_linear(), edm()], ids=lambda p: p.name)
def test_the_last_step_gives_the_posterior_mean_without_noise(name, process):
    if name == "predictor_corrector":
        pytest.skip("its corrector moves the state first")
    solver, t, x0 = VARIANTS[name](10), 1e-3, 0.8
    x = process.noised(jnp.full((2, 1), x0), jnp.asarray([[0.0], [1.0]]), jnp.full(2, t))
    still, moved = (np.asarray(one_step(solver, process, x0, x, t, 0.0, noise).x) for noise in (0.0, 1.0))
    # the noise of a churned step is there before the slope is seen, and goes with it
    np.testing.assert_allclose(still, moved, atol=1e-6)
    exact = name not in ("euler_maruyama", "euler_maruyama_predictor", "reverse_diffusion")
    np.testing.assert_allclose(still, x0, atol=1e-6 if exact else 2 * float(process.sigma(t)))


def test_eta_one_has_the_variance_of_ancestral_ddpm_sampling():
    """(1 - abar') / (1 - abar) (1 - abar / abar') (Ho et al. 2020, eq. 7); the large variance is 1 - abar / abar'."""
    process, t, t_next = ddpm("linear"), 0.5, 0.45
    abar, abar_next = float(process.alpha(t)) ** 2, float(process.alpha(t_next)) ** 2
    beta = 1 - abar / abar_next
    small = (1 - abar_next) / (1 - abar) * beta
    x = jnp.full((1, 1), 0.3)
    for solver, variance in ((DDIM(20, eta=1.0), small), (DDPM(20), small), (DDPM(20, variance="large"), beta)):
        still, moved = (float(one_step(solver, process, 0.8, x, t, t_next, noise).x[0, 0]) for noise in (0.0, 1.0))
        mean = abar_next**0.5 * beta / (1 - abar) * 0.8 + (abar / abar_next) ** 0.5 * (1 - abar_next) / (1 - abar) * 0.3
        assert still == pytest.approx(mean, rel=1e-5)
        assert (moved - still) ** 2 == pytest.approx(variance, rel=1e-4)


@pytest.mark.parametrize("predictor", ["euler_maruyama", "reverse_diffusion", "ancestral"])
def test_the_predictors_are_those_of_the_score_sde_paper(predictor):
    """On the chain of all T steps of a table: Song et al. 2021, eq. 6 and appendices E and F, with beta_i.

    Euler-Maruyama's beta(t) jumps at the nodes of a table, so it is evaluated between them.
    """
    process, index = ddpm("linear"), 499
    t = (index + (0.5 if predictor == "euler_maruyama" else 1)) / 1000
    t_next = t - 1 / 1000
    beta = float(np.linspace(1e-4, 0.02, 1000)[index])
    rate = -1000 * np.log1p(-beta)  # beta(t) between the nodes
    x, x0, noise = 0.3, 0.8, 1.7
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    score = (alpha * x0 - x) / sigma**2
    expected = {
        "euler_maruyama": x + (0.5 * rate * x + rate * score) / 1000 + np.sqrt(rate / 1000) * noise,
        "reverse_diffusion": (2 - np.sqrt(1 - beta)) * x + beta * score + np.sqrt(beta) * noise,
        "ancestral": (x + beta * score) / np.sqrt(1 - beta) + np.sqrt(beta) * noise,
    }[predictor]
    solver = PredictorCorrector(1000, predictor=predictor, correctors=0)
    stepped = float(one_step(solver, process, x0, jnp.full((1, 1), x), t, t_next, noise).x[0, 0])
    assert stepped == pytest.approx(expected, rel=2e-4)


def test_langevin_steps_leave_the_marginal_to_the_second_power_of_their_size():
    """With the true score a step (1 - k) eps + sqrt(2 k) z has the variance 1 + k² of noise, k = 2 a snr² in high dimension.

    a is 1 where the signal does not shrink (Song et al. 2021, algorithm 4). A perfect predictor then goes on from there.
    """
    process, count, t, t_next, snr = ve(), 400_000, 0.6, 0.5, 0.4
    solver = PredictorCorrector(10, predictor="ancestral", correctors=1, snr=snr)
    eps, first, second = jax.random.normal(jax.random.key(1), (3, 1, count))
    x = process.noised(jnp.full((1, count), 0.8), eps, jnp.full(1, t))
    node = Node(jnp.full(1, t), jnp.full(1, t_next), jnp.zeros(1, bool))
    stepped = solver.step(process, lambda x, t: jnp.full_like(x, 0.8), x, node, [first, second].__getitem__, ())
    share = float(process.sigma(t_next) / process.sigma(t)) ** 2  # of x_t in x_next
    k = 2 * snr**2
    variance = float(process.sigma(t_next)) ** 2 * (share * (1 + k**2) + (1 - share))
    assert float(np.var(stepped.x)) == pytest.approx(variance, rel=4 * (2 / count) ** 0.5)
    assert float(np.mean(stepped.x)) == pytest.approx(0.8, abs=4 * float(process.sigma(t_next)) / count**0.5)


def test_the_corrector_shrinks_with_the_alpha_of_the_step():
    """Its size has the factor 1 - beta_i on a VP chain (Song et al. 2021, algorithm 5)."""
    x, noise = jnp.asarray([[0.6, -0.8]]), jnp.asarray([[3.0, 4.0]])
    solver, process = PredictorCorrector(10, snr=0.1, correctors=2), ddpm("linear")
    seen = []
    node = Node(jnp.full(1, 0.5), jnp.full(1, 0.4), jnp.zeros(1, bool))
    denoise = lambda x, t: (seen.append(x), jnp.zeros_like(x))[1]  # noqa: E731
    solver.step(process, denoise, x, node, lambda draw: noise, ())
    decay = float(process.alpha(0.5) / process.alpha(0.4)) ** 2
    gradient = -np.asarray(x) / float(process.sigma(0.5)) ** 2
    size = 2 * decay * (0.1 * 5 / np.linalg.norm(gradient)) ** 2
    np.testing.assert_allclose(seen[1], x + size * gradient + np.sqrt(2 * size) * noise, rtol=1e-5)
    assert len(seen) == 3


@pytest.mark.parametrize("name", VARIANTS)
def test_noise_moves_a_step_of_a_stochastic_solver_alone(name):
    solver = VARIANTS[name](10)
    if name == "predictor_corrector":
        solver = PredictorCorrector(10, correctors=0)
    x = jnp.asarray([[0.4, -0.7]])
    still, moved = (one_step(solver, ve(), 0.3, x, 0.6, 0.5, noise).x for noise in (0.0, 1.0))
    assert solver.stochastic == bool(np.any(np.asarray(still) != np.asarray(moved)))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_step_of_no_length_moves_nothing(name):
    """Two guidances that switch at one time put two nodes on it."""
    if name in ("predictor_corrector", "heun_churned"):
        pytest.skip("it moves within its time")
    x = jnp.asarray([[0.4, -0.7]])
    np.testing.assert_allclose(one_step(VARIANTS[name](10), vp_linear(), 0.3, x, 0.6, 0.6, 1.0, restart=True).x, x, rtol=1e-5)


def test_churn_at_the_noisiest_time_stays_on_the_marginal():
    """The table of latent diffusion ends at sigma / alpha = 14.6: there is no noisier time to rise to."""
    process, solver, x0 = ddpm("scaled_linear"), Heun(10, churn=4.0, churn_noise=1.0, churn_max=1e3), 0.8
    eps, noise = jnp.asarray([[0.0], [1.0], [0.0]]), jnp.asarray([[0.0], [0.0], [1.0]])
    for t, t_next in ((1.0, 0.8), (0.99, 0.8)):
        x = process.noised(jnp.full((3, 1), x0), eps, jnp.full(3, t))
        mean, of_eps, of_noise = np.asarray(one_step(solver, process, x0, x, t, t_next, noise).x, np.float64)[:, 0]
        assert np.hypot(of_eps - mean, of_noise - mean) == pytest.approx(float(process.sigma(t_next)), rel=1e-4)


def test_churn_raises_the_level_by_its_share_and_only_between_its_bounds():
    """gamma = min(churn / steps, sqrt(2) - 1) (Karras et al. 2022, algorithm 2)."""
    process, x = edm(), jnp.ones((1, 1))
    for level, churn, rise in ((1.0, 2.0, 0.2), (1.0, 30.0, 2**0.5 - 1), (0.01, 2.0, 0.0), (60.0, 2.0, 0.0)):
        seen, t = [], process.time(-2 * np.log(level))
        node = Node(t[None], t[None] / 2, jnp.zeros(1, bool))
        solver = Heun(10, churn=churn)
        denoise = lambda x, t: (seen.append((x, t)), x)[1]  # noqa: B023, E731
        solver.step(process, denoise, x, node, lambda draw: jnp.full((1, 1), 2.0), solver.history(x))
        at, raised = seen[0][0][0, 0], float(process.sigma(seen[0][1])[0])
        assert raised == pytest.approx(level * (1 + rise), rel=1e-4)
        added = level * np.sqrt((1 + rise) ** 2 - 1)
        assert float(at) == pytest.approx(1 + 1.003 * 2 * added, rel=1e-4)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_with_a_clip_keeps_the_eps_of_the_unclipped_mean(eta):
    """x_next = alpha' clip(x0) + sqrt(sigma'² - s²) eps + s z, where alpha x0 + sigma eps = x for the x0 before the clip; and
    at the last step the clipped x0 itself."""
    process, t, t_next = vp_cosine(), 0.6, 0.4
    x, x0, noise = jnp.asarray([[0.5], [-1.2], [0.3]]), jnp.asarray([[1.7], [-1.4], [0.2]]), jnp.asarray([[0.3], [-0.2], [1.0]])
    (alpha, sigma), (after, left) = ((float(process.alpha(at)), float(process.sigma(at))) for at in (t, t_next))
    eps = (np.asarray(x, np.float64) - alpha * np.asarray(x0)) / sigma
    drawn = eta * left * np.sqrt(1 - (alpha * left / (sigma * after)) ** 2)
    expected = after * np.clip(x0, -1, 1) + np.sqrt(left**2 - drawn**2) * eps + drawn * np.asarray(noise)
    solver = DDIM(10, eta=eta, clip=(-1.0, 1.0))
    np.testing.assert_allclose(one_step(solver, process, x0, x, t, t_next, noise).x, expected, atol=2e-6)
    np.testing.assert_array_equal(one_step(solver, process, x0, x, t, 0.0, noise).x, np.clip(x0, -1, 1))
    # inside the range the clip changes nothing
    plain = one_step(DDIM(10, eta=eta), process, x0, x, t, t_next, noise).x
    np.testing.assert_array_equal(one_step(solver, process, x0, x, t, t_next, noise).x[2], plain[2])
    assert np.abs(plain[:2] - expected[:2]).min() > 0.1


def test_the_clip_of_ddim_is_two_ascending_numbers_and_part_of_its_configuration():
    for clip in ((1.0, -1.0), (0.0, 0.0), (float("nan"), 1.0)):
        with pytest.raises(InputError, match="`clip` must be two ascending numbers or None"):
            DDIM(10, clip=clip)
    assert DDIM(10).config() == {"name": "ddim", "steps": 10, "spacing": "uniform", "eta": 0.0}
    assert DDIM(10, clip=(-1.0, 1.0)).config() == {**DDIM(10).config(), "clip": [-1.0, 1.0]}
