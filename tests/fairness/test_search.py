"""The search for tau: closed forms, an independent prefix sum, and what it costs."""

import dataclasses
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.fairness import features, search, search_direct, search_prefix, whitening
from jaxdiff.fairness.energy import energy_distance
from jaxdiff.fairness.transition import Transition, time_fields
from jaxdiff.process import Process, ddpm, edm, vp_linear
from jaxdiff.solvers import DDIM, sample
from jaxdiff.solvers.driver import sample_keys, starts

CLASSES, COMPONENTS, DIMENSION, BATCH = 2, 3, 8, 64
# One shape for all: a search is compiled for shapes, solver and mode, and never for numbers.
DIRECT = {"conditions": (0, 1), "shape": (DIMENSION,), "solver": DDIM(60), "batch": BATCH}
PREFIX = {"conditions": (0, 1), "shape": (DIMENSION,), "solver": DDIM(250), "batch": BATCH}
COSINE = ddpm("cosine")


def gaussians(process, std, mean=1.5) -> GaussianMixture:
    """Two Gaussians of one covariance that differ by a shift, each as components that coincide."""
    means = np.full((CLASSES, COMPONENTS, DIMENSION), 0.2, np.float32)
    means[:, :, 0] = [[-mean], [mean]]
    return GaussianMixture(jnp.asarray(means), jnp.full((CLASSES, COMPONENTS), std), jnp.zeros((CLASSES, COMPONENTS)), process)


def modes(std=0.25) -> GaussianMixture:
    """Two classes of several modes that differ by a shift, and a little in the modes' places and weights."""
    rng = np.random.default_rng(2)
    means = rng.standard_normal((COMPONENTS, DIMENSION)) + 0.3 * rng.standard_normal((CLASSES, COMPONENTS, DIMENSION))
    means[:, :, 0] += [[-1.0], [1.0]]
    weights = 0.5 * rng.standard_normal((CLASSES, COMPONENTS))
    stds = jnp.full((CLASSES, COMPONENTS), std)
    return GaussianMixture(jnp.asarray(means, jnp.float32), stds, jnp.asarray(weights, jnp.float32), COSINE)


MIXTURE = modes()


# --- closed forms (two Gaussians of one covariance) ---


processes = pytest.mark.parametrize(
    "process", [pytest.param(vp_linear(), id="vp_linear", marks=pytest.mark.slow), pytest.param(COSINE, id=COSINE.name)]
)


@processes
def test_the_direct_search_finds_the_exact_point(process, key):
    """kappa = c sqrt(abar / v) = 1/2, so SNR(tau) = 1 / (3 c²)."""
    for std in (3.0, 1.0, 0.7, 0.5, 0.25):
        found, finer = (
            search_direct(gaussians(process, std), process, **DIRECT, key=key, **more) for more in ({}, {"coarse": 23})
        )
        for each in (found, finer):
            assert each.tau == pytest.approx(float(process.time(math.log(1 / (3 * std**2)))), abs=0.02)
            assert each.snr == pytest.approx(float(process.snr(each.tau)))
            assert each.timestep == round(1000 * each.tau)
        # the difference is 0 at the exact point: what is left is the slope there times the parabola's error, which is 0.06 at
        # the default's spacing of 1/12 where the curve bends most
        assert finer.residual < 0.05
        # the default asks the known end, its grid, and one point more
        grid = sorted(set(found.taus) - {found.tau})
        np.testing.assert_allclose(grid, np.arange(12) / 12, atol=1e-6)
        # which is nearer to the best than to any other
        assert abs(found.tau - grid[np.argmin([found.curve[found.taus.index(tau)] for tau in grid])]) < 0.5 / 12


