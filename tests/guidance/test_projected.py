"""Projected guidance: least squares, the counterfactual-parity distribution of a mixture, and strength 0 bit for bit."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.guidance.projected import RIDGE, without
from jaxdiff.process import Process, expand, vp_cosine
from jaxdiff.solvers import DDIM, sample
from jaxdiff.solvers.driver import _sample, evaluations

PROCESS = vp_cosine()
N, STD, RATIO = 2000, 0.02, 10.0
OWN = jnp.arange(N) % 2
SHARES = np.array([[0.45, 0.05], [0.25, 0.25]])
"""p(c, a): p(a = 1 | c) is 0.1 and 0.5, and p(a = 1) is 0.3."""
SDE = DDIM(60, eta=1.0, spacing="log_snr")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TwoAttributes:
    """The exact denoiser of p(x_c, x_a | c, a) = N(±1, s²) N(±ratio, s²); conditions (B, 2) are c and a, -1 for none."""

    ratio: jax.Array
    process: Process

    def __call__(self, x, t, condition):
        """The posterior mean."""
        c, a = jnp.asarray([0, 0, 1, 1]), jnp.asarray([0, 1, 0, 1])
        middle = jnp.stack([2.0 * c - 1, self.ratio * (2 * a - 1)], 1)
        times = jnp.broadcast_to(jnp.asarray(t), x.shape[:1])
        alpha, sigma = expand(self.process.alpha(times), x), expand(self.process.sigma(times), x)
        spread = alpha**2 * STD**2 + sigma**2
        centred = x[:, None] - alpha[..., None] * middle
        log_density = jnp.log(jnp.asarray(SHARES).reshape(-1)) - 0.5 * jnp.square(centred).sum(-1) / spread
        allowed = jnp.ones(log_density.shape, bool)
        for place, values in enumerate((c, a)):
            given = condition[:, place, None]
            allowed &= (given == values) | (given < 0)
        weights = jax.nn.softmax(jnp.where(allowed, log_density, -jnp.inf), -1)
        return jnp.einsum("bk,bkd->bd", weights, middle + (alpha * STD**2 / spread)[..., None] * centred, precision="highest")


EXACT = TwoAttributes(jnp.asarray(RATIO), PROCESS)


def rows(c, a, count=N):
    """Conditions of these labels."""
    return jnp.stack([jnp.broadcast_to(jnp.asarray(each), count) for each in (c, a)], 1)


CONDITION = (rows(-1, -1), rows(OWN, -1), ((rows(-1, 0), rows(-1, 1)),))


def led(strength=1.0, denoise=EXACT):
    """Projected guidance without a."""
    return guidance.projected(denoise, strength=strength, counts=(2,))


def drawn(denoise, condition=CONDITION, solver=SDE):
    """Samples of all N."""
    return np.asarray(sample(denoise, PROCESS, shape=(2,), solver=solver, key=jax.random.key(0), condition=condition))


def at_marginal(x) -> bool:
    """Whether a has its marginal share 0.3 in both groups: binomial intervals of 99.9 %."""
    counts = [(x[np.asarray(OWN) == c, 1] > 0).sum() for c in (0, 1)]
    low, high = binom.interval(0.999, N // 2, SHARES[:, 1].sum())
    return all(low <= count <= high for count in counts)


def test_it_draws_the_counterfactual_parity_distribution_and_conditional_sampling_does_not():
    """Label, shares of a, and moments of both parts within sampling error of those of the exact sampler of p_cp."""
    other = jnp.asarray(np.random.default_rng(0).random(N) < 0.3).astype(int)
    x, exact, vanilla = drawn(led()), drawn(EXACT, rows(OWN, other)), drawn(EXACT, rows(OWN, -1))
    sign = 2 * np.asarray(OWN) - 1
    assert ((x[:, 0] > 0) == (sign > 0)).all()
    assert at_marginal(x) and at_marginal(exact) and not at_marginal(vanilla)
    for place, middle in ((0, lambda x: sign), (1, lambda x: RATIO * np.sign(x[:, 1]))):
        found, wanted = ((each[:, place] - middle(each)) * sign / STD for each in (x, exact))
        assert abs(found.mean() - wanted.mean()) < 4 * np.sqrt(2 / N)
        assert abs(found.std() / wanted.std() - 1) < 4 * np.sqrt(1 / N)


def test_what_is_left_of_a_direction_is_that_of_least_squares_with_the_ridge(doubles, rng):
    direction, others = rng.standard_normal((3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    found = without(jnp.asarray(direction), jnp.asarray(others))
    for row in range(3):
        matrix = others[:, row].reshape(2, -1).T
        ridge = RIDGE * np.square(matrix).sum() / 2
        padded = np.vstack([matrix, np.sqrt(ridge) * np.eye(2)])
        weights = np.linalg.lstsq(padded, np.append(direction[row].ravel(), [0, 0]), rcond=None)[0]
        np.testing.assert_allclose(found[row].ravel(), direction[row].ravel() - matrix @ weights, rtol=1e-9, atol=1e-12)


def test_orthogonal_directions_stay_and_spanned_ones_go(doubles, rng):
    basis = np.linalg.qr(rng.standard_normal((6, 6)))[0].T
    others = jnp.asarray(np.stack([basis[:2], basis[1:3]])) * 1e-3  # of two samples
    others = jnp.swapaxes(others, 0, 1)
    left = without(jnp.asarray(basis[[4, 2]]), others)
    np.testing.assert_allclose(left[0], basis[4], atol=1e-12)
    assert np.linalg.norm(left[1]) < 2 * RIDGE
    np.testing.assert_array_equal(without(jnp.asarray(basis[:2]), 0 * others), basis[:2])  # nothing is removed by nothing


def test_strength_0_is_sampling_without_labels_bit_for_bit_at_its_cost():
    solver = DDIM(6)
    middle = jnp.asarray([[[-1.0, -3.0]], [[1.0, 2.0]], [[0.5, 0.0]]])
    mixture = GaussianMixture(middle, jnp.full((3, 1), 0.3), jnp.zeros((3, 1)), PROCESS)
    null, condition = jnp.full(N, -1), (jnp.full(N, -1), OWN, ((0 * OWN + 1, 0 * OWN + 2),))
    off, half = (led(strength, mixture) for strength in (0.0, 0.5))
    np.testing.assert_array_equal(drawn(off, condition, solver), drawn(mixture, null, solver))
    assert evaluations(off, PROCESS, solver) == 6 and evaluations(half, PROCESS, solver) == 4 * 6
    programs = _sample._cache_size()
    assert np.abs(drawn(half, condition, solver) - drawn(off, condition, solver)).max() > 0.1
    assert _sample._cache_size() == programs


def test_a_guidance_with_a_memory_inside_is_evaluated_for_all_conditions():
    apg = guidance.adaptive_projected(EXACT, rows(-1, -1, 1)[0], 1.0, eta=1.0, radius=float("inf"), momentum=0.0)
    solver = DDIM(4)
    for strength in (0.0, 0.7):
        nested = led(strength, apg)
        np.testing.assert_allclose(drawn(nested, solver=solver), drawn(led(strength), solver=solver), atol=1e-4)
        assert evaluations(nested, PROCESS, solver) == 4 * evaluations(apg, PROCESS, solver)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: led(-1.0), "`strength` must be at least 0"),
        (lambda: guidance.projected(EXACT, counts=()), "`counts`"),
        (lambda: guidance.projected(EXACT, counts=(2, 1)), r"each at least 2; got \(2, 1\)"),
        (lambda: led()(jnp.zeros((N, 2)), 0.5, (*CONDITION[:2], ())), r"with \(2,\) conditions in others; got \(\)"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
