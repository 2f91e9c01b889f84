"""Projected guidance: least squares, the counterfactual-parity distribution of a mixture, and strength 0 bit for bit."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.fairness import associated_subspace
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
UNLABELLED = (*CONDITION[:2], ())


def led(strength=1.0, denoise=EXACT):
    """Projected guidance without a."""
    return guidance.projected(denoise, strength=strength, counts=(2,))


def drawn(denoise, condition=CONDITION, solver=SDE):
    """Samples of all N."""
    return np.asarray(sample(denoise, PROCESS, shape=(2,), solver=solver, key=jax.random.key(0), condition=condition))


def within(directions, strength=1.0, denoise=EXACT, process=None):
    """Projected guidance without the directions of a subspace."""
    return guidance.projected(denoise, strength=strength, subspace=jnp.asarray(directions, jnp.float32), process=process)


def at_marginal(x) -> bool:
    """Whether a has its marginal share 0.3 in both groups: binomial intervals of 99.9 %."""
    counts = [(x[np.asarray(OWN) == c, 1] > 0).sum() for c in (0, 1)]
    low, high = binom.interval(0.999, N // 2, SHARES[:, 1].sum())
    return all(low <= count <= high for count in counts)


@pytest.fixture(scope="module")
def exact():
    """Samples of the counterfactual-parity distribution."""
    other = jnp.asarray(np.random.default_rng(0).random(N) < 0.3).astype(int)
    return drawn(EXACT, rows(OWN, other))


def require_parity(x, exact) -> None:
    """Label, shares of a, and moments of both parts within sampling error of those of the exact sampler."""
    sign = 2 * np.asarray(OWN) - 1
    assert ((x[:, 0] > 0) == (sign > 0)).all()
    assert at_marginal(x) and at_marginal(exact)
    for place, middle in ((0, lambda x: sign), (1, lambda x: RATIO * np.sign(x[:, 1]))):
        found, wanted = ((each[:, place] - middle(each)) * sign / STD for each in (x, exact))
        assert abs(found.mean() - wanted.mean()) < 4 * np.sqrt(2 / N)
        assert abs(found.std() / wanted.std() - 1) < 4 * np.sqrt(1 / N)


def test_it_draws_the_counterfactual_parity_distribution_and_conditional_sampling_does_not(exact):
    require_parity(drawn(led()), exact)
    assert not at_marginal(drawn(EXACT, rows(OWN, -1)))


def test_so_does_a_subspace_that_is_found_without_labels_of_the_other_attribute(exact):
    images, key = jnp.asarray(drawn(EXACT, rows(-1, -1))), jax.random.key(1)
    found = associated_subspace(EXACT, PROCESS, images, (rows(0, -1), rows(1, -1)), key=key)
    np.testing.assert_allclose(np.abs(found.rows), [[0, 1]], atol=1e-3)
    require_parity(drawn(within(found.rows), UNLABELLED), exact)


def test_a_fixed_axis_keeps_what_the_label_tells_of_an_attribute_that_is_decided_with_it():
    """Of equal scales a follows the label in the state itself, which no direction shows; its own directions hold that too."""
    equal = TwoAttributes(jnp.asarray(1.0), PROCESS)
    assert not at_marginal(drawn(within([[0, 1]], denoise=equal), UNLABELLED))
    assert at_marginal(drawn(led(denoise=equal)))
    follows = drawn(within([[0, 1]], denoise=equal, process=PROCESS), UNLABELLED)
    assert at_marginal(follows) and ((follows[:, 0] > 0) == (np.asarray(OWN) == 1)).all()


def test_a_subspace_that_follows_removes_the_covariance_with_what_it_reads(rng):
    """Of a Gaussian of covariance S, Cov(x_0, u . x_0 | x_t) = (S^-1 + alpha² / sigma² I)^-1 u."""
    matrix = rng.standard_normal((3, 3))
    covariance, shift, t = matrix @ matrix.T + np.eye(3), rng.standard_normal(3).astype(np.float32), 0.4
    alpha, sigma = float(PROCESS.alpha(t)), float(PROCESS.sigma(t))
    gain = jnp.asarray(alpha * covariance @ np.linalg.inv(alpha**2 * covariance + sigma**2 * np.eye(3)), jnp.float32)
    means = lambda x, t, condition: x @ gain.T + condition[:, None] * shift  # noqa: E731
    x, u = jnp.asarray(rng.standard_normal((2, 3)), jnp.float32), rng.standard_normal(3)
    guided = within(u[None], denoise=means, process=PROCESS)(x, t, (jnp.zeros(2), jnp.ones(2), ()))
    left = np.asarray(guided - means(x, t, jnp.zeros(2)))
    removed = np.linalg.inv(np.linalg.inv(covariance) + alpha**2 / sigma**2 * np.eye(3)) @ u
    axis = removed / np.linalg.norm(removed)
    np.testing.assert_allclose(left, np.stack([shift - axis @ shift * axis] * 2), atol=1e-3)
    assert abs(u @ shift) > 0.1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Posterior:
    """log p(a | x_t) of `TwoAttributes`, (B, 2)."""

    ratio: jax.Array
    process: Process

    def __call__(self, x, t):
        """The log posterior."""
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        middle = jnp.asarray([[[-1.0, -1.0], [-1.0, 1.0]], [[1.0, -1.0], [1.0, 1.0]]]) * jnp.stack([jnp.ones(()), self.ratio])
        squares = jnp.square(x[:, None, None] - expand(alpha, x)[:, None, None] * middle).sum(-1)
        log_joint = jnp.asarray(np.log(SHARES)) - 0.5 * squares / (alpha**2 * STD**2 + sigma**2)[:, None, None]
        return jax.nn.log_softmax(jax.nn.logsumexp(log_joint, 1))


def test_classifiers_of_noised_samples_give_the_directions_of_labels(doubles, rng):
    """By Bayes' rule: the guided means are equal at all noise levels, and so for a classifier of both attributes together."""
    exact = TwoAttributes(jnp.asarray(2.0), PROCESS)
    condition = tuple(each[:8] if hasattr(each, "shape") else each for each in CONDITION[:2])
    others = (tuple(each[:8] for each in CONDITION[2][0]),)
    x, t = jnp.asarray(rng.standard_normal((8, 2))), jnp.linspace(0.3, 0.95, 8)
    by_labels, by_classifier = (
        guidance.projected(exact, strength=1.3, **given)
        for given in ({"counts": (2,)}, {"log_posteriors": [Posterior(jnp.asarray(2.0), PROCESS)]})
    )
    found = by_classifier(x, t, (*condition, ()))
    np.testing.assert_allclose(found, by_labels(x, t, (*condition, others)), rtol=1e-6, atol=1e-9)
    plain = exact(x, t, condition[0]) + 1.3 * (exact(x, t, condition[1]) - exact(x, t, condition[0]))
    assert np.abs(found - plain).max() > 0.1
    assert evaluations(by_classifier, PROCESS, DDIM(4)) == 8