@processes
def test_the_theorems_point_on_a_shared_path_has_its_closed_form(process, key):
    """The integral of beta / sigma (eps_0 - eps_1) is halved where abar = 1 / (1 + c)²: the exact point for c = 1 alone."""
    for std in (1.0, 0.5):
        found = search_prefix(gaussians(process, std), process, **PREFIX, key=key)
        abar = 1 / (1 + std) ** 2
        assert found.tau == pytest.approx(float(process.time(math.log(abar / (1 - abar)))), abs=0.02)
        # a difference that is one number times mu_0 - mu_1 is halved exactly, up to the candidates' spacing
        assert found.residual < 0.05


def test_the_own_path_carries_no_information_about_a_shift(key):
    """eps along its own path is a function of x_1 - alpha(1) mu_s: the two differ by alpha(1) (mu_0 - mu_1) alone."""
    exact = gaussians(COSINE, 0.5)
    own, shared = (search_prefix(exact, COSINE, **PREFIX, key=key, path=path) for path in ("own", "shared"))
    assert max(own.curve) < 0.03 * max(shared.curve)
    assert abs(own.tau - float(COSINE.time(math.log(1 / (3 * 0.5**2))))) > 0.2


# --- the prefix criterion, written again from its formula ---


def written_again(exact: GaussianMixture, noise, steps, path, weight, norm, drop_first):
    """Every D is stored, every candidate is a sum of its own, in float64: (tau, curve), tau rising."""
    means, stds, log_weights = (np.asarray(part, np.float64) for part in (exact.means, exact.stds, exact.log_weights))
    cosine = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    abar = np.concatenate([[1.0], np.cumprod(1 - np.minimum(1 - cosine[1:] / cosine[:-1], 0.999))])
    nodes = abar[np.linspace(1000, 0, steps + 1).round().astype(int)]

    def eps_of(x, a, label):
        spread = a * stds[label] ** 2 + 1 - a
        offset = x[:, None] - np.sqrt(a) * means[label]
        logits = log_weights[label] - 0.5 * (offset**2).sum(-1) / spread - 0.5 * x.shape[1] * np.log(spread)
        share = np.exp(logits - logits.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        return np.sqrt(1 - a) * (share[..., None] * offset / spread[:, None]).sum(1)

    def step(x, eps, a, a_next):
        return np.sqrt(a_next) * (x - np.sqrt(1 - a) * eps) / np.sqrt(a) + np.sqrt(1 - a_next) * eps

    paths, differences = [noise.copy(), noise.copy()], []
    for i, (a, a_next) in enumerate(zip(nodes[:-1], nodes[1:], strict=True)):
        own = [eps_of(paths[label], a, label) for label in (0, 1)]
        if path == "own":
            difference = own[0] - own[1]
        else:
            difference = np.concatenate([own[0] - eps_of(paths[0], a, 1), eps_of(paths[1], a, 0) - own[1]])
        factor = 1 - a / a_next
        if weight == "g2_score":
            factor /= np.sqrt(1 - a)
        differences.append(np.zeros_like(difference) if drop_first and i == 0 else factor * difference)
        paths = [step(paths[label], own[label], a, a_next) for label in (0, 1)]

    taus, curve = [], []
    for done in range(steps, -1, -1):
        balance = sum(differences[:done], np.zeros_like(difference)) - sum(differences[done:], np.zeros_like(difference))
        taus.append(1 - done / steps)
        curve.append(np.sqrt((balance**2).sum(0 if norm == "batch" else 1)).mean())
    return np.array(taus), np.array(curve)


@pytest.mark.parametrize(
    ("path", "weight", "norm", "drop_first"),
    [
        ("own", "beta_eps", "batch", True),
        ("own", "beta_eps", "batch", False),
        ("own", "g2_score", "sample", True),
        ("shared", "beta_eps", "batch", True),
        ("shared", "g2_score", "sample", True),
    ],
)
def test_the_prefix_search_is_the_criterion_summed_by_hand(path, weight, norm, drop_first, key):
    arguments = {**PREFIX, "key": key, "path": path, "weight": weight, "norm": norm, "drop_first": drop_first}
    found = search_prefix(MIXTURE, COSINE, **arguments)
    noise = starts(COSINE, sample_keys(key, jnp.arange(BATCH)), (DIMENSION,), None)[0]
    taus, curve = written_again(MIXTURE, np.asarray(noise, np.float64), 250, path, weight, norm, drop_first)
    # of 251 nodes 101 are candidates, the ends among them
    assert len(found.taus) == 101 and np.all(np.diff(found.taus) > 0)
    assert (found.taus[0], found.taus[-1]) == (0, 1)
    candidates = np.searchsorted(taus, np.array(found.taus) - 1e-4)
    np.testing.assert_allclose(found.taus, taus[candidates], atol=1e-6)
    np.testing.assert_allclose(found.curve, curve[candidates], rtol=2e-3)
    assert found.tau == found.taus[curve[candidates].argmin()]
    assert found.residual == pytest.approx(curve[candidates].min() / curve[0], rel=2e-3)
    # before the first step and after the last, the whole sum is on one side
    assert found.curve[0] == pytest.approx(found.curve[-1], rel=1e-6)

    # D changes its sign with the order of the pair, and nothing else does
    turned = search_prefix(MIXTURE, COSINE, **{**arguments, "conditions": (1, 0)})
    assert turned.tau == found.tau
    np.testing.assert_allclose(turned.curve, found.curve, rtol=1e-4)


# --- the direct search ---


def switched(denoise, taus, solver, key, indices):
    """Samples that were switched at each tau in both directions, (taus, 2, n, D)."""
    n = len(indices) // 2
    ends = np.tile(np.repeat([0, 1], n), len(taus))
    x = sample(
        guidance.switching(denoise, np.repeat(taus, 2 * n)), COSINE, shape=(DIMENSION,), solver=solver, key=key,
        condition=(jnp.asarray(1 - ends), jnp.asarray(ends)), indices=np.tile(indices, len(taus)),
    )  # fmt: skip
    return np.asarray(x).reshape(len(taus), 2, n, DIMENSION)


def test_the_direct_search_minimises_the_energy_distance(key):
    """Against a sweep of sets whose two directions share no noise."""
    found = search_direct(MIXTURE, COSINE, **DIRECT, key=key)
    taus = np.arange(0.05, 0.8, 0.05)
    sets = switched(MIXTURE, taus, DIRECT["solver"], jax.random.key(7), np.arange(1000))
    distances = np.array([energy_distance(first, second) for first, second in sets])
    best = distances.argmin()
    assert 0 < best < len(taus) - 1
    assert found.tau == pytest.approx(taus[best], abs=0.06)
    assert distances[best] < 0.3 * distances.max()


def test_the_direct_search_does_not_depend_on_the_order_of_the_pair(key):
    one, other = (search_direct(MIXTURE, COSINE, **{**DIRECT, "conditions": pair}, key=key) for pair in ((0, 1), (1, 0)))
    assert (one.tau, one.taus, one.curve) == (other.tau, other.taus, other.curve)


def test_a_guidance_without_effect_changes_no_search(key):
    found, inside = (search_direct(each, COSINE, **DIRECT, key=key) for each in (MIXTURE, guidance.clipped(MIXTURE, -1e9, 1e9)))
    assert inside.tau == pytest.approx(found.tau, abs=1e-4)
    np.testing.assert_allclose(inside.curve, found.curve, rtol=1e-3)


def test_both_directions_of_the_direct_search_share_all_their_noise(key):
    """Between a class and itself nothing differs, at any tau; between two, `sample` turns the same noise into the same."""

    def denoise(x, t, condition):
        return jnp.tanh(x + condition[:, None])

    arguments = {**DIRECT, "solver": DDIM(60, eta=1.0), "key": key}
    same = search_direct(denoise, COSINE, **{**arguments, "conditions": (1, 1)})
    assert max(same.curve) == same.residual == 0
    found = search_direct(denoise, COSINE, **arguments)
    sets = switched(denoise, np.float32(found.taus), arguments["solver"], key, np.tile(np.arange(BATCH), 2))
    distances = np.sqrt(np.square(sets[:, 0] - sets[:, 1]).sum(-1).mean(-1))
    np.testing.assert_allclose(found.curve, distances, rtol=1e-3, atol=1e-4)


# --- the parabola ---

NOISY, RAMP = slice(2, DIMENSION), {**DIRECT, "solver": DDIM(3)}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Drifting:
    """A denoiser whose switched outputs are known exactly, in however few steps, for alpha = 1.

    Coordinate 0 holds noise of +-1/2 of sigma, whatever x is. DDIM sums up the levels that it is under each condition, so that
    the outputs of one noise switched from 0 to 1 and from 1 to 0 differ by 1 - 2 sigma(tau). Coordinate 1 ends as the sign of
    the end: it differs by 2, and by -2 where nothing is switched. The others keep their noise.
    """

    process: Process

    def __call__(self, x, t, condition):
        sign = 2.0 * condition - 1
        drifts = x[:, 0] - 0.5 * sign * jnp.broadcast_to(self.process.sigma(t), sign.shape)
        return jnp.concatenate([jnp.stack([drifts, sign], 1), x[:, NOISY]], 1)


def ramp(rho: float) -> Process:
    """sigma(t) = t^rho, all but."""
    return edm(1e-9, 1.0, rho)


def drifted(shift, x):
    """Differs by 1 - 2 sigma(tau) - shift between the switched outputs, and by 1 + shift between those that are not."""
    return x[:, 0] - 0.5 * shift * x[:, 1]


def noisily_drifted(shift, x):
    """As `drifted` in three coordinates, each in a noise's own measure and off by a noise of its own."""
    slope, off = 1 + jnp.square(x[:, 2:5]), x[:, 5:8]
    return slope * drifted(shift, x)[:, None] - 0.5 * x[:, 1:2] * off


def search_drifting(process, key, looks=drifted, shift=0.0, **more):
    looks = jax.tree_util.Partial(looks, jnp.float32(shift))
    return search_direct(Drifting(process), process, **{**RAMP, **more}, key=key, features=looks)


@pytest.mark.parametrize("shift", [0.4, 0.05, -0.5, -0.8])
def test_differences_that_are_linear_in_tau_are_solved_exactly(shift):
    """Of a_i + b_i tau the mean square is least at -sum(a b) / sum(b²), whatever the noise; -0.8 takes the known end at 1."""
    process = ramp(1.0)
    for seed in range(5):
        key = jax.random.key(seed)
        found = search_drifting(process, key, noisily_drifted, shift)
        noise = np.asarray(starts(process, sample_keys(key, jnp.arange(BATCH)), (DIMENSION,), None)[0], np.float64)
        slope, off = 1 + noise[:, 2:5] ** 2, noise[:, 5:8]
        offset = slope * (1 - shift) - off
        exact = (slope * offset).sum() / (2 * (slope**2).sum())
        assert found.tau == pytest.approx(exact, abs=1e-5)
        left = np.sqrt(np.square(offset - 2 * slope * exact).sum(1).mean())
        unswitched = np.sqrt(np.square(slope * (1 + shift) + off).sum(1).mean())
        assert found.residual == pytest.approx(left / unswitched, rel=1e-4)


def test_the_parabolas_error_falls_as_the_square_of_the_spacing(key):
    """Of x² + c x³ the parabola through p - h, p and p + h, |p| <= h/2, has its vertex off by c (3 p² - h²) / 2, and more of
    higher order: between 1/8 and 1/2 of |c| h². The square of 1 - 2 t³ has c = 2 / t where it is 0."""
    process = ramp(3.0)
    exact = float(process.time(2 * math.log(2)))
    for coarse in (7, 31):
        found = search_drifting(process, key, coarse=coarse)
        assert 1 / 9 < abs(found.tau - exact) * (coarse + 1) ** 2 * exact / 2 < 5 / 9


@pytest.mark.parametrize(("rho", "cell"), [(0.3, 0), (7.0, 10)])
def test_next_to_an_end_the_parabola_uses_its_known_value(rho, cell, key):
    """In the first cell and in the last: without a switch the outputs differ by 1."""
    process = ramp(rho)
    found = search_drifting(process, key)
    squares = np.square(1 - 2 * np.asarray(process.sigma(np.float32(np.arange(13) / 12)), np.float64))
    squares[[0, 12]] = 1
    around = slice(cell, cell + 3)
    bend, slope, _ = np.polyfit(np.arange(13)[around] / 12, squares[around], 2)
    assert squares.argmin() == cell + 1
    assert found.tau == pytest.approx(-slope / (2 * bend), abs=1e-5)
    assert found.residual == pytest.approx(abs(1 - 2 * float(process.sigma(found.tau))), abs=1e-5)


def test_where_no_point_is_closer_than_not_switching_tau_is_0(key):
    """The outputs differ by 3 - 2 tau, and by 1 at the ends."""
    found = search_drifting(ramp(1.0), key, shift=-2.0)
    assert (found.tau, found.residual, found.snr) == (0, 1, None)
    np.testing.assert_allclose(found.curve, [1, *(3 - 2 * np.arange(1, 12) / 12)], atol=1e-4)
    np.testing.assert_allclose(found.taus, np.arange(12) / 12, atol=1e-7)


def test_a_flat_criterion_has_no_vertex(key):
    """The outputs differ by the sign of their end alone, by 2 at every tau; between a condition and itself, by nothing."""
    flat = search_drifting(ramp(1.0), key, lambda _, x: x[:, 1])
    assert set(flat.curve) == {2.0} and (flat.tau, flat.residual) == (0, 1)
    same = search_drifting(ramp(1.0), key, conditions=(1, 1))
    assert set(same.curve) == {0.0} and (same.tau, same.residual) == (0, 0)


# --- where the distance looks ---

STDS, SHIFT = np.array([1.0, 1.0, 0.2, 0.2]), np.array([0.6, 0.5, 0.3, 0.25])


def test_whitened_pixels_find_the_point_of_the_narrow_directions(rng, key):
    """Direction k of the switched difference is (mu_1 - mu_0)_k (1 - 2 kappa_k), kappa_k = 1/2 at SNR = 1 / (3 c_k²)."""
    process = vp_linear()

    def exact(x, t, condition):  # N(-/+ SHIFT, diag(STDS²)) over images of 2 x 2
        flat, mean = x.reshape(len(x), 4), jnp.where(condition[:, None] == 0, -1, 1) * SHIFT
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        gain = alpha * STDS**2 / (alpha**2 * STDS**2 + sigma**2)
        return (mean + gain * (flat - alpha * mean)).astype(jnp.float32).reshape(x.shape)

    labels = rng.integers(0, 2, 8000)
    images = np.where(labels[:, None] == 0, -1, 1) * SHIFT + STDS * rng.standard_normal((8000, 4))
    white = whitening(images.reshape(-1, 2, 2, 1), labels, ridge=1e-4)

    taus = np.linspace(0.005, 0.995, 199)
    alpha, sigma = (np.asarray(part, np.float64)[:, None] for part in (process.alpha(taus), process.sigma(taus)))
    left = 2 * SHIFT * (1 - 2 * STDS * alpha / np.sqrt(alpha**2 * STDS**2 + sigma**2))
    arguments = {"conditions": (0, 1), "shape": (2, 2, 1), "solver": DDIM(100), "key": key, "batch": 8}
    found = {}
    for name, looks, scale in (("pixel", features.Whitening(jnp.eye(4)), 1.0), ("whitened", white, STDS)):
        result = search_direct(exact, process, **arguments, features=looks, metric=name)
        assert result.tau == pytest.approx(taus[np.linalg.norm(left / scale, axis=1).argmin()], abs=0.02)
        assert result.mode == f"direct/{name}"
        found[name] = result.tau
    assert found["whitened"] < found["pixel"] - 0.1


@pytest.mark.parametrize(("ridge", "shape"), [(1e-6, (2, 2, 3)), (0.01, (2, 2, 3)), (0.01, (4, 3))])
def test_whitening_makes_the_covariance_within_groups_the_identity(ridge, shape, rng):
    """Of images, and of windows of series (L, F)."""
    labels = np.repeat([0, 1], [300, 500])
    mixing = rng.standard_normal((12, 12))
    images = (rng.standard_normal((800, 12)) @ mixing + 5 * labels[:, None]).reshape(-1, *shape)
    white = np.asarray(whitening(images, labels, ridge)(jnp.asarray(images, jnp.float32)), np.float64)

    def within(values):
        centred = np.concatenate([values[labels == group] - values[labels == group].mean(0) for group in (0, 1)])
        return centred.T @ centred / (len(values) - 2)

    # along an eigenvector of variance v it is v / (v + ridge mean(v))
    variances = np.linalg.eigvalsh(within(images.reshape(800, -1)))
    np.testing.assert_allclose(np.linalg.eigvalsh(within(white)), variances / (variances + ridge * variances.mean()), atol=2e-3)


def test_whitening_uses_averaged_pixels(rng, monkeypatch):
    monkeypatch.setattr(features, "WHITENED_SIZE", 4)
    labels = np.arange(60) % 2
    for size, side in ((4, 4), (8, 4), (12, 4), (6, 3)):  # six pixels do not average to four: three is the next below
        images = rng.integers(0, 256, (60, size, size, 1), dtype=np.uint8)
        white = whitening(images, labels)
        assert white.matrix.shape == (side**2, side**2)
        factor, floats = size // side, images / 127.5 - 1
        pooled = sum(floats[:, i::factor, j::factor] for i in range(factor) for j in range(factor)) / factor**2
        expected = pooled.reshape(60, -1) @ np.asarray(white.matrix, np.float64)
        np.testing.assert_allclose(white(jnp.asarray(floats, jnp.float32)), expected, atol=1e-4)


def test_whitening_takes_two_images_of_each_group(rng):
    with pytest.raises(InputError, match="at least two images of each group"):
        whitening(rng.random((5, 2, 2, 1)), np.array([0, 0, 1, 0, 0]))


# --- what it costs ---


def counted(calls):
    """A denoiser that notes the rows of each of its calls."""

    def denoise(x, t, condition):
        jax.debug.callback(lambda _: calls.append(len(x)), t[0])
        return 0.1 * x + condition[:, None]

    return denoise


@pytest.mark.parametrize("path", ["own", "shared"])
def test_the_evaluations_of_the_prefix_search_are_those_reported(path, key):
    calls = []
    found = search_prefix(counted(calls), COSINE, **{**PREFIX, "solver": DDIM(20)}, key=key, path=path)
    jax.effects_barrier()
    assert found.evaluations == {"own": 2, "shared": 4}[path] * 20
    assert sum(calls) == found.evaluations * found.batch


def test_the_evaluations_of_the_direct_search_are_those_reported(key):
    calls = []
    found = search_direct(counted(calls), COSINE, **{**DIRECT, "solver": DDIM(20)}, key=key)
    jax.effects_barrier()
    assert sum(calls) == found.evaluations * found.batch
    # a candidate runs from its switch on, never the way to it again
    assert found.evaluations < 2 * 20 * len(found.taus)


def test_pair_key_and_weights_compile_nothing(key):
    other = dataclasses.replace(MIXTURE, means=0.7 * MIXTURE.means, stds=2 * MIXTURE.stds)
    for run, program, arguments in ((search_direct, search._direct, DIRECT), (search_prefix, search._prefix, PREFIX)):
        first = run(MIXTURE, COSINE, **arguments, key=key)
        programs = program._cache_size()
        changed = [
            run(MIXTURE, COSINE, **arguments, key=jax.random.key(1)),
            run(MIXTURE, COSINE, **{**arguments, "conditions": (0, -1)}, key=key),
            run(other, COSINE, **arguments, key=key),
        ]
        assert program._cache_size() == programs
        assert all(result.curve != first.curve for result in changed)


# --- errors and the record ---


@pytest.mark.parametrize(
    ("run", "changed", "message"),
    [
        (search_prefix, {"path": "mine"}, "`path` must be one of own, shared, got 'mine'"),
        (search_prefix, {"weight": "g2"}, "`weight` must be one of beta_eps, g2_score"),
        (search_prefix, {"norm": "l2"}, "`norm` must be one of batch, sample"),
        (search_prefix, {"batch": 0}, "`batch` must be at least the number of pairs of 2 conditions, 1, got 0"),
        (search_prefix, {"solver": DDIM(2)}, "a solver of at least 3 steps, got 2"),
        (search_prefix, {"solver": DDIM(1), "drop_first": False}, "a solver of at least 2 steps, got 1"),
        (search_direct, {"batch": 0}, "`batch` must be at least the number of pairs of 2 conditions, 1, got 0"),
        (search_direct, {"solver": DDIM(1)}, "a solver of >= 2 steps"),
        (search_direct, {"coarse": 2}, "coarse >= 3"),
    ],
)
def test_arguments_out_of_range_are_refused(run, changed, message, key):
    with pytest.raises(InputError, match=message):
        run(MIXTURE, COSINE, **{**DIRECT, **changed}, key=key)


@pytest.mark.parametrize("run", [search_direct, search_prefix])
def test_a_denoiser_that_switches_already_is_refused(run, key):
    with pytest.raises(InputError, match="without breakpoints"):
        run(guidance.clipped(guidance.switching(MIXTURE, 0.5)), COSINE, **DIRECT, key=key)


@pytest.mark.parametrize(("run", "arguments"), [(search_direct, DIRECT), (search_prefix, PREFIX)])
def test_a_denoiser_that_returns_nan_is_an_error(run, arguments, key):
    broken = dataclasses.replace(MIXTURE, means=MIXTURE.means.at[1, 0, 0].set(jnp.nan))
    with pytest.raises(InputError, match="not finite"):
        run(broken, COSINE, **arguments, key=key)


CONTEXT = {
    "process": {"name": "ddpm_cosine", "timesteps": 1000},
    "solver": {"name": "ddim", "steps": 50, "eta": 0.0},
    "guidance_scale": 1.0,
    "attribute": "gender",
    "values": ["male", "female"],
}


@pytest.fixture(scope="module")
def transition() -> Transition:
    """A found transition with its context."""
    found = search_direct(MIXTURE, COSINE, **DIRECT, key=jax.random.key(0))
    return dataclasses.replace(found, context=CONTEXT)


def test_a_point_without_noise_has_no_snr():
    """JSON has no infinity."""
    assert time_fields(COSINE, 0.0) == {"tau": 0.0, "timestep": 0, "snr": None}
    assert time_fields(COSINE, 0.5)["snr"] == pytest.approx(float(COSINE.snr(0.5)))


def test_a_transition_survives_json(transition):
    again = Transition.from_json(transition.to_json())
    assert again == transition
    again.require(CONTEXT)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tau": 0.5}', '{"taus": [], "curve": [], "unknown": 1}'])
def test_other_json_is_no_transition(text):
    with pytest.raises(InputError, match="a Transition of `sample search` (is damaged|must hold a JSON object)"):
        Transition.from_json(text)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("process", {"name": "vp_linear"}, "vp_linear"),
        ("solver", {"name": "ddim", "steps": 25, "eta": 0.0}, '"steps": 25'),
        ("guidance_scale", 2.0, "guidance_scale 1.0, and this is guidance_scale 2.0"),
        ("attribute", "age", "attribute gender, and this is attribute age"),
        ("values", ["female", "male"], "values"),
        ("model", "0123", "model None, and this is model 0123"),
    ],
)
def test_tau_is_refused_in_another_context(transition, name, value, message):
    with pytest.raises(InputError, match=name) as error:
        transition.require({**CONTEXT, name: value})
    assert message in str(error.value)
