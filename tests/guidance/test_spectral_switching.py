"""Bands, and switching band by band: closed forms, exact edges, what it costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from jaxdiff import guidance
from jaxdiff.bands import Bands, cosine_basis, frequency_bands, principal_bands, within_group_components
from jaxdiff.denoiser import NetworkDenoiser, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import unet
from jaxdiff.process import vp_cosine, vp_linear
from jaxdiff.solvers import DDIM, DPMSolver, Heun, PredictorCorrector, sample
from jaxdiff.solvers.driver import _sample, sample_grid

N = 6
SHAPE = (8, 8, 3)
BANDS = frequency_bands(SHAPE, (1.5, 3.5))


# --- bands ---


def made_bands(rng) -> dict[str, Bands]:
    """Bands of every kind, of images of one shape."""
    images, labels = rng.integers(0, 256, (60, *SHAPE), dtype=np.uint8), np.arange(60) % 2
    return {
        "frequency": BANDS,
        "principal": principal_bands(images, labels, (5, 40)),
        "series": frequency_bands((64, 3), (2, 9)),
    }


@pytest.mark.parametrize("kind", ["frequency", "principal", "series"])
def test_bands_are_orthogonal_parts_that_sum_to_the_whole(kind, rng):
    bands = made_bands(rng)[kind]
    x = jnp.asarray(rng.standard_normal((4, 64, 3) if kind == "series" else (4, *SHAPE)), jnp.float32)
    parts = bands.split(x)
    np.testing.assert_allclose(parts.sum(0), x, atol=1e-5)
    flat = np.asarray(parts, np.float64).reshape(3, 4, -1)
    for sample_parts in flat.transpose(1, 0, 2):
        gram = sample_parts @ sample_parts.T
        np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-4)
    np.testing.assert_allclose(bands.norms(x), np.linalg.norm(flat, axis=-1), rtol=1e-5)
    for k, part in enumerate(parts):  # a projection: what is in a band is wholly in it
        np.testing.assert_allclose(bands.split(part)[k], part, atol=1e-5)


def test_frequencies_are_the_orthonormal_cosine_transform(rng):
    np.testing.assert_allclose(cosine_basis(7), scipy.fft.dct(np.eye(7), axis=0, norm="ortho"), atol=1e-12)
    x = rng.standard_normal((2, *SHAPE))
    expected = scipy.fft.dctn(x, axes=(1, 2), norm="ortho")
    np.testing.assert_allclose(BANDS.coefficients(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)
    radius = np.hypot(*np.meshgrid(np.arange(8), np.arange(8)))
    np.testing.assert_array_equal(BANDS.band[..., 1], np.where(radius < 1.5, 0, np.where(radius < 3.5, 1, 2)))


def test_principal_components_are_those_of_the_covariance_within_groups(rng):
    """Two groups far apart: the direction between them counts for nothing."""
    stds, labels = np.array([0.3, 3.0, 1.0, 2.0]), np.repeat([0, 1], [3000, 5000])
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    values = (rng.standard_normal((8000, 4)) * stds + 20 * labels[:, None]) @ turn
    variances, directions = within_group_components(values, labels)
    np.testing.assert_allclose(variances, [9, 4, 1, 0.09], rtol=0.05)
    np.testing.assert_allclose(np.abs(directions @ turn.T), np.eye(4)[[1, 3, 2, 0]], atol=0.05)
    bands = principal_bands(values.reshape(-1, 2, 2, 1), labels, (1, 2))
    np.testing.assert_array_equal(bands.band, [0, 1, 1, 2])
    np.testing.assert_allclose(bands.factors[0], directions, atol=1e-6)


@pytest.mark.parametrize("edges", [(0.0,), (3.0, 1.0), (1.2, 1.3), (20.0,)])
def test_empty_bands_are_refused(edges, rng):
    with pytest.raises(InputError, match="`edges` must increase and leave no band empty"):
        frequency_bands(SHAPE, edges)
    with pytest.raises(InputError, match="at least one axis before its channels"):
        frequency_bands((8,), (1.0,))
    for counts in ((0, 3), (5, 4), (16,)):
        with pytest.raises(InputError, match="`counts` must leave no band of the 8 components empty"):
            principal_bands(rng.standard_normal((9, 2, 2, 2)), np.arange(9) % 2, counts)
    with pytest.raises(InputError, match="at least two images"):
        principal_bands(rng.standard_normal((3, 2, 2, 2)), np.array([0, 0, 1]), (1,))


# --- closed forms: groups that differ by a shift, of one covariance that is diagonal in the basis ---

STDS = np.array([1.6, 0.7, 0.25])  # of the coefficients of each band
SMALL, COSINE = (4, 4, 1), vp_cosine()
SMALL_BANDS = frequency_bands(SMALL, (1.5, 3.0))


def shifted(process, means):
    """The exact denoiser of N(means[c], diag(STDS²)) over the coefficients of `SMALL_BANDS`."""

    def denoise(x, t, condition):
        mean, spread = jnp.asarray(means, jnp.float32)[condition], jnp.asarray(STDS, jnp.float32)[SMALL_BANDS.band]
        alpha, sigma = (jnp.reshape(part, (-1, 1, 1, 1)) for part in (process.alpha(t), process.sigma(t)))
        gain = alpha * spread**2 / (alpha**2 * spread**2 + sigma**2)
        return SMALL_BANDS.assembled(mean + gain * (SMALL_BANDS.coefficients(x) - alpha * mean), SMALL)

    return denoise


def kappa(process, t, std):
    """The share of the start's mean in the switched output, c sqrt(abar / (abar c² + 1 - abar))."""
    alpha, sigma = (np.asarray(part, np.float64) for part in (process.alpha(t), process.sigma(t)))
    return std * alpha / np.sqrt(alpha**2 * std**2 + sigma**2)


