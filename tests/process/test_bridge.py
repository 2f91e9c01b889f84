"""Bridges: the coefficients, the conditioned SDE, and samples against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxdiff import priors, process
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.denoiser import GaussianMixture, NetworkDenoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance import switching
from jaxdiff.process import SIGMA_DATA, bridge_ve, bridge_vp, expand
from jaxdiff.solvers import DDIM, SOLVERS, DPMSolver, EulerMaruyama, Heun, HybridHeun, Init, UniPC, sample
from jaxdiff.solvers.base import Node

BRIDGES = {"vp": bridge_vp(), "vp flat": bridge_vp(0.1, 2.0), "ve": bridge_ve(), "ve wide": bridge_ve(3.0)}
INSIDE = np.linspace(0.02, 0.98, 25)
MEAN, STD = -0.4, 0.3  # of x_0 given x_T


@pytest.fixture(params=BRIDGES.values(), ids=BRIDGES)
def bridge(request):
    return request.param


def base(bridge, t):
    """alpha, sigma, f and g² of the SDE that a bridge conditions, in float64."""
    if bridge.name == "bridge_ve":
        sigma = float(bridge.coefficients[0])
        return np.ones_like(t), sigma * t, np.zeros_like(t), 2 * sigma**2 * t
    low, slope = (float(each) for each in bridge.coefficients)
    integral, beta = low * t + slope * t**2 / 2, low + slope * t
    return np.exp(-integral / 2), np.sqrt(-np.expm1(-integral)), -beta / 2, beta


def published(bridge, t):
    """a, b and c of table 1 of Zhou et al. 2024, and h's coefficients of x and x_T (their eq. 5), in float64."""
    alpha, sigma, *_ = base(bridge, t)
    last_alpha, last_sigma, *_ = base(bridge, np.ones(()))
    ratio = (last_alpha / last_sigma) ** 2 / (alpha / sigma) ** 2
    room = sigma**2 * (1 / ratio - 1)
    return ratio * alpha / last_alpha, alpha * (1 - ratio), sigma * np.sqrt(1 - ratio), -1 / room, alpha / last_alpha / room


def gaussian(bridge):
    """The exact denoiser of x_0 ~ N(MEAN, STD²) given any x_T."""
    exact = GaussianMixture(jnp.full((1, 1, 1), MEAN), jnp.full((1, 1), STD), jnp.zeros((1, 1)), bridge)
    return lambda x, t, condition: exact(x, t, condition.labels)


def moments(bridge, solver, start=None):
    """Mean and standard deviation of samples, exactly: every step is affine in the state and the noise.

    The start is normal with this standard deviation, by default the prior's.
    """
    denoise = gaussian(bridge)
    if not solver.stochastic:
        condition = BridgeCondition(labels=jnp.zeros(2, jnp.int32))
        first = float(bridge.sigma(solver.times(bridge)[0])) if start is None else start
        run = {"shape": (1,), "solver": solver, "key": jax.random.key(0), "condition": condition}
        low, high = np.asarray(sample(denoise, bridge, init=Init(jnp.array([[0.0], [first]])), **run), np.float64)[:, 0]
        return low, high - low
    condition = BridgeCondition(labels=jnp.zeros(3, jnp.int32))
    states, noise = jnp.array([[0.0], [1.0], [0.0]]), jnp.array([[0.0], [0.0], [1.0]])

    @jax.jit
    def steps(times):
        def step(t, t_next):
            node = Node(jnp.full(3, t), jnp.full(3, t_next), jnp.zeros(3, bool))
            evaluate = lambda x, t: denoise(x, t, condition)  # noqa: E731
            return solver.step(bridge, evaluate, states, node, lambda _: noise, solver.history(states)).x[:, 0]

        return jax.lax.map(lambda ends: step(*ends), (times[:-1], times[1:]))

    times = solver.times(bridge)
    mean, variance = 0.0, float(bridge.sigma(times[0]) if start is None else start) ** 2
    for origin, of_state, of_noise in np.asarray(steps(times), np.float64):
        mean = origin + (of_state - origin) * mean
        variance = (of_state - origin) ** 2 * variance + (of_noise - origin) ** 2
    return mean, np.sqrt(variance)


def test_coefficients_are_the_published_ones(bridge):
    a, b, c, _, _ = published(bridge, INSIDE)
    np.testing.assert_allclose(bridge.end_weight(INSIDE), a, rtol=2e-5)
    np.testing.assert_allclose(bridge.alpha(INSIDE), b, rtol=2e-5)
    np.testing.assert_allclose(bridge.sigma(INSIDE), c, rtol=2e-5)


