"""The processes: each against its own formula, and the derived quantities against calculus."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.process import PREDICTIONS, PROCESSES, ddpm, from_config, vp_cosine, vp_linear

TIMES = np.linspace(0.02, 0.98, 25).astype(np.float32)
ALL = [pytest.param(make(), id=name) for name, make in PROCESSES.items()]
SMOOTH = [pytest.param(vp_linear(), id="vp_linear"), pytest.param(vp_cosine(), id="vp_cosine")]


@pytest.mark.parametrize("process", ALL)
def test_variance_is_preserved_and_the_ends_are_data_and_noise(process):
    t = np.linspace(0, 1, 41)
    np.testing.assert_allclose(process.alpha(t) ** 2 + process.sigma(t) ** 2, 1, atol=1e-6)
    assert process.alpha(0.0) == 1 and process.sigma(0.0) == 0
    # the scaled-linear table of latent diffusion ends at SNR 0.0047: it never reaches pure noise
    assert process.alpha(1.0) < (0.07 if process.name == "ddpm_scaled_linear" else 0.01)


@pytest.mark.parametrize("process", ALL)
def test_log_snr_falls_and_its_inverse_returns_the_time(process):
    t = np.linspace(0.001, 1, 500)
    log_snr = np.asarray(process.log_snr(t))
    assert np.all(np.diff(log_snr) < 0)
    np.testing.assert_allclose(process.time(log_snr), t, atol=3e-6)


def test_vp_linear_is_its_formula():
    t, (low, high) = TIMES.astype(np.float64), (0.1, 20.0)
    expected = np.exp(-0.25 * t**2 * (high - low) - 0.5 * t * low)  # Song et al. 2021, eq. 33
    np.testing.assert_allclose(vp_linear().alpha(TIMES), expected, rtol=2e-6)
    np.testing.assert_allclose(vp_linear().g2(TIMES), low + t * (high - low), rtol=1e-5)


def test_vp_cosine_is_its_formula():
    angle = lambda t: np.cos((t + 0.008) / 1.008 * np.pi / 2)  # noqa: E731
    np.testing.assert_allclose(vp_cosine().alpha(TIMES), angle(TIMES.astype(np.float64)) / angle(0.0), rtol=3e-3, atol=1e-6)
    # the formula's alpha(1) = 0 is moved to log SNR = -20: nearer the data the two must agree much better
    early = TIMES[TIMES < 0.5]
    np.testing.assert_allclose(vp_cosine().alpha(early), angle(early.astype(np.float64)) / angle(0.0), rtol=5e-5)
    assert vp_cosine().log_snr(1.0) == pytest.approx(-20, abs=1e-4)


@pytest.mark.parametrize(
    ("schedule", "betas"),
    [
        ("linear", np.linspace(1e-4, 0.02, 1000)),
        ("scaled_linear", np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2),
        (
            "cosine",
            [
                min(
                    0.999,
                    1
                    - (np.cos(((i + 1) / 1000 + 0.008) / 1.008 * np.pi / 2) / np.cos((i / 1000 + 0.008) / 1.008 * np.pi / 2))
                    ** 2,
                )
                for i in range(1000)
            ],
        ),
    ],
)
def test_the_tables_have_abar_at_their_nodes(schedule, betas):
    process, nodes = ddpm(schedule), np.arange(1, 1001) / 1000
    abar = np.cumprod(1 - np.asarray(betas))
    np.testing.assert_allclose(process.alpha(nodes) ** 2, abar, rtol=2e-4, atol=1e-12)
    # the beta of the chain that takes every step is the table's, that of a sub-sampled chain 1 - abar / abar'
    np.testing.assert_allclose(process.g2_increment(nodes[1:], nodes[:-1]), betas[1:], rtol=2e-3)
    np.testing.assert_allclose(
        process.g2_increment(nodes[99::100][1:], nodes[99::100][:-1]), 1 - abar[199::100] / abar[99:-1:100], rtol=2e-4
    )


def test_timesteps_at_which_the_snr_crosses_known_values():
    """t(SNR) of T = 1000 computed from the tables alone, by counting; see P2 (Choi et al. 2022) for why 1e-2 and 1 matter."""
    for schedule, at_hundredth, at_one in (("cosine", 935, 495), ("linear", 674, 258), ("scaled_linear", 934, 354)):
        process = ddpm(schedule)
        assert abs(float(process.time(np.log(1e-2))) * 1000 - at_hundredth) <= 1.5
        assert abs(float(process.time(0.0)) * 1000 - at_one) <= 1.5


@pytest.mark.parametrize("process", SMOOTH)
def test_f_and_g2_are_derivatives_of_alpha_and_sigma(process):
    h = 1e-3
    log_alpha, variance = (
        lambda t: np.asarray(process.log_alpha(t), np.float64),
        lambda t: np.asarray(process.sigma(t), np.float64) ** 2,
    )
    f = (log_alpha(TIMES + h) - log_alpha(TIMES - h)) / (2 * h)
    g2 = (variance(TIMES + h) - variance(TIMES - h)) / (2 * h) - 2 * f * variance(TIMES)
    np.testing.assert_allclose(process.f(TIMES), f, rtol=2e-2, atol=1e-3)
    np.testing.assert_allclose(process.g2(TIMES), g2, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("process", SMOOTH)
def test_the_increments_of_small_steps_add_up_to_the_integral_of_g2(process):
    t = np.linspace(0.9, 0.1, 2001)
    total = float(np.asarray(process.g2_increment(t[:-1], t[1:]), np.float64).sum())
    assert total == pytest.approx(float(np.trapezoid(np.asarray(process.g2(t), np.float64)[::-1], t[::-1])), rel=5e-3)


@pytest.mark.parametrize("process", ALL)
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_predictions_convert_back_and_forth_and_agree_with_what_made_x(process, kind, key):
    x0, eps = jax.random.normal(key, (2, 9, 4, 3))
    t = jnp.linspace(0.1, 0.9, 9)
    x = process.noised(x0, eps, t)
    alpha, sigma = (np.asarray(value(t))[:, None, None] for value in (process.alpha, process.sigma))
    truth = {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0, "score": -eps / sigma}[kind]
    np.testing.assert_allclose(process.from_x0(kind, x0, x, t), truth, rtol=1e-3, atol=2e-4)
    # dividing by alpha magnifies rounding where alpha is small
    np.testing.assert_allclose(process.to_x0(kind, truth, x, t), x0, atol=2e-6 / float(alpha.min()) + 1e-5)


@pytest.mark.parametrize("process", ALL)
def test_a_process_is_made_again_from_its_config(process):
    again = from_config(process.config())
    assert again.settings == process.settings
    np.testing.assert_array_equal(again.coefficients, process.coefficients)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vp_linear(20.0, 0.1), "beta_min"),
        (lambda: vp_cosine(1.0), "offset"),
        (lambda: ddpm("quadratic"), "quadratic.*linear, scaled_linear, cosine"),
        (lambda: ddpm("linear", 5), "timesteps.*5"),
        (lambda: from_config({"name": "ve"}), "unknown process 've'"),
    ],
)
def test_impossible_processes_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