def fair_points(process) -> np.ndarray:
    """SNR(tau_k) = 1 / (3 c_k²)."""
    return np.asarray(process.time(np.log(1 / (3 * STDS**2)).astype(np.float32)))


def both_ways(guided, process, solver, key, n=4):
    """Coefficients of the outputs switched in either direction, of the same noises."""
    ends = jnp.repeat(jnp.arange(2), n)
    x = sample(
        guided, process, shape=SMALL, solver=solver, key=key, condition=(1 - ends, ends), indices=np.tile(np.arange(n), 2)
    )
    flat = np.asarray(SMALL_BANDS.coefficients(x), np.float64).reshape(2, n, -1)
    return flat[1], flat[0]


@pytest.mark.parametrize(
    ("process", "solver"),
    [
        pytest.param(COSINE, DDIM(1500), id="cosine, ddim", marks=pytest.mark.slow),
        pytest.param(COSINE, DPMSolver(200, spacing="uniform"), id="cosine, dpm_solver"),
        pytest.param(vp_linear(), DDIM(1500), id="linear, ddim"),
    ],
)
def test_each_band_follows_its_own_closed_form(process, solver, key, rng):
    """Band k's difference of the switched outputs is (mu_1 - mu_0)_k (1 - 2 kappa_k(tau_k)), whatever the other bands do."""
    means = rng.standard_normal((2, *SMALL))
    band, apart = np.asarray(SMALL_BANDS.band).reshape(-1), (means[1] - means[0]).reshape(-1)
    for taus in ([0.9, 0.5, 0.2], [0.3, 0.8, 0.4]):
        guided = guidance.spectral_switching(shifted(process, means), SMALL_BANDS, taus)
        first, second = both_ways(guided, process, solver, key)
        left = apart * (1 - 2 * np.array([kappa(process, t, c) for t, c in zip(taus, STDS, strict=True)]))[band]
        np.testing.assert_allclose(first - second, np.broadcast_to(left, first.shape), atol=0.02)