def test_a_bridge_is_x_0_at_its_start_and_x_T_at_its_end(bridge):
    weights = [np.array([f(t) for f in (bridge.end_weight, bridge.alpha, bridge.sigma)]) for t in (0.0, 1.0)]
    np.testing.assert_allclose(weights[0], [0, 1, 0], atol=1e-7)
    np.testing.assert_allclose(weights[1], [1, 0, 0], atol=2e-7)
    assert weights[1][2] < 1e-7 * float(bridge.sigma(0.7))  # below the resolution of float32 at the scale of the bridge


def test_the_state_follows_the_conditioned_sde(bridge):
    # y = x - a x_T of dx = (f x + g² h) dt + g dW: the coefficient of y in the drift, and none of x_T
    _, _, f, g2 = base(bridge, INSIDE)
    a, _, _, of_x, of_end = published(bridge, INSIDE)
    np.testing.assert_allclose(bridge.f(INSIDE), f + g2 * of_x, rtol=1e-4)
    np.testing.assert_allclose(bridge.g2(INSIDE), g2, rtol=1e-4)
    slope = np.array([jax.grad(bridge.end_weight)(jnp.float32(t)) for t in INSIDE])
    np.testing.assert_allclose(slope, (f + g2 * of_x) * a + g2 * of_end, rtol=2e-4, atol=1e-5)


def test_the_reverse_sde_is_that_of_the_score_minus_doobs_h(bridge):
    # dx = (f x - g² (s - h)) dt with s = -(x - a x_T - b x_0) / c²: x_T cancels
    _, _, f, g2 = base(bridge, INSIDE)
    a, b, c, of_x, of_end = published(bridge, INSIDE)
    own, mean = bridge.reverse_drift(INSIDE)
    np.testing.assert_allclose(own, f + g2 * (1 / c**2 + of_x), rtol=1e-4)
    np.testing.assert_allclose(mean, g2 * b / c**2, rtol=1e-4)
    np.testing.assert_allclose(g2 * (of_end - a / c**2), 0, atol=1e-8 * (g2 * of_end).max())
    assert np.isfinite(bridge.reverse_drift(1.0)).all()
    for given, derived in zip((own, mean), process.Process.reverse_drift(bridge, jnp.asarray(INSIDE)), strict=True):
        np.testing.assert_allclose(given, derived, rtol=2e-3)


def test_time_is_the_inverse_of_log_snr(bridge):
    t = jnp.asarray(np.concatenate([[1e-5, 1e-3], INSIDE, [0.999]]), jnp.float32)
    np.testing.assert_allclose(bridge.time(bridge.log_snr(t)), t, rtol=2e-4)


@pytest.mark.parametrize(
    "solver",
    [
        Heun(400),
        HybridHeun(400),
        DPMSolver(400, spacing="karras"),
        UniPC(400, spacing="karras"),
        EulerMaruyama(400),
        DDIM(4000, spacing="karras"),
        DDIM(4000, eta=1.0, spacing="karras"),
    ],
    ids=lambda solver: f"{solver.name}-{solver.stochastic}",
)
def test_every_solver_draws_x_0_given_x_T(bridge, solver):
    mean, std = moments(bridge, solver)
    assert abs(mean / MEAN - 1) < 0.01
    assert abs(std / STD - 1) < 0.01


def test_the_flow_from_x_T_itself_has_no_spread_and_noise_in_the_steps_cures_it(bridge):
    assert moments(bridge, Heun(40), start=1e-9)[1] < 1e-3
    assert abs(moments(bridge, HybridHeun(40), start=0.0)[1] / STD - 1) < 0.1
    assert abs(moments(bridge, Heun(40))[1] / STD - 1) < 0.03  # from c(1) e


@pytest.mark.parametrize(("churn", "order"), [(0.33, 1), (0.0, 2)])
def test_the_hybrid_sampler_converges_with_its_order(churn, order):
    bridge = BRIDGES["vp"]
    errors = [abs(moments(bridge, HybridHeun(steps, churn=churn))[1] - STD) for steps in (80, 160, 320)]
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (rates > order - 0.3).all(), (errors, rates)
    if churn == 0:
        np.testing.assert_allclose(moments(bridge, HybridHeun(20, churn=0.0)), moments(bridge, Heun(20)), rtol=1e-6)


def test_evaluations_are_those_of_the_published_sampler():
    assert HybridHeun(40).evaluations == 119
    assert HybridHeun(40, churn=0.0).evaluations == 79


