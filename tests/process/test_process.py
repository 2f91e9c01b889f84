"""The processes: each against its own formula, and the derived quantities against calculus."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.choices import PREDICTIONS
from jaxdiff.denoiser import NetworkDenoiser
from jaxdiff.errors import InputError
from jaxdiff.process import PROCESSES, Process, ddpm, edm, flow, from_config, sub_vp, ve, vp_cosine, vp_linear

# Every array below has 1000 times or is one time: a shape of its own would be compiled anew, operation by operation.
COUNT = 1000
NODES = np.arange(1, COUNT + 1) / COUNT
TIMES = np.linspace(0.02, 0.98, COUNT).astype(np.float32)
EXACT = TIMES.astype(np.float64)
EVERY: list[Process] = [make() for make in PROCESSES.values()]
EVERY.append(ddpm("scaled_linear", zero_terminal_snr=True))
PRESERVING = ("vp_linear", "vp_cosine", "ddpm_linear", "ddpm_scaled_linear", "ddpm_cosine")


def name(process: Process) -> str:
    """A process in a test's name."""
    return process.name + ("_zero" if "zero_terminal_snr" in process.config() else "")


ALL = [pytest.param(process, id=name(process)) for process in EVERY]
UNIT = [pytest.param(process, id=name(process)) for process in EVERY if process.name in PRESERVING]
SMOOTH = [pytest.param(process, id=name(process)) for process in EVERY if process.kind != "table"]
TABLES = {
    "linear": np.linspace(1e-4, 0.02, 1000),
    "scaled_linear": np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2,
    "cosine": np.minimum(
        0.999,
        1
        - np.cos((np.arange(1, 1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
        / np.cos((np.arange(1000) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2,
    ),
}


def linear_integral(t):
    """B(t), the integral of beta from 0.1 to 20."""
    return 0.1 * t + 0.5 * 19.9 * t**2


@pytest.mark.parametrize("process", UNIT)
def test_variance_is_preserved_where_the_process_says_so(process):
    t = np.linspace(0, 1, COUNT)
    assert process.preserves_variance
    np.testing.assert_allclose(process.alpha(t) ** 2 + process.sigma(t) ** 2, 1, atol=1e-6)
    np.testing.assert_array_equal(process.scale(t), np.ones(COUNT))


@pytest.mark.parametrize("process", ALL)
def test_the_scale_is_the_standard_deviation_of_noised_data_of_unit_variance(process):
    t = np.linspace(0, 1, COUNT)
    alpha, sigma = np.asarray(process.alpha(t), np.float64), np.asarray(process.sigma(t), np.float64)
    np.testing.assert_allclose(process.scale(t), np.sqrt(alpha**2 + sigma**2), rtol=1e-6)
    assert process.preserves_variance == bool(np.allclose(alpha**2 + sigma**2, 1, atol=1e-5))


@pytest.mark.parametrize("process", ALL)
def test_the_ends_are_data_without_noise_and_noise_nearly_without_data(process):
    assert process.alpha(0.0) == 1 and process.sigma(0.0) == 0
    assert process.log_snr(0.0) == np.inf and process.snr(0.0) == np.inf
    # the scaled-linear table of latent diffusion ends at SNR 0.0047: it never reaches pure noise
    level = float(process.sigma(1.0) / process.alpha(1.0))
    assert level > (14 if name(process) == "ddpm_scaled_linear" else 49)


@pytest.mark.parametrize("process", ALL)
def test_log_snr_falls_and_its_inverse_returns_the_time(process):
    log_snr = np.asarray(process.log_snr(NODES))
    assert np.all(np.diff(log_snr) < 0)
    np.testing.assert_allclose(process.time(log_snr), NODES, atol=3e-6)


@pytest.mark.parametrize("process", ALL)
def test_the_prior_has_the_law_of_noised_data_of_unit_variance(process, key):
    for t in (1.0, 0.9):
        x = process.prior(key, (200, 200), None, jnp.asarray(t))
        std = np.hypot(float(process.alpha(t)), float(process.sigma(t)))
        assert x.shape == (200, 200) and x.dtype == jnp.float32
        # 40,000 draws: the standard deviation is known to 1 / sqrt(2 n) = 0.35 %
        assert np.std(x) == pytest.approx(std, rel=4 * 0.0036)
        assert abs(np.mean(x)) < 4 * std / 200


def test_vp_linear_is_its_formula():
    t, (low, high) = EXACT, (0.1, 20.0)
    expected = np.exp(-0.25 * t**2 * (high - low) - 0.5 * t * low)  # Song et al. 2021, eq. 33
    np.testing.assert_allclose(vp_linear().alpha(TIMES), expected, rtol=2e-6)
    np.testing.assert_allclose(vp_linear().g2(TIMES), low + t * (high - low), rtol=1e-5)


def test_vp_cosine_is_its_formula():
    angle = lambda t: np.cos((t + 0.008) / 1.008 * np.pi / 2)  # noqa: E731
    np.testing.assert_allclose(vp_cosine().alpha(TIMES), angle(EXACT) / angle(0.0), rtol=3e-3, atol=1e-6)
    # the formula's alpha(1) = 0 is moved to log SNR = -20: nearer the data the two must agree much better
    early = TIMES[TIMES < 0.5]
    np.testing.assert_allclose(vp_cosine().alpha(early), angle(early.astype(np.float64)) / angle(0.0), rtol=5e-5)
    assert vp_cosine().log_snr(1.0) == pytest.approx(-20, abs=1e-4)


def test_sub_vp_has_the_drift_of_vp_and_less_noise():
    """sigma = 1 - alpha² and g² = beta (1 - exp(-2 B)) (Song et al. 2021, eq. 28 and 29)."""
    alpha, beta = np.exp(-0.5 * linear_integral(EXACT)), 0.1 + EXACT * 19.9
    np.testing.assert_allclose(sub_vp().alpha(TIMES), alpha, rtol=2e-6)
    np.testing.assert_allclose(sub_vp().sigma(TIMES), 1 - alpha**2, rtol=2e-6)
    np.testing.assert_allclose(sub_vp().f(TIMES), -0.5 * beta, rtol=1e-5)
    np.testing.assert_allclose(sub_vp().g2(TIMES), beta * -np.expm1(-2 * linear_integral(EXACT)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0.01, 50.0), (0.02, 3.0)])
def test_ve_has_levels_in_geometric_progress(low, high):
    """sigma = smin (smax / smin)^t and g = sigma sqrt(2 ln(smax / smin)) (Song et al. 2021, eq. 30)."""
    process, sigma = ve(low, high), low * (high / low) ** EXACT
    np.testing.assert_array_equal(process.alpha(TIMES), np.ones(COUNT))
    np.testing.assert_array_equal(process.f(TIMES), np.zeros(COUNT))
    np.testing.assert_allclose(process.sigma(TIMES), sigma, rtol=3e-6)
    np.testing.assert_allclose(np.sqrt(process.g2(TIMES)), sigma * np.sqrt(2 * np.log(high / low)), rtol=5e-6)


@pytest.mark.parametrize(("low", "high", "rho"), [(0.002, 80.0, 7.0), (0.1, 5.0, 3.0)])
def test_edm_has_karras_levels(low, high, rho):
    """sigma = (smax^(1/rho) + (1 - t) (smin^(1/rho) - smax^(1/rho)))^rho (Karras et al. 2022, eq. 5); g² = d sigma² / dt."""
    root = lambda sigma: sigma ** (1 / rho)  # noqa: E731
    sigma = (root(high) + (1 - EXACT) * (root(low) - root(high))) ** rho
    process = edm(low, high, rho)
    np.testing.assert_array_equal(process.alpha(TIMES), np.ones(COUNT))
    np.testing.assert_allclose(process.sigma(TIMES), sigma, rtol=5e-6)
    np.testing.assert_allclose(process.g2(TIMES), 2 * rho * sigma**2 / root(sigma) * (root(high) - root(low)), rtol=1e-5)


@pytest.mark.parametrize(("process", "least"), [(ve(0.03), 0.03), (edm(0.004), 0.004)], ids=["ve", "edm"])
def test_the_least_noise_level_is_left_out_at_zero_alone(process, least):
    assert process.sigma(0.0) == 0 and process.sigma(1e-6) == pytest.approx(least, rel=1e-4)
    # a level below the least one is that of the least time
    assert 0 < process.time(-2 * np.log(0.1 * least)) < 1e-5
    assert process.time(-2 * np.log(1e4)) == 1


def test_flow_is_the_straight_line_from_data_to_noise():
    """x = (1 - t) x_0 + t eps, so that f = -1 / (1 - t) and g² = 2 t / (1 - t), away from t = 1."""
    np.testing.assert_allclose(flow().alpha(TIMES), 1 - EXACT, rtol=3e-3)
    early = TIMES[TIMES < 0.5]
    np.testing.assert_allclose(flow().alpha(early), 1 - early.astype(np.float64), rtol=1e-4)
    np.testing.assert_allclose(flow().sigma(TIMES), EXACT, rtol=1e-6)
    np.testing.assert_allclose(flow().f(TIMES), -1 / (1 - EXACT), rtol=3e-3)
    np.testing.assert_allclose(flow().g2(TIMES), 2 * EXACT / (1 - EXACT), rtol=3e-3)
    assert flow().log_snr(1.0) == pytest.approx(-20, abs=3e-3)


@pytest.mark.parametrize("schedule", TABLES)
def test_the_tables_have_abar_at_their_nodes(schedule):
    process, betas = ddpm(schedule), TABLES[schedule]
    abar = np.cumprod(1 - betas)
    np.testing.assert_allclose(np.asarray(process.alpha(NODES), np.float64) ** 2, abar, rtol=2e-4, atol=1e-12)
    # the beta of the chain that takes every step is the table's, that of a sub-sampled chain 1 - abar / abar'
    before = lambda stride: np.concatenate([np.zeros(stride), NODES[:-stride]])  # noqa: E731
    np.testing.assert_allclose(process.g2_increment(NODES, before(1)), betas, rtol=2e-3)
    sub_sampled = 1 - abar / np.concatenate([np.ones(100), abar[:-100]])
    np.testing.assert_allclose(process.g2_increment(NODES, before(100)), sub_sampled, rtol=2e-4)


@pytest.mark.parametrize("schedule", TABLES)
def test_zero_terminal_snr_follows_the_algorithm_of_its_paper(schedule):
    """Lin et al. 2024, algorithm 1: subtract the last sqrt(abar), then scale so that the first is what it was."""
    root = np.sqrt(np.cumprod(1 - TABLES[schedule]))
    first, last = root[0], root[-1]
    root = (root - last) * (first / (first - last))
    process = ddpm(schedule, zero_terminal_snr=True)
    alpha = np.asarray(process.alpha(NODES))
    np.testing.assert_allclose(alpha[:-1], root[:-1], rtol=2e-4)
    assert root[-1] == 0 and alpha[-1] == pytest.approx(np.exp(-10), rel=1e-4)
    assert process.preserves_variance and alpha[0] == pytest.approx(first, rel=1e-6)


def test_timesteps_at_which_the_snr_crosses_known_values():
    """t(SNR) of T = 1000 computed from the tables alone, by counting; see P2 (Choi et al. 2022) for why 1e-2 and 1 matter."""
    for schedule, at_hundredth, at_one in (("cosine", 935, 495), ("linear", 674, 258), ("scaled_linear", 934, 354)):
        process = ddpm(schedule)
        assert abs(float(process.time(np.log(1e-2))) * 1000 - at_hundredth) <= 1.5
        assert abs(float(process.time(0.0)) * 1000 - at_one) <= 1.5


@pytest.mark.parametrize("process", SMOOTH)
def test_f_and_g2_are_derivatives_of_alpha_and_sigma(process):
    h = 1e-3
    log_alpha, log_sigma = (
        lambda t: np.asarray(process.log_alpha(t), np.float64),
        lambda t: np.asarray(process.log_sigma(t), np.float64),
    )
    f = (log_alpha(TIMES + h) - log_alpha(TIMES - h)) / (2 * h)
    growth = (log_sigma(TIMES + h) - log_sigma(TIMES - h)) / (2 * h)
    np.testing.assert_allclose(process.f(TIMES), f, rtol=2e-2, atol=1e-3)
    np.testing.assert_allclose(process.g2(TIMES), 2 * (growth - f) * np.exp(2 * log_sigma(TIMES)), rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("process", SMOOTH)
def test_the_increments_of_small_steps_add_up_to_the_integral_of_g2(process):
    edges = np.linspace(0.1, 0.9, COUNT + 1)
    total = float(np.asarray(process.g2_increment(edges[1:], edges[:-1]), np.float64).sum())
    middle = np.asarray(process.g2((edges[1:] + edges[:-1]) / 2), np.float64)
    # what is added early in a step shrinks by the factor exp(2 f dt) at most until its end
    shrinking = 2 * float(np.abs(process.f(0.9))) * 0.8 / COUNT
    assert total == pytest.approx(middle.sum() * 0.8 / COUNT, rel=shrinking + 1e-4)


@pytest.mark.parametrize("process", ALL)
def test_the_increment_is_the_variance_that_a_transition_adds(process):
    """x_t = (alpha / alpha') x_next + G z has the variance sigma² = (alpha / alpha')² sigma'² + G²."""
    t, t_next = TIMES, TIMES - np.float32(0.01)
    shrink = np.asarray(process.alpha(t), np.float64) / np.asarray(process.alpha(t_next), np.float64)
    added = np.asarray(process.sigma(t), np.float64) ** 2 - (shrink * np.asarray(process.sigma(t_next), np.float64)) ** 2
    np.testing.assert_allclose(process.g2_increment(t, t_next), added, rtol=2e-4)


@pytest.mark.parametrize("process", ALL)
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_predictions_convert_back_and_forth_and_agree_with_what_made_x(process, kind, key):
    x0, eps = jax.random.normal(key, (2, COUNT, 3))
    t = jnp.linspace(0.1, 0.9, COUNT)
    x = process.noised(x0, eps, t)
    alpha, sigma = (np.asarray(value(t), np.float64)[:, None] for value in (process.alpha, process.sigma))
    level = sigma / alpha
    skip, out = 0.25 / (level**2 + 0.25), 0.5 * level / np.sqrt(level**2 + 0.25)  # Karras et al. 2022, table 1
    data, noise = np.asarray(x0, np.float64), np.asarray(eps, np.float64)
    truth = {
        "x0": data,
        "eps": noise,
        "v": alpha * noise - sigma * data,
        "score": -noise / sigma,
        "edm": (data - skip * (data + level * noise)) / out,
    }[kind]
    np.testing.assert_allclose(process.target(kind, x0, eps, t), truth, rtol=1e-5, atol=2e-6 * np.abs(truth).max())
    # eps is x less the signal over sigma, and x0 is x less the noise over alpha: rounding grows with what is taken out
    of_eps = 1 if kind in ("eps", "v", "edm") else np.abs(1 / sigma).max()
    np.testing.assert_allclose(
        process.from_x0(kind, x0, x, t), truth, atol=1e-6 * of_eps * np.maximum(1 / level, 1).max() + 1e-5, rtol=1e-5
    )
    output = jnp.asarray(truth, jnp.float32)
    np.testing.assert_allclose(process.to_x0(kind, output, x, t), data, atol=2e-6 * level.max() + 1e-5)


@pytest.mark.parametrize("process", ALL)
def test_edm_preconditioning_is_that_of_karras_at_the_level_sigma_over_alpha(process, key):
    """D = c_skip y + c_out F of y = x / alpha, with data of standard deviation 1/2 (Karras et al. 2022, table 1)."""
    x, output = np.asarray(jax.random.normal(key, (2, COUNT, 3)), np.float64)
    alpha, sigma = (np.asarray(value(TIMES), np.float64)[:, None] for value in (process.alpha, process.sigma))
    level = sigma / alpha
    skip, out = 0.25 / (level**2 + 0.25), 0.5 * level / np.sqrt(level**2 + 0.25)
    truth = skip * x / alpha + out * output
    computed = process.to_x0("edm", jnp.asarray(output, jnp.float32), jnp.asarray(x, jnp.float32), jnp.asarray(TIMES))
    np.testing.assert_allclose(computed, truth, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("process", ALL)
def test_a_target_of_edm_has_unit_variance_and_does_not_depend_on_x(process):
    """Both are what the preconditioning is made for (Karras et al. 2022, appendix B.6), for data of standard deviation 1/2."""
    one, zero, t = jnp.ones((COUNT, 3)), jnp.zeros((COUNT, 3)), jnp.asarray(TIMES)
    of_data, of_noise = (np.asarray(process.target("edm", *pair, t), np.float64)[:, 0] for pair in ((one, zero), (zero, one)))
    alpha, sigma = np.asarray(process.alpha(TIMES), np.float64), np.asarray(process.sigma(TIMES), np.float64)
    np.testing.assert_allclose(0.25 * of_data**2 + of_noise**2, 1, rtol=1e-5)
    np.testing.assert_allclose((0.25 * of_data * alpha + of_noise * sigma) / process.scale(TIMES), 0, atol=1e-5)


@pytest.mark.parametrize("process", [vp_cosine(), ve(), sub_vp(), flow()], ids=name)
def test_a_network_is_given_noised_data_of_unit_variance_at_unit_variance(process, key):
    x0, eps = jax.random.normal(key, (2, COUNT, 3))
    t, seen = jnp.asarray(TIMES), []
    denoise = NetworkDenoiser(lambda x, t, condition: (seen.append((x, t)), x)[1], process, "x0")
    denoise(process.noised(x0, eps, t), t, None)
    (given, at) = seen[0]
    for part in np.split(np.asarray(given), 5):  # from little noise to much; 600 draws: known to 2.9 %
        assert part.std() == pytest.approx(1, abs=4 * 0.029)
    np.testing.assert_array_equal(at, t)


@pytest.mark.parametrize("process", ALL)
def test_a_process_is_made_again_from_its_config(process):
    again = from_config(process.config())
    assert again.settings == process.settings
    np.testing.assert_array_equal(again.coefficients, process.coefficients)


@pytest.mark.parametrize("make", [lambda: ve(0.02, 9.0), lambda: edm(0.01, 20.0, 5.0), lambda: sub_vp(0.2, 12.0)])
def test_a_config_holds_the_parameters_that_are_not_the_usual_ones(make):
    again = from_config(make().config())
    np.testing.assert_array_equal(again.coefficients, make().coefficients)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vp_linear(20.0, 0.1), "vp_linear.*beta_min"),
        (lambda: sub_vp(0.0, 0.1), "`beta_min`.*beta_min=0.0"),
        (lambda: vp_cosine(1.0), "offset"),
        (lambda: ve(50.0, 0.01), "ve.*`sigma_min`.*sigma_min=50.0"),
        (lambda: edm(0.0), "edm.*`sigma_min`.*sigma_min=0.0"),
        (lambda: edm(rho=0.0), "`rho`.*0.0"),
        (lambda: ddpm("quadratic"), "quadratic.*linear, scaled_linear, cosine"),
        (lambda: ddpm("linear", 5), "timesteps.*5"),
        (lambda: from_config({"name": "rectified"}), "unknown process 'rectified'.*ve, edm, flow"),
    ],
)
def test_impossible_processes_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
