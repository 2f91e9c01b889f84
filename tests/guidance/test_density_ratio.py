"""Guidance by a density ratio: tilted Gaussians, other shares of an attribute in every group, strength 0 bit for bit."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.process import Process, edm, flow, vp_cosine
from jaxdiff.solvers import DDIM, sample
from jaxdiff.solvers.driver import _sample, evaluations
from tests.guidance.test_projected import OWN, PROCESS, SDE, SHARES, STD, N, TwoAttributes, rows

WITHIN = SHARES / SHARES.sum(1, keepdims=True)
"""p(a | c)."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Exact:
    """log sum_a [q(a) / p(a | c)] p(a | x_t, c) of `TwoAttributes`, where only x_a tells of a."""

    ratio: jax.Array
    target: jax.Array
    process: Process

    def __call__(self, x, t, labels):
        group = labels[:, 0]
        alpha, sigma = self.process.alpha(t)[:, None], self.process.sigma(t)[:, None]
        middle = self.ratio * jnp.asarray([-1.0, 1.0])
        density = -0.5 * jnp.square(x[:, 1:] - alpha * middle) / (alpha**2 * STD**2 + sigma**2)
        within = jnp.log(jnp.asarray(WITHIN))[group]
        return jax.nn.logsumexp(jnp.log(self.target) + density, -1) - jax.nn.logsumexp(within + density, -1)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tilt:
    """log E[exp(slope x_0) | x_t] of one-dimensional Gaussian data N(mean, std²), up to a constant of t."""

    mean: jax.Array
    std: jax.Array
    slope: jax.Array
    process: Process

    def __call__(self, x, t, condition):
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        spread = alpha**2 * self.std**2 + sigma**2
        return self.slope * (self.mean + alpha * self.std**2 / spread * (x[:, 0] - alpha * self.mean))


def drawn(denoise, condition, solver=SDE, process=PROCESS, shape=(2,)):
    """Samples of all N."""
    return np.asarray(sample(denoise, process, shape=shape, solver=solver, key=jax.random.key(0), condition=condition))


def of_mixture(ratio, target, strength=1.0):
    """The two attributes, led to shares of a."""
    exact = TwoAttributes(jnp.asarray(ratio), PROCESS)
    return guidance.density_ratio(exact, PROCESS, [Exact(jnp.asarray(ratio), jnp.asarray(target), PROCESS)], strength=strength)


@pytest.mark.parametrize("process", [vp_cosine(), edm(), flow()], ids=lambda each: each.name)
def test_a_tilted_gaussian_is_a_shifted_one_by_every_process(doubles, process):
    """exp(2 x) N(x; m, s²) is N(m + 2 s², s²): its posterior mean at all times, and for two ratios the sum of slopes."""
    mean, std = 0.3, 0.6
    plain, wanted = (
        GaussianMixture(jnp.full((1, 1, 1), middle), jnp.full((1, 1), std), jnp.zeros((1, 1)), process)
        for middle in (mean, mean + 2 * std**2)
    )
    tilt = lambda slope: Tilt(jnp.asarray(mean), jnp.asarray(std), jnp.asarray(slope), process)  # noqa: E731
    x, t = jnp.linspace(-3.0, 3.0, 7)[:, None], jnp.linspace(0.01, 1.0, 7)
    x = x * process.scale(t)[:, None]
    for ratios in ([tilt(2.0)], [tilt(0.5), tilt(1.5)]):
        led = guidance.density_ratio(plain, process, ratios)
        np.testing.assert_allclose(led(x, t, jnp.zeros(7, int)), wanted(x, t, jnp.zeros(7, int)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("ratio", [0.5, 2.0, 10.0])
def test_other_attributes_have_the_shares_in_every_group(ratio):
    """Shares within binomial intervals of 99.9 %, labels kept, moments of both parts, at every scale of the other attribute."""
    target = (0.7, 0.3)
    x, plain = (
        drawn(of_mixture(ratio, target, strength), rows(OWN, -1), solver=DDIM(120, eta=1.0, spacing="log_snr"))
        for strength in (1.0, 0.0)
    )
    low, high = binom.interval(0.999, N // 2, target[1])
    shares = lambda x: [(x[np.asarray(OWN) == c, 1] > 0).sum() for c in (0, 1)]  # noqa: E731
    assert all(low <= each <= high for each in shares(x)) and not any(low <= each <= high for each in shares(plain))
    sign = 2 * np.asarray(OWN) - 1
    assert ((x[:, 0] > 0) == (sign > 0)).all()
    np.testing.assert_allclose(x[:, 0], plain[:, 0], atol=1e-5)  # what does not show a stays as it is
    for part in (x[:, 0] - sign, x[:, 1] - ratio * np.sign(x[:, 1])):
        assert abs(part.mean()) < 0.3 * STD and abs(part.std() / STD - 1) < 0.1


def test_a_share_of_0_is_never_drawn():
    x = drawn(of_mixture(2.0, (1.0, 0.0)), rows(OWN, -1))
    assert (x[:, 1] < 0).all() and abs(x[:, 1].mean() + 2) < 0.01


def test_strength_0_is_the_denoiser_inside_bit_for_bit_and_a_number_compiles_nothing():
    solver, condition = DDIM(6), rows(OWN, -1)
    off, half = (of_mixture(2.0, (0.7, 0.3), strength) for strength in (0.0, 0.5))
    exact = TwoAttributes(jnp.asarray(2.0), PROCESS)
    found = drawn(off, condition, solver)
    np.testing.assert_array_equal(found, drawn(exact, condition, solver))
    programs = _sample._cache_size()
    assert np.abs(drawn(half, condition, solver) - found).max() > 0.1
    assert np.isfinite(drawn(of_mixture(2.0, (0.2, 0.8), 3.0), condition, solver)).all()
    assert _sample._cache_size() == programs
    assert evaluations(half, PROCESS, solver) == 6


@pytest.mark.parametrize(
    ("given", "message"),
    [({"strength": -1.0}, "`strength` must be at least 0, got -1"), ({"log_ratios": ()}, "`log_ratios` must be one or more")],
)
def test_wrong_arguments_are_named(given, message):
    with pytest.raises(InputError, match=message):
        guidance.density_ratio(lambda x, t, c: x, PROCESS, **{"log_ratios": [lambda x, t, c: x[:, 0]], **given})