def test_a_network_that_is_not_told_x_T_draws_the_data_by_sde_steps():
    # x_T ~ N(0, 1), independent: x_t = b x_0 + sqrt(a² + c²) e is a diffusion model. Its posterior mean is the average over x_T
    # of the bridge's, and the drift of the reverse SDE is linear in it and free of x_T, so that the marginals are the same.
    bridge = bridge_ve()
    means, std, weight = np.array([-0.7, 0.5]), 0.15, np.array([0.3, 0.7])

    def denoise(x, t, condition):
        a, b, c = (expand(each(t), x) for each in (bridge.end_weight, bridge.alpha, bridge.sigma))
        shown = x + a * condition.end
        spread = b**2 * std**2 + a**2 + c**2
        centred = shown - b * means
        logits = np.log(weight) - centred**2 / (2 * spread)
        shares = jax.nn.softmax(logits, -1)
        return (shares * (means + b * std**2 / spread * centred)).sum(-1, keepdims=True)

    count = 20_000
    run = lambda solver: np.asarray(  # noqa: E731
        sample(
            denoise, bridge, shape=(1,), solver=solver, key=jax.random.key(0), condition=BridgeCondition(), indices=range(count)
        )
    )[:, 0]
    exact = lambda v: (weight * stats.norm.cdf((v[:, None] - means) / std)).sum(1)  # noqa: E731
    assert stats.kstest(run(DDIM(300, eta=1.0, spacing="karras")), exact).statistic < 0.015  # 1.36 / sqrt(n) = .0096
    # the flow is not linear in what it leaves out: another distribution
    assert stats.kstest(run(Heun(100)), exact).statistic > 0.03


WITHOUT_END = {
    **{name: solver(100) for name, solver in SOLVERS.items()},
    "ancestral": DDIM(100, eta=1.0),
}


@pytest.mark.parametrize("name", WITHOUT_END)
def test_only_solvers_of_the_reverse_sde_draw_the_data_without_x_T(name):
    """x_0 ~ N(MEAN, 1/4) and x_T ~ N(0, 1/4), independent: the preconditioned denoiser with the exact output."""
    bridge, solver = bridge_ve(), WITHOUT_END[name]

    def network(x, t, condition):
        # of x_0 of mean 0 the output is 0, by the preconditioning: what is left is the shift of the mean
        signal, end, noise = (expand(each(t), x) for each in (bridge.alpha, bridge.end_weight, bridge.sigma))
        noise2 = end**2 * SIGMA_DATA**2 + noise**2
        variance = signal**2 * SIGMA_DATA**2 + noise2
        return jnp.full_like(x, MEAN) * jnp.sqrt(noise2 / variance) / SIGMA_DATA

    ends = SIGMA_DATA * jax.random.normal(jax.random.key(1), (2**13, 8))
    denoise = NetworkDenoiser(jax.tree_util.Partial(network), bridge, "edm_marginal")
    x = sample(denoise, bridge, shape=(8,), solver=solver, key=jax.random.key(0), condition=BridgeCondition(ends))
    assert float(x.mean()) == pytest.approx(MEAN, abs=0.02)
    deviation, error = float(x.std()), 0.5 / np.sqrt(2 * x.size)
    if solver.follows_reverse_sde:
        assert deviation == pytest.approx(SIGMA_DATA, abs=0.01 + 3 * error)
    else:
        assert abs(deviation - SIGMA_DATA) > 0.01 + 3 * error


@pytest.mark.parametrize("t", [1e-3, 0.3, 0.9])
def test_the_marginal_target_has_unit_variance_and_does_not_depend_on_x_t(bridge, t):
    """What the preconditioning is made for (Karras et al. 2022, appendix B.6), for x_0 and x_T of standard deviation 1/2."""
    rng = np.random.default_rng(0)
    x0, end, noise = (scale * rng.normal(size=(1, 200_000)) for scale in (0.5, 0.5, 1.0))
    a, b, c, _, _ = published(bridge, np.float64(t))
    y = jnp.asarray(b * x0 + c * noise, jnp.float32)
    condition = BridgeCondition(jnp.asarray(end, jnp.float32))
    without, slope = (
        np.asarray(bridge.estimate("edm_marginal", jnp.full_like(y, output), y, jnp.full(1, t), condition), np.float64)
        for output in (0.0, 1.0)
    )
    target = (x0 - without) / (slope - without)
    assert target.std() == pytest.approx(1, abs=0.01) and abs(np.corrcoef(target, a * end + b * x0 + c * noise)[0, 1]) < 0.01