def test_the_fair_points_make_both_directions_equal_which_no_single_point_does(key, rng):
    """Equal for every noise, so equal in distribution, in every direction at once."""
    means = rng.standard_normal((2, *SMALL))
    band, apart = np.asarray(SMALL_BANDS.band).reshape(-1), (means[1] - means[0]).reshape(-1)
    denoise, solver = shifted(COSINE, means), DPMSolver(200, spacing="uniform")
    size = np.linalg.norm(apart)

    first, second = both_ways(guidance.spectral_switching(denoise, SMALL_BANDS, fair_points(COSINE)), COSINE, solver, key)
    assert np.linalg.norm(first - second, axis=1).max() < 0.005 * size

    taus = np.linspace(0, 1, 401)
    left = [np.linalg.norm(apart * (1 - 2 * kappa(COSINE, t, STDS[band]))) / size for t in taus]
    best = int(np.argmin(left))
    assert left[best] > 0.4  # the best single point leaves this much of the distance between the groups
    first, second = both_ways(guidance.switching(denoise, taus[best]), COSINE, solver, key)
    np.testing.assert_allclose(np.linalg.norm(first - second, axis=1) / size, left[best], atol=0.01)


# --- exact edges ---


@pytest.fixture(scope="module")
def network() -> NetworkDenoiser:
    """An untrained UNet whose output is not zero."""
    config = UNetConfig(
        size=8, values=(2,), base=16, multipliers=(1,), blocks=0, attention=(4,), head_channels=16, dropout=0.0, stem=2
    )
    made = jax.jit(lambda key: unet(config, key))(jax.random.key(5))
    rng = np.random.default_rng(5)
    weights = jax.tree.map(lambda w: w + 0.05 * rng.standard_normal(w.shape, np.float32), made.weights)
    return guidance.clipped(NetworkDenoiser(type(made)(weights, made.structure), COSINE, "v"))


SIX = DDIM(6)


def drawn(denoise, key, condition, solver=SIX):
    """Samples of the small network."""
    return np.asarray(sample(denoise, COSINE, shape=SHAPE, solver=solver, key=key, condition=condition))


# a multistep update is a sum of several products, whose multiply-adds the compiler contracts as it likes round a branch
@pytest.mark.parametrize(
    "solver, rounding",
    [
        pytest.param(DDIM(6), 0.0, marks=pytest.mark.bits, id="ddim"),
        pytest.param(DPMSolver(6, spacing="uniform"), 3e-6, id="dpm_solver"),
    ],
)
def test_where_bands_agree_it_is_switching_bit_for_bit(network, key, solver, rounding):
    """The wrong grid would show, since a point that all share moves one node, not three; at 0 and 1 switching is the plain
    sampler bit for bit, see test_switching.py.
    """
    start, end = jnp.zeros(N, jnp.int32), jnp.ones(N, jnp.int32)
    spectral = lambda at: drawn(guidance.spectral_switching(network, BANDS, at), key, (start, end), solver)  # noqa: E731
    switched = {at: drawn(guidance.switching(network, at), key, (start, end), solver) for at in (0.0, 0.43, 1.0)}
    for at, expected in switched.items():
        np.testing.assert_allclose(spectral([at] * 3), expected, rtol=0, atol=rounding)
    assert np.abs(spectral([0.43, 0.43, 0.3]) - switched[0.43]).max() > 1e-3


def test_each_sample_may_have_points_of_its_own(network, key):
    """Some agree, some do not: each is what it is alone."""
    start, end = jnp.asarray([0, 1, 0, 1, 0, 1]), jnp.asarray([1, 0, 1, 0, 0, 1])
    taus = np.array([[0, 0, 0], [1, 1, 1], [0.4, 0.4, 0.4], [0.8, 0.5, 0.2], [0.2, 0.6, 0.6], [1, 0.5, 0]], np.float32)
    together = drawn(guidance.spectral_switching(network, BANDS, taus), key, (start, end))
    for i in range(N):
        alone = drawn(guidance.spectral_switching(network, BANDS, np.tile(taus[i], (N, 1))), key, (start, end))
        np.testing.assert_allclose(together[i], alone[i], atol=2e-5)


