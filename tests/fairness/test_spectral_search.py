"""The search for the transition points of bands: closed forms, and what it costs."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.bands import Bands
from jaxdiff.errors import InputError
from jaxdiff.fairness import search_spectral, spectral_search
from jaxdiff.process import Process, expand, vp_cosine
from jaxdiff.solvers import DDIM, sample

BATCH = 4
STDS, APART = np.array([1.6, 0.7, 0.25]), np.array([1.0, 0.6, 0.2, 0.3, 0.2, 0.1])
BANDS = Bands((), jnp.asarray([0, 0, 1, 1, 2, 2]), 3)
COSINE = vp_cosine()
ARGUMENTS = {"bands": BANDS, "conditions": (0, 1), "shape": (6,), "solver": DDIM(150), "batch": BATCH}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shifted:
    """The exact denoiser of N(-/+ apart / 2, diag(STDS²)), each band of one deviation."""

    apart: jax.Array
    process: Process

    def __call__(self, x, t, condition):
        mean = (condition[:, None] - 0.5) * self.apart
        alpha, sigma = expand(self.process.alpha(t), x), expand(self.process.sigma(t), x)
        spread = jnp.asarray(STDS, jnp.float32)[BANDS.band]
        return mean + alpha * spread**2 / (alpha**2 * spread**2 + sigma**2) * (x - alpha * mean)


EXACT = Shifted(jnp.asarray(APART, jnp.float32), COSINE)
FAIR = np.asarray(COSINE.time(np.log(1 / (3 * STDS**2)).astype(np.float32)))  # SNR(tau_k) = 1 / (3 c_k²)


def left(taus):
    """(1 - 2 kappa_k(tau_k)) of each band: the share of the groups' distance that remains in it, and its sign."""
    alpha, sigma = (np.asarray(part, np.float64) for part in (COSINE.alpha(taus), COSINE.sigma(taus)))
    return 1 - 2 * STDS * alpha / np.sqrt(alpha**2 * STDS**2 + sigma**2)


@pytest.fixture(scope="module")
def found():
    """A search within the bands."""
    return search_spectral(EXACT, COSINE, **ARGUMENTS, key=jax.random.key(0))


def test_every_band_finds_its_own_fair_point(found):
    np.testing.assert_allclose(found.taus, FAIR, atol=0.02)
    assert max(found.residual) < 0.05
    assert found.mode == "spectral/bands" and found.batch == BATCH


def test_the_curves_are_the_law_of_kappa_in_each_band(found):
    """Whatever point the other bands have."""
    tried, curves = np.array(found.tried), np.array(found.curves)
    assert tried.shape == curves.shape and tried.shape[1] == 3
    apart = np.linalg.norm(APART.reshape(3, 2), axis=1)
    np.testing.assert_allclose(curves, apart * np.abs(left(np.float32(tried))), atol=0.03)
    np.testing.assert_allclose(found.residual, np.abs(left(np.float32(found.taus))), atol=0.03)


def test_one_distance_of_everything_finds_them_too(key):
    """In units of the deviations, from the best single point on, which leaves much more."""
    white = jax.tree_util.Partial(lambda x: x / jnp.asarray(STDS, jnp.float32)[BANDS.band])
    result = search_spectral(
        EXACT, COSINE, **ARGUMENTS, key=key, features=white, metric="whitened", reach=0.25, cycles=3, tolerance=0.01
    )
    np.testing.assert_allclose(result.taus, FAIR, atol=0.02)
    weights = APART / np.repeat(STDS, 2)
    single = [np.linalg.norm(weights * np.repeat(left(np.full(3, t, np.float32)), 2)) for t in np.linspace(0, 1, 101)]
    assert min(single) > 5 * min(map(min, result.curves))
    # what the sweep keeps is a single point, no worse than any other that it tried
    kept = np.array(result.tried)[10]
    assert np.all(kept == kept[0]) and min(result.curves[:10]) == result.curves[10]


def test_it_continues_from_given_points(found, key):
    again = search_spectral(EXACT, COSINE, **ARGUMENTS, key=key, start=found.taus)
    np.testing.assert_allclose(again.tried[1], found.taus)
    np.testing.assert_allclose(again.taus, FAIR, atol=0.02)
    assert np.all(np.array(again.residual) <= np.array(found.residual) + 1e-6)