def test_a_gaussian_process_prior_with_the_datas_covariance_needs_no_network():
    # x_0 ~ N(m, C) and x_T ~ N(m, C), independent: E[x_0 | x_t, x_T] is linear in y
    length, features = 6, 2
    steps = np.arange(length)
    covariance = 0.2 * np.exp(-((steps[:, None] - steps) ** 2) / 8) + 0.02 * np.eye(length)
    factor = np.linalg.cholesky(covariance)
    rows = 0.3 + np.einsum("ij,njf->nif", factor, np.random.default_rng(0).normal(size=(50_000, length, features)))
    prior = priors.GaussianProcess.fit(rows, kernel="data")
    np.testing.assert_allclose(prior.factor[0] @ prior.factor[0].T, covariance, atol=0.004)
    bridge = bridge_ve(prior=prior)
    values, vectors = (jnp.asarray(each, jnp.float32) for each in np.linalg.eigh(covariance))

    def denoise(x, t, condition):
        b, c = bridge.alpha(t)[:, None], bridge.sigma(t)[:, None]
        gain = b * values / (b**2 * values + c**2)
        return 0.3 + jnp.einsum("ij,bj,kj,bkf->bif", vectors, gain, vectors, x - b[..., None] * 0.3)

    x = np.asarray(
        sample(
            denoise, bridge, shape=(length, features), solver=Heun(30), key=jax.random.key(1), condition=BridgeCondition(),
            indices=range(20_000),
        )
    )  # fmt: skip
    np.testing.assert_allclose(x.mean((0, 2)), 0.3, atol=0.015)
    np.testing.assert_allclose(np.cov(x[..., 0].T), covariance, atol=0.015)


def test_a_given_x_T_is_kept_and_a_drawn_one_is_a_function_of_the_samples_key():
    bridge = bridge_ve(prior=priors.Uniform())
    seen = lambda x, t, condition: condition.end  # the sample ends on x_T  # noqa: E731
    run = lambda condition, indices: np.asarray(  # noqa: E731
        sample(seen, bridge, shape=(4, 2), solver=DDIM(2), key=jax.random.key(5), condition=condition, indices=indices)
    )
    ends = np.random.default_rng(1).normal(size=(3, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(run(BridgeCondition(end=ends), None), ends, rtol=1e-6)
    whole = run(BridgeCondition(), range(5))
    np.testing.assert_array_equal(run(BridgeCondition(), [3, 1]), whole[[3, 1]])
    assert -1 <= whole.min() < -0.5 < 0.5 < whole.max() <= 1


def test_both_conditions_of_a_switch_have_one_x_T_and_its_ends_are_the_plain_sampler():
    bridge = bridge_vp()
    labelled = lambda label: BridgeCondition(labels=jnp.full((4,), label))  # noqa: E731
    exact = GaussianMixture(jnp.array([[[-0.5]], [[0.5]]]), jnp.full((2, 1), 0.2), jnp.zeros((2, 1)), bridge)
    denoise = lambda x, t, condition: exact(x, t, condition.labels) + 0.1 * condition.end  # noqa: E731
    run = lambda denoiser, condition: np.asarray(  # noqa: E731
        sample(denoiser, bridge, shape=(1,), solver=HybridHeun(8), key=jax.random.key(2), condition=condition)
    )
    pair = labelled(0), labelled(1)
    np.testing.assert_allclose(run(switching(denoise, at=0.0), pair), run(denoise, labelled(0)), rtol=1e-6)
    np.testing.assert_allclose(run(switching(denoise, at=1.0), pair), run(denoise, labelled(1)), rtol=1e-6)
    assert (run(switching(denoise, at=0.6), pair) > run(denoise, labelled(0))).all()


def test_configurations_come_back_with_the_arrays_of_the_prior():
    rows = np.random.default_rng(0).normal(size=(40, 8, 3))
    made = bridge_vp(0.3, 5.0, priors.GaussianProcess.fit(rows, length=2.0))
    again = process.from_config(made.config(), made.prior_of_end.arrays())
    assert again.config() == made.config()
    np.testing.assert_array_equal(again.prior_of_end.factor, made.prior_of_end.factor)
    arrays = made.prior_of_end.arrays()
    with pytest.raises(InputError, match="checksum"):
        process.from_config(made.config(), {**arrays, "mean": arrays["mean"] + 1})
    with pytest.raises(InputError, match="beta_slope"):
        process.from_config({"name": "bridge_vp", "beta_slope": "10"})


def test_a_bridge_asks_for_its_condition():
    x = jnp.zeros((2, 4, 1))
    with pytest.raises(InputError, match="without `end`"):
        bridge_ve().network_input(x, jnp.ones(2), BridgeCondition())
    with pytest.raises(InputError, match="NoneType"):
        bridge_ve().network_input(x, jnp.ones(2), None)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="sigma_max"):
            bridge_ve(wrong)
        with pytest.raises(InputError, match="beta_min"):
            bridge_vp(wrong)