def test_a_band_switches_exactly_at_its_point():
    seen = lambda x, t, condition: jnp.broadcast_to(condition[:, None, None, None], x.shape)  # noqa: E731
    bands = Bands((), jnp.arange(4).reshape(1, 4, 1) // 2, 2)  # columns of pixels
    x, condition = jnp.zeros((3, 1, 4, 1)), (jnp.zeros(3), jnp.ones(3))
    guided = guidance.spectral_switching(seen, bands, [0.7, 0.4])
    t = jnp.asarray([0.7001, 0.5, 0.4])
    np.testing.assert_array_equal(guided(x, t, condition)[..., 0, :, 0], [[0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]])


def test_points_and_conditions_compile_nothing(network, key):
    ends = jnp.asarray([0, 1] * 3)
    run = lambda taus, ends: drawn(guidance.spectral_switching(network, BANDS, taus), key, (1 - ends, ends))  # noqa: E731
    first = run([0.8, 0.5, 0.3], ends)
    programs = _sample._cache_size()
    others = [run([0.7, 0.5, 0.3], ends), run([0.2, 0.2, 0.9], ends), run([0.8, 0.5, 0.3], 1 - ends)]
    assert _sample._cache_size() == programs
    assert all(not np.array_equal(first, other) for other in others)


# --- the grid, and what it costs ---


def test_a_point_that_bands_share_is_one_breakpoint():
    guided = guidance.spectral_switching(lambda x, t, c: x, BANDS, np.array([[0.4, 0.4, 0.4], [0.7, 0.3, 0.7]]))
    np.testing.assert_allclose(breakpoints(guidance.clipped(guided)), [[0.4, 0.7], [0, 0.3], [0, 0]])
    grid = sample_grid(guided, COSINE, DDIM(5), 2)
    np.testing.assert_allclose(grid.times, np.array([[1, 0.8, 0.6, 0.4, 0.2, 0], [1, 0.8, 0.7, 0.3, 0.2, 0]]).T, atol=1e-6)
    np.testing.assert_array_equal(grid.restarts.sum(0), [1, 2])


@pytest.mark.parametrize(
    "solver",
    [
        pytest.param(DDIM(9), id="ddim"),
        pytest.param(DPMSolver(9, spacing="uniform"), id="dpm_solver", marks=pytest.mark.slow),
        pytest.param(Heun(9, spacing="uniform"), id="heun"),
        pytest.param(PredictorCorrector(9), id="predictor_corrector", marks=pytest.mark.slow),
    ],
)
def test_a_second_evaluation_is_paid_only_while_bands_disagree(solver, key):
    """Rows counted at run time, by a callback in the denoiser."""
    rows = []

    def counting(x, t, condition):
        jax.debug.callback(lambda _: rows.append(len(x)), t[0])
        return 0.1 * x + condition[:, None, None, None]

    for taus, disagree in (([0.6, 0.6, 0.6], 0), ([0.31, 0.6, 0.31], None), ([[0.6] * 3, [0.9, 0.9, 0.1]], None)):
        rows.clear()
        guided = guidance.spectral_switching(counting, BANDS, taus)
        jax.block_until_ready(
            sample(guided, COSINE, shape=SHAPE, solver=solver, key=key, condition=(jnp.zeros(2), jnp.ones(2)))
        )
        jax.effects_barrier()
        counted = int(guided.evaluations(solver, sample_grid(guided, COSINE, solver, 2).times))
        assert sum(rows) == 2 * counted
        assert solver.evaluations <= counted < 2 * solver.evaluations
        assert (counted == solver.evaluations) == (disagree == 0)


def test_the_grid_needs_more_steps_than_bands(network, key):
    guided = guidance.spectral_switching(network, BANDS, [0.8, 0.5, 0.3])
    with pytest.raises(InputError, match="must be at least 4 for 3 breakpoints"):
        drawn(guided, key, (jnp.zeros(N, jnp.int32), jnp.ones(N, jnp.int32)), DDIM(3))


@pytest.mark.parametrize("at", [[0.5, 0.4], [0.5, 0.4, 1.1], [0.1, np.nan, 0.3], 0.5, [[[0.1, 0.2, 0.3]]]])
def test_points_outside_the_axis_or_of_another_number_are_refused(at):
    with pytest.raises(InputError, match="`at` must be a time in .0, 1. for each of the 3 bands"):
        guidance.spectral_switching(lambda x, t, c: x, BANDS, at)


def test_a_stateful_guidance_must_be_outside():
    inside = guidance.semantic(lambda x, t, c: x, COSINE, 0, strengths=np.ones(1))
    with pytest.raises(InputError, match="put it outside"):
        guidance.spectral_switching(guidance.clipped(inside), BANDS, [0.5, 0.4, 0.3])
