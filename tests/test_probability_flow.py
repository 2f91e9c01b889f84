"""Encoding and likelihood by the probability flow, against the closed forms of Gaussians and their mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.probability_flow import bits_per_dimension, decode, encode, log_likelihood
from jaxdiff.process import ddpm, edm, flow, sub_vp, ve, vp_cosine, vp_linear
from jaxdiff.solvers import DDIM, DPMSolver, EulerMaruyama, Heun, sample
from jaxdiff.solvers.driver import steps_from

QUICK = {"vp_cosine", "ve", "flow"}
PROCESSES = [
    pytest.param(process, id=process.name, marks=[pytest.mark.slow] * (process.name not in QUICK))
    for process in (vp_linear(), vp_cosine(), ve(), edm(), sub_vp(), flow())
]
CLASSES = ((np.array([0.5, -0.3]), 0.4), (np.array([-0.4, 0.2]), 0.7))  # mean and std of each class
FIRST = jnp.zeros(64, jnp.int32)
STEPS = 24


def two_gaussians(process) -> GaussianMixture:
    """A Gaussian for each of two classes; as two equal halves, so that it shares its compiled programs with `mixture`."""
    means, stds = (np.repeat(np.float32(each)[:, None], 2, axis=1) for each in zip(*CLASSES, strict=True))
    return GaussianMixture(jnp.asarray(means), jnp.asarray(stds), jnp.zeros((2, 2)), process)


def levels(process) -> tuple[float, float]:
    """The noise levels sigma / alpha between which the likelihood integrates: 0.002 and 80, or the process's own."""
    ends = {"ve": (0.01, 50.0), "vp_cosine": (float(jnp.exp(-0.5 * process.log_snr(process.time(-2 * np.log(0.002))))), 80.0)}
    return ends.get(process.name, (0.002, 80.0))


def carried(y, before, after, label=0):
    """Where the flow of one Gaussian takes y = x / alpha from one noise level to another: a linear map."""
    mean, std = CLASSES[label]
    return mean + np.sqrt((std**2 + np.square(after)) / (std**2 + np.square(before))) * (y - mean)


def stretch(before, after, label=0):
    """The log-determinant of that map, in two dimensions."""
    std = CLASSES[label][1]
    return np.log((std**2 + np.square(after)) / (std**2 + np.square(before)))


@pytest.fixture(scope="module")
def x0() -> np.ndarray:
    """64 draws of the first class, float64."""
    return CLASSES[0][0] + CLASSES[0][1] * np.random.default_rng(0).standard_normal((64, 2))


@pytest.mark.parametrize("process", PROCESSES)
def test_the_likelihood_of_a_gaussian_is_that_of_its_linear_flow(process, x0):
    low, high = levels(process)
    found = log_likelihood(two_gaussians(process), process, jnp.float32(x0), steps=STEPS, probes=None, condition=FIRST)
    prior = norm.logpdf(carried(x0, low, high), scale=np.hypot(1, high)).sum(1)
    np.testing.assert_allclose(found, prior + stretch(low, high), atol=3e-4)
    truth = norm.logpdf(x0, *CLASSES[0]).sum(1)
    assert abs(np.mean(found - truth)) / (2 * np.log(2)) < 0.01  # bits per dimension