def test_guidance_is_that_of_the_direction_within_the_complement_of_the_subspace(rng):
    basis, x, t = np.linalg.qr(rng.standard_normal((4, 4)))[0].T, rng.standard_normal((2, 2, 2)), np.array([0.4, 0.9])
    null, own = rng.standard_normal((2, 2, 2, 2)).astype(np.float32)
    means = lambda x, t, condition: jnp.where((condition == 1)[:, None, None], *map(jnp.asarray, stacks(own, null, x)))  # noqa: E731
    guided = within(basis[:2].reshape(2, 2, 2), 1.5, means)(jnp.asarray(x), t, (np.zeros(2), np.ones(2), ()))
    kept = (own - null).reshape(2, 4) @ basis[2:].T @ basis[2:]
    removed = (own - null).reshape(2, 4) @ basis[:2].T @ basis[:2]
    expected = null + 1.5 * (kept + removed * RIDGE / (1 + RIDGE)).reshape(2, 2, 2)
    np.testing.assert_allclose(guided, expected, atol=1e-5)


def stacks(own, null, x):
    """Both means, repeated for the conditions that are evaluated at once."""
    return (np.concatenate([each] * (len(x) // len(each))) for each in (own, null))


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
    along = [[0.6, 0.8]]
    for make, given, cost in (
        (led, condition, 4),
        (partial(within, along), (*condition[:2], ()), 2),
        (partial(within, along, process=PROCESS), (*condition[:2], ()), 3),
    ):
        off, half = (make(strength, mixture) for strength in (0.0, 0.5))
        np.testing.assert_array_equal(drawn(off, given, solver), drawn(mixture, null, solver))
        assert evaluations(off, PROCESS, solver) == 6 and evaluations(half, PROCESS, solver) == cost * 6
        programs = _sample._cache_size()
        drawn(half, given, solver)
        assert _sample._cache_size() == programs
    assert np.abs(drawn(led(0.5, mixture), condition, solver) - drawn(mixture, null, solver)).max() > 0.1


def test_another_subspace_of_the_same_size_compiles_nothing():
    one, _ = (drawn(within([axis]), UNLABELLED, DDIM(4)) for axis in ([0, 1], [1, 0]))
    programs = _sample._cache_size()
    other = drawn(within([[1, 1]]), UNLABELLED, DDIM(4))
    assert _sample._cache_size() == programs and np.abs(one - other).max() > 0.1


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
        (lambda: guidance.projected(EXACT), "one of `counts`, `subspace` and `log_posteriors`, got none"),
        (lambda: guidance.projected(EXACT, counts=(2,), subspace=np.eye(2)), "got `counts` and `subspace`"),
        (lambda: guidance.projected(EXACT, counts=(2,), process=PROCESS), "`process` is for a `subspace`"),
        (lambda: within(np.zeros((0, 2))), r"one or more directions of the shape of a sample, got shape \(0, 2\)"),
        (lambda: within([0.0, 1.0]), r"got shape \(2,\)"),
        (lambda: within([[0.0, 1.0, 0.0]])(jnp.zeros((N, 2)), 0.5, UNLABELLED), r"the shape of a sample, \(2,\), got \(3,\)"),
        (lambda: guidance.projected(EXACT, counts=(2, 1)), r"each at least 2; got \(2, 1\)"),
        (lambda: led()(jnp.zeros((N, 2)), 0.5, (*CONDITION[:2], ())), r"with \(2,\) conditions in others; got \(\)"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
