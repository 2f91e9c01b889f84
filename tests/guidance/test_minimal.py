"""Minimal guidance: closed forms on mixtures of two dependent attributes, and its edge cases bit for bit.

A state is x = (x_c, x_a) with p(x | c, a) = N(±1, s²) N(±R, s²) and p(a = c) = 0.9. Without a label a sample decides a at the
noise R and c at the noise 1, so with s << 1 << R the label can be led without a.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.process import vp_cosine
from jaxdiff.solvers import DDIM, Heun, sample
from jaxdiff.solvers.driver import _sample, evaluations, sample_grid

PROCESS = vp_cosine()
N, STD, RATIO = 2000, 0.02, 10.0
OWN = jnp.arange(N) % 2
NULL = jnp.full(N, -1)
CONDITION = (NULL, (OWN, 1 - OWN))
SDE = DDIM(60, eta=1.0, spacing="log_snr")
"""Nodes at all noise levels between the scales."""
PARTS = jnp.asarray([[[2 * c - 1.0, RATIO * (2 * a - 1)] for a in (0, 1)] for c in (0, 1)])


def mixture(agree: float = 0.9) -> GaussianMixture:
    """The denoiser of c: a = c in a share `agree`."""
    shares = jnp.asarray([[agree, 1 - agree], [1 - agree, agree]])
    return GaussianMixture(PARTS, jnp.full((2, 2), STD), jnp.log(shares), PROCESS)


def drawn(denoise, condition=CONDITION, solver=SDE, key=0, **given):
    """Samples of all N."""
    return sample(denoise, PROCESS, shape=(2,), solver=solver, key=jax.random.key(key), condition=condition, **given)


def led(target, **given):
    """Minimal guidance of the mixture."""
    return guidance.minimal(given.pop("denoise", mixture()), PROCESS, target=target, values=2, **given)


@pytest.fixture(scope="module")
def plain():
    """Samples of c, without a label, and of c and a with a at its marginal: the counterfactual-parity distribution."""
    every = GaussianMixture(PARTS.reshape(4, 1, 2), jnp.full((4, 1), STD), jnp.zeros((4, 1)), PROCESS)
    both = 2 * OWN + jnp.asarray(np.random.default_rng(0).permutation(N) % 2)
    return drawn(mixture(), OWN), drawn(mixture(), NULL), drawn(every, both)


@pytest.fixture(scope="module")
def samples():
    """Samples under minimal guidance, and its record."""
    x, memory = drawn(led(0.03), return_memory=True)
    return np.asarray(x), guidance.record(led(0.03), memory, N), np.asarray(memory.own[0])


def at_parity(x) -> bool:
    """Whether a has its marginal share 1/2 in both groups: binomial intervals of 99.9 %."""
    counts = [(x[np.asarray(OWN) == c, 1] > 0).sum() for c in (0, 1)]
    low, high = binom.interval(0.999, N // 2, 0.5)
    return all(low <= count <= high for count in counts)


def test_it_draws_the_counterfactual_parity_distribution_and_conditional_sampling_does_not(plain, samples):
    """Label, shares of a, and moments of both parts within sampling error of those of the exact sampler of p_cp."""
    vanilla, _, exact = map(np.asarray, plain)
    x, sign = samples[0], 2 * np.asarray(OWN) - 1
    assert ((x[:, 0] > 0) == (sign > 0)).all()
    assert at_parity(x) and at_parity(exact) and not at_parity(vanilla)
    for place, middle in ((0, lambda x: sign), (1, lambda x: RATIO * np.sign(x[:, 1]))):
        found, wanted = ((each[:, place] - middle(each)) * sign / STD for each in (x, exact))
        assert abs(found.mean() - wanted.mean()) < 4 * np.sqrt(2 / N)
        assert abs(found.std() / wanted.std() - 1) < 4 * np.sqrt(1 / N)


def test_who_shows_the_label_is_left_alone_bit_for_bit_and_the_record_knows(plain, samples):
    x, record, conditioned = samples
    without = np.asarray(plain[1])
    kept = (without[:, 0] > 0) == (np.asarray(OWN) > 0)
    np.testing.assert_array_equal(x[~conditioned], without[~conditioned])
    assert conditioned[~kept].all() and not (x[~kept] == without[~kept]).all(1).any()
    np.testing.assert_array_equal(np.asarray(record.acted) > 0, conditioned)
    np.testing.assert_array_equal(np.isnan(record.first), ~conditioned)
    assert len(np.unique(record.first[conditioned])) > 2  # each has its own time
    assert (np.asarray(record.looked) == SDE.steps).all()


def test_the_share_that_is_never_conditioned_is_that_of_optional_stopping(samples):
    """Between (p - b) / (1 - b) and p = 1/2, since in finite steps the posterior jumps below b, to 0 at least."""
    for target, conditioned in ((0.03, samples[2]), (0.3, drawn(led(0.3), return_memory=True)[1].own[0])):
        low, high = binom.interval(0.999, N, np.array([(0.5 - target) / (1 - target), 0.5]))
        assert low[0] <= (~np.asarray(conditioned)).sum() <= high[1]


@pytest.mark.parametrize("solver", [DDIM(8, eta=1.0), Heun(4)], ids=["ddim", "heun"])
def test_targets_0_and_1_are_the_plain_samplers_bit_for_bit(solver):
    for target, condition in ((0.0, NULL), (1.0, OWN)):
        np.testing.assert_array_equal(drawn(led(target), solver=solver), drawn(mixture(), condition, solver))


def test_a_window_is_looked_at_and_costs_what_it_says():
    window = tuple(float(PROCESS.snr(t)) for t in (0.7, 0.3))
    limited, solver = led(0.03, window=window), DDIM(10)
    np.testing.assert_allclose(breakpoints(limited), [0.7, 0.3], rtol=1e-5)
    times = np.asarray(sample_grid(limited, PROCESS, solver, 1).times)[:-1, 0]
    inside = ((times <= np.float32(breakpoints(limited)[0])) & (times > np.float32(breakpoints(limited)[1]))).sum()
    assert evaluations(limited, PROCESS, solver) == 10 + 2 * inside
    assert evaluations(led(0.0, window=window), PROCESS, solver) == evaluations(led(1.0), PROCESS, solver) == 10
    _, memory = drawn(limited, solver=solver, return_memory=True)
    record = guidance.record(limited, memory, N)
    assert (np.asarray(record.looked) == inside).all()
    assert np.nanmax(record.first) <= 0.7001 and np.nanmin(record.first) > 0.3


def test_a_guidance_with_a_memory_inside_is_evaluated_for_all_conditions():
    apg = guidance.adaptive_projected(mixture(), -1, 1.0, eta=1.0, radius=float("inf"), momentum=0.0)
    window = tuple(float(PROCESS.snr(t)) for t in (0.7, 0.3))
    nested, solver = led(0.03, denoise=apg, window=window), DDIM(10)
    np.testing.assert_allclose(drawn(nested, solver=solver), drawn(led(0.03, window=window), solver=solver), atol=1e-5)
    assert evaluations(nested, PROCESS, solver) == 3 * evaluations(apg, PROCESS, solver)


def test_guidance_inside_leaves_the_posterior_and_another_target_compiles_nothing():
    """Until it is first conditioned, a sample's path is the same."""
    strong = led(0.03, denoise=guidance.classifier_free(mixture(), -1, 2.0))
    solver = DDIM(8)
    guided, plain = (drawn(each, solver=solver, return_memory=True)[1].own[0] for each in (strong, led(0.03)))
    assert 0.4 < np.asarray(plain).mean() < 0.6
    np.testing.assert_array_equal(guided, plain)
    programs = _sample._cache_size()
    drawn(led(0.2), solver=solver, return_memory=True)
    assert _sample._cache_size() == programs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: led(1.5), "`target` must lie in"),
        (lambda: led(-0.1), "`target`"),
        (lambda: guidance.minimal(mixture(), PROCESS, target=0.1, values=1), "`values` must be at least 2, got 1"),
        (lambda: led(0.1, window=(1.0, 0.5)), "0 <= low <= high"),
        (lambda: led(0.1)(jnp.zeros((2, 2)), 0.5, (NULL[:2], (OWN[:2],))), "with 2 values, the own first; got 1"),
    ],
)
def test_arguments_out_of_range_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