def test_the_error_of_the_likelihood_falls_with_the_fourth_power_of_the_step(x0):
    process, (low, high) = vp_linear(), levels(vp_linear())
    truth = norm.logpdf(carried(x0, low, high), scale=np.hypot(1, high)).sum(1) + stretch(low, high)
    run = lambda steps: log_likelihood(  # noqa: E731
        two_gaussians(process), process, jnp.float32(x0), steps=steps, probes=None, condition=FIRST
    )
    errors = [np.abs(run(steps) - truth).max() for steps in (STEPS // 2, STEPS)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.5)


def test_a_switched_likelihood_has_a_node_on_each_breakpoint(x0):
    process, (low, high) = vp_linear(), levels(vp_linear())
    at = np.float32(np.linspace(0.03, 0.9, 64))
    switched = guidance.switching(two_gaussians(process), jnp.asarray(at))
    found = log_likelihood(switched, process, jnp.float32(x0), steps=STEPS, probes=None, condition=(FIRST + 1, FIRST))
    level = np.exp(-0.5 * np.asarray(process.log_snr(at), np.float64))
    last = carried(carried(x0, low, level[:, None]), level[:, None], high, label=1)
    truth = norm.logpdf(last, scale=np.hypot(1, high)).sum(1) + stretch(low, level) + stretch(level, high, label=1)
    np.testing.assert_allclose(found, truth, atol=5e-4)


# Each class of mean 0, so that the prior at the greatest noise level is all but exact.
MEANS = np.array([[[0.9, 0.5], [-0.9, -0.5]], [[0.4, -1.2], [-0.4, 1.2]]])
STDS = np.array([[0.3, 0.5], [0.4, 0.6]])


def mixture(process) -> GaussianMixture:
    """Two components for each of two classes."""
    return GaussianMixture(jnp.float32(MEANS), jnp.float32(STDS), jnp.zeros((2, 2)), process)


def mixture_log_density(x, label, low) -> np.ndarray:
    """Of x noised to the level `low`; label -1 is both classes."""
    means, spreads = MEANS.reshape(-1, 2), np.hypot(STDS.reshape(-1), low)
    each = norm.logpdf(x[:, None], means, spreads[:, None]).sum(-1)
    member = (label[:, None] == np.repeat([0, 1], 2)) | (label[:, None] < 0)
    return logsumexp(np.where(member, each, -np.inf), axis=1) - np.log(member.sum(1))


def test_the_likelihood_of_a_mixture_is_its_density_given_its_condition(rng):
    process, x = vp_linear(), rng.uniform(-1, 1, (64, 2))
    label = np.arange(64) % 3 - 1
    arguments = {"steps": 2 * STEPS, "probes": None, "condition": jnp.asarray(label)}
    found = log_likelihood(mixture(process), process, jnp.float32(x), **arguments)
    np.testing.assert_allclose(found, mixture_log_density(x, label, levels(process)[0]), atol=2e-3)


COUNT = 1024


@pytest.fixture(scope="module")
def estimates() -> dict:
    """Estimates of the likelihood of one point by 1 and by 3 probes a step, each with many keys."""
    process = vp_linear()

    def found(count, probes):
        point = jnp.broadcast_to(jnp.array([0.5, 0.1]), (count, 2))
        arguments = {"steps": STEPS, "condition": jnp.full(count, -1), "key": jax.random.key(5), "probes": probes}
        return np.asarray(log_likelihood(mixture(process), process, point, **arguments), np.float64)

    return {None: found(64, None), 1: found(COUNT, 1), 3: found(COUNT, 3)}


@pytest.mark.parametrize("probes", [1, 3])
def test_probes_estimate_the_likelihood_without_bias(estimates, probes):
    found, exact = estimates[probes], estimates[None][0]
    assert abs(found.mean() - exact) < 4 * found.std(ddof=1) / COUNT**0.5
    assert found.std() > 0.01  # there is noise to average: the Jacobian is not diagonal


def test_the_variance_falls_with_the_probes_and_samples_are_independent(estimates):
    # the ratio of two sample variances of 1024 scatters by 6 %
    assert np.var(estimates[1]) / np.var(estimates[3]) == pytest.approx(3, rel=0.25)
    neighbours = np.corrcoef(estimates[1][:-1], estimates[1][1:])[0, 1]
    assert abs(neighbours) < 4 / COUNT**0.5


def test_an_estimate_is_a_function_of_key_and_index(estimates):
    process, chosen = vp_linear(), np.arange(64) * 7
    found = log_likelihood(
        mixture(process), process, jnp.broadcast_to(jnp.array([0.5, 0.1]), (64, 2)), key=jax.random.key(5), steps=STEPS,
        condition=jnp.full(64, -1), indices=chosen,
    )  # fmt: skip
    np.testing.assert_allclose(found, estimates[1][chosen], atol=1e-4)


def test_bits_per_dimension_are_those_of_bytes_spread_over_their_bins(rng):
    """Bytes of independent pixels N(centre, spread²): -log2 of their density, averaged over a bin around each byte."""
    process, shape, spread = vp_linear(), (256, 2, 2, 3), 1.5
    centre = np.linspace(80, 180, 12).reshape(shape[1:])
    images = np.rint(centre + spread * rng.standard_normal(shape)).astype(np.uint8)
    mean, std = jnp.float32(centre / 127.5 - 1).reshape(1, 1, 12), np.sqrt((spread / 127.5) ** 2 - levels(process)[0] ** 2)
    pixels = GaussianMixture(mean, jnp.full((1, 1), std), jnp.zeros((1, 1)), process)
    denoise = lambda x, t, condition: pixels(x.reshape(-1, 12), t, condition).reshape(x.shape)  # noqa: E731
    found = bits_per_dimension(
        denoise, process, images, key=jax.random.key(1), steps=STEPS, condition=jnp.zeros(256, jnp.int32)
    )
    truth = (-norm.logpdf(images, centre, spread).mean() + 1 / (24 * spread**2)) / np.log(2)
    # a pixel's u moves its value by 0.28 bits
    assert found.mean() == pytest.approx(truth, abs=4 * 0.28 / images.size**0.5)


@pytest.mark.parametrize(
    ("process", "spacing"),
    [(vp_linear(), "uniform"), (edm(), "karras"), (flow(), "log_snr")],
    ids=lambda each: getattr(each, "name", each),
)
def test_the_encoding_of_a_gaussian_is_its_linear_map(process, spacing, x0):
    solver = Heun(64, spacing=spacing)
    latent = encode(two_gaussians(process), process, jnp.float32(x0), solver=solver, condition=FIRST)
    t = solver.times(process)[0]
    truth = float(process.alpha(t)) * carried(x0, levels(process)[0], np.exp(-0.5 * float(process.log_snr(t))))
    # a step of log(sigma / alpha) is 0.17: what Heun's method leaves of a linear flow is some 0.17² / 6
    np.testing.assert_allclose(latent, truth, atol=0.01 * float(process.scale(t)))


@pytest.mark.parametrize(("solver", "returned"), [(DDIM, 1), (Heun, 3)], ids=["ddim", "heun"])
def test_encoding_is_of_the_order_of_the_solver_and_decoding_undoes_it(solver, returned, x0):
    """A step up leaves c h^(p + 1), the same step down c (-h)^(p + 1): for an even p they cancel, and return to order p + 1."""
    process, (low, high) = vp_linear(), levels(vp_linear())
    there, back = [], []
    for steps in (24, 48):
        arguments = {"solver": solver(steps, spacing="log_snr"), "condition": FIRST}
        latent = encode(two_gaussians(process), process, jnp.float32(x0), **arguments)
        truth = float(process.alpha(arguments["solver"].times(process)[0])) * carried(x0, low, high)
        there.append(np.sqrt(np.mean((latent - truth) ** 2)))
        latent = encode(mixture(process), process, jnp.float32(x0), **arguments)
        back.append(np.sqrt(np.mean((decode(mixture(process), process, latent, **arguments) - x0) ** 2)))
    assert np.log2(there[0] / there[1]) == pytest.approx(solver.order, abs=0.3)
    assert np.log2(back[0] / back[1]) == pytest.approx(returned, abs=0.3)


@pytest.mark.parametrize("solver", [pytest.param(DDIM, id="ddim"), pytest.param(Heun, id="heun", marks=pytest.mark.slow)])
def test_a_switched_encoding_takes_each_condition_on_its_side_of_the_breakpoint(solver, x0):
    process, (low, high) = vp_linear(), levels(vp_linear())
    at = np.float32(np.linspace(0.03, 0.9, 64))
    switched = guidance.switching(two_gaussians(process), jnp.asarray(at))
    arguments = {"solver": solver(128, spacing="log_snr"), "condition": (FIRST + 1, FIRST)}
    latent = encode(switched, process, jnp.float32(x0), **arguments)
    level = np.exp(-0.5 * np.asarray(process.log_snr(at), np.float64))[:, None]
    t = float(arguments["solver"].times(process)[0])
    truth = float(process.alpha(t)) * carried(carried(x0, low, level), level, high, label=1)
    np.testing.assert_allclose(latent, truth, atol=0.08 if solver is DDIM else 0.003)
    np.testing.assert_allclose(decode(switched, process, latent, **arguments), x0, atol=0.08 if solver is DDIM else 0.003)


def test_the_path_of_an_encoding_is_the_linear_map_up_to_each_of_its_nodes(x0):
    process, low = vp_linear(), levels(vp_linear())[0]
    arguments = {"solver": Heun(65, spacing="uniform"), "condition": FIRST, "strength": 0.605}
    times, states = encode(two_gaussians(process), process, jnp.float32(x0), path=True, **arguments)
    solver_times = np.asarray(arguments["solver"].times(process))
    first = np.argmin(np.abs(solver_times - 0.605))
    nodes = np.concatenate([[float(process.time(-2 * np.log(low)))], solver_times[-2:first:-1], np.float32([0.605])])
    np.testing.assert_allclose(times, np.broadcast_to(nodes[:, None], (len(nodes), 64)), rtol=1e-6)
    assert len(nodes) - 1 == steps_from(process, arguments["solver"], 0.605) == 39
    truth = [float(process.alpha(t)) * carried(x0, low, np.exp(-0.5 * float(process.log_snr(t)))) for t in nodes]
    np.testing.assert_allclose(states, truth, atol=0.02)
    np.testing.assert_array_equal(encode(two_gaussians(process), process, jnp.float32(x0), **arguments), states[-1])


def test_an_encoding_on_stable_diffusion_s_grid_starts_at_its_first_timestep(x0):
    """For a constant posterior mean m each step keeps eps = (x - alpha m) / sigma, so that the way is exact both ways."""
    process, solver, mean = ddpm("scaled_linear"), DDIM(20, spacing="leading", offset=1, end="timestep"), 0.3
    constant = lambda x, t, condition: jnp.full_like(x, mean)  # noqa: E731
    times = np.float32([952, 1]) / 1000
    alpha, sigma = (np.asarray(value, np.float64) for value in (process.alpha(times), process.sigma(times)))
    latent = encode(constant, process, jnp.float32(x0), solver=solver)
    np.testing.assert_allclose(latent, alpha[0] * mean + sigma[0] * (x0 - alpha[1] * mean) / sigma[1], rtol=1e-4)
    np.testing.assert_allclose(decode(constant, process, latent, solver=solver), x0, atol=1e-5)


def test_a_part_of_the_way_leads_back_to_where_it_began(x0):
    """To order 3 as the whole way does: were the two ways to end on different times, no number of steps would mend it."""
    process, errors = vp_linear(), []
    for steps in (24, 48):
        arguments = {"solver": Heun(steps, spacing="log_snr"), "condition": FIRST, "strength": 0.437}
        latent = encode(mixture(process), process, jnp.float32(x0), **arguments)
        assert np.abs(latent - x0).max() > 0.5
        errors.append(np.sqrt(np.mean((decode(mixture(process), process, latent, **arguments) - x0) ** 2)))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize(
    ("strength", "spacing", "steps"),
    [
        (1.0, "uniform", 10),
        (0.8, "uniform", 8),
        (0.76, "uniform", 8),
        (0.74, "uniform", 7),
        (0.001, "uniform", 1),
        (1.0, "log_snr", 10),
        (0.995, "log_snr", 10),  # above its first node, of a noise level of 80
    ],
)
def test_the_steps_from_a_time_are_those_of_the_nearest_node(strength, spacing, steps):
    assert steps_from(vp_cosine(), DDIM(10, spacing=spacing), strength) == steps


def test_decoding_from_an_intermediate_node_continues_as_sampling_does(key):
    process, solver, condition = vp_linear(), DDIM(8), FIRST - 1
    path = sample(mixture(process), process, shape=(2,), solver=solver, key=key, condition=condition, path=True)
    found = decode(mixture(process), process, path[3], solver=solver, condition=condition, strength=0.625)
    np.testing.assert_allclose(found, path[-1], atol=1e-6)


def test_decoding_continues_as_sampling_does(key):
    process, solver, condition = vp_linear(), DPMSolver(8), FIRST - 1
    path = sample(mixture(process), process, shape=(2,), solver=solver, key=key, condition=condition, path=True)
    found = decode(mixture(process), process, path[0], solver=solver, condition=condition)
    np.testing.assert_allclose(found, path[-1], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, run: encode(*run, x, solver=DDIM(8, eta=0.5)), "`solver`.*eta 0.*eta=0.5"),
        (lambda x, run: encode(*run, x, solver=DDIM(8, clip=(-1.0, 1.0))), "`solver`.*no clip.*clip="),
        (lambda x, run: encode(*run, x, solver=Heun(8, churn=1.0)), "`solver`.*churn 0.*churn=1.0"),
        (lambda x, run: encode(*run, x, solver=DPMSolver(8)), "`solver`.*ddim.*heun.*DPMSolver"),
        (lambda x, run: encode(*run, x, solver=DDIM(8), condition=jnp.zeros(3)), "`condition`.*64.*3"),
        (
            lambda x, run: encode(guidance.switching(run[0], 0.5), run[1], x, solver=DDIM(1)),
            "must be at least 2 for 1 breakpoints",
        ),
        (lambda x, run: encode(*run, x, solver=DDIM(8), strength=0.0), r"`strength`.*\(0, 1\].*0.0"),
        (lambda x, run: decode(*run, x, solver=DDIM(8), strength=1.01), r"`strength`.*\(0, 1\].*1.01"),
        (lambda x, run: decode(*run, x, solver=EulerMaruyama(8)), "`solver`.*deterministic.*EulerMaruyama"),
        (lambda x, run: decode(*run, x, solver=DDIM(8), condition=jnp.zeros(())), "`condition`.*64"),
        (lambda x, run: log_likelihood(*run, x), "`probes`.*1.*`key`.*None"),
        (lambda x, run: log_likelihood(*run, x, key=jax.random.key(0), probes=0), "`probes`.*at least 1.*0"),
        (lambda x, run: log_likelihood(*run, x, probes=None, steps=0), "`steps`.*0"),
        (lambda x, run: log_likelihood(*run, x, key=jax.random.key(0), indices=[1, 2]), "`indices`.*64.*2"),
        (lambda x, run: log_likelihood(*run, x, probes=None, condition=jnp.zeros(3)), "`condition`.*64.*3"),
    ],
)
def test_impossible_runs_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(jnp.zeros((64, 2)), (lambda x, t, condition: x, vp_linear()))