def test_the_criterion_is_that_of_samples_switched_in_the_bands(key):
    """`sample` turns the same noise into the same, candidate by candidate, where bands know of one another and steps draw."""

    def denoise(x, t, condition):
        return jnp.tanh(x[:, ::-1] + condition[:, None])

    solver = DDIM(20, eta=1.0)
    result = search_spectral(denoise, COSINE, **{**ARGUMENTS, "solver": solver}, key=key, cycles=1)
    tried, ends = np.array(result.tried, np.float32), np.repeat([1, 0], BATCH)
    count = len(tried)
    x = sample(
        guidance.spectral_switching(denoise, BANDS, np.repeat(tried, 2 * BATCH, axis=0)), COSINE, shape=(6,), solver=solver,
        key=key, condition=(jnp.asarray(np.tile(1 - ends, count)), jnp.asarray(np.tile(ends, count))),
        indices=np.tile(np.arange(BATCH), 2 * count),
    )  # fmt: skip
    first, second = np.asarray(x).reshape(count, 2, BATCH, 3, 2).transpose(1, 0, 2, 3, 4)
    expected = np.sqrt(np.square(first - second).sum(-1).mean(1))
    np.testing.assert_allclose(result.curves, expected, rtol=1e-3, atol=1e-4)
    assert result.taus in result.tried


def test_the_points_do_not_depend_on_the_order_of_the_pair(found):
    turned = search_spectral(EXACT, COSINE, **{**ARGUMENTS, "conditions": (1, 0)}, key=jax.random.key(0))
    assert turned.tried[:10] == found.tried[:10]
    np.testing.assert_allclose(turned.taus, found.taus, atol=1e-3)


def test_the_evaluations_are_those_reported(key):
    rows = []

    def denoise(x, t, condition):
        jax.debug.callback(lambda _: rows.append(len(x)), t[0])
        return 0.1 * x + condition[:, None]

    result = search_spectral(denoise, COSINE, **{**ARGUMENTS, "solver": DDIM(20)}, key=key, cycles=1)
    jax.effects_barrier()
    assert sum(rows) == result.evaluations * BATCH
    assert result.evaluations < 2 * 20 * len(result.tried)


def test_pair_key_weights_and_reach_compile_nothing(found, key):
    programs = spectral_search._spectral._cache_size()
    changed = [
        search_spectral(EXACT, COSINE, **ARGUMENTS, key=jax.random.key(1), reach=0.15),
        search_spectral(Shifted(2 * EXACT.apart, COSINE), COSINE, **{**ARGUMENTS, "conditions": (1, 0)}, key=key),
        search_spectral(EXACT, COSINE, **{**ARGUMENTS, "bands": Bands((), BANDS.band[::-1], 3)}, key=key),
    ]
    assert spectral_search._spectral._cache_size() == programs
    assert all(result.curves != found.curves for result in changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch": 0}, "`batch` must be at least the number of pairs of 2 conditions, 1, got 0"),
        ({"coarse": 2}, "coarse >= 3"),
        ({"cycles": -1}, "cycles >= 0"),
        ({"tolerance": 0.4}, "0 < tolerance < 2 reach"),
        ({"reach": 1.0}, "2 reach < 2"),
        ({"solver": DDIM(3)}, "a solver of more than 3 steps"),
        ({"start": (0.5, 0.5)}, "`start` must be a time in .0, 1. for each of the 3 bands"),
        ({"start": (0.5, 0.5, 1.5)}, "`start` must be a time"),
    ],
)
def test_arguments_out_of_range_are_refused(changed, message, key):
    with pytest.raises(InputError, match=message):
        search_spectral(EXACT, COSINE, **{**ARGUMENTS, **changed}, key=key)


def test_a_denoiser_that_switches_or_returns_nan_is_refused(key):
    with pytest.raises(InputError, match="without breakpoints"):
        search_spectral(guidance.switching(EXACT, 0.5), COSINE, **ARGUMENTS, key=key)
    with pytest.raises(InputError, match="not finite"):
        search_spectral(Shifted(jnp.nan * EXACT.apart, COSINE), COSINE, **ARGUMENTS, key=key)
