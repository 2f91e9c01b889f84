"""A trained classifier of noised images gives the log odds of the closed form, and those of the prior at full noise."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxdiff.calibration import Calibration, calibration_error, signal
from jaxdiff.classifier import Classification, NoisedClassifier
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.network import Network, noised_classifier
from jaxdiff.process import edm, flow, vp_cosine, vp_linear
from jaxdiff.training import Optimization, initial_state, train_step

# Images whose even rows have a mean that depends on the value and whose odd rows don't, with independent Gaussian pixels.
SIZE, STD = 8, 0.4
LEVELS, SHARES = np.array([-0.3, 0.0, 0.2]), np.array([0.5, 0.3, 0.2])
CONFIG = ClassifierConfig(
    size=SIZE, channels=1, values=3, base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.0, stem=2
)
TONE = Attribute("tone", ("dark", "grey", "light"))
PROCESS = vp_cosine()


def draw(rng, count):
    """Images (N, 8, 8, 1) and labels (N,)."""
    labels = rng.choice(3, count, p=SHARES).astype(np.int32)
    images = STD * rng.standard_normal((count, SIZE, SIZE, 1), np.float32)
    images[:, ::2] += LEVELS[labels][:, None, None, None].astype(np.float32)
    return images, labels


def exact(x, alpha, sigma):
    """log P(value | x_t) in float64: x_t given the value is N(alpha mean, (alpha² STD² + sigma²) I)."""
    density = -0.5 * np.square(x[:, ::2, :, :, None] - alpha * LEVELS).sum((1, 2, 3)) / (alpha**2 * STD**2 + sigma**2)
    return scipy.special.log_softmax(np.log(SHARES) + density, axis=1)


def odds(log_p, members):
    """log of the probability within over that without."""
    within = np.isin(np.arange(3), members)
    return scipy.special.logsumexp(log_p[:, within], axis=1) - scipy.special.logsumexp(log_p[:, ~within], axis=1)


def classifier_of(weights, structure, **changes):
    parts = {"config": CONFIG, "process": PROCESS, "attribute": TONE, "shares": tuple(SHARES.tolist())}
    return NoisedClassifier(network=Network(weights, structure), calibration=Calibration.identity(3), **{**parts, **changes})


@pytest.fixture(scope="module")
def trained() -> NoisedClassifier:
    """Trained on images that are new at every step."""
    objective, optimization = (
        Classification(tuple(SHARES.tolist())),
        Optimization(1e-2, warmup=20, decay_steps=300, ema_decay=0.95),
    )
    state = initial_state(jax.jit(partial(noised_classifier, CONFIG))(jax.random.key(1)), optimization)
    rng = np.random.default_rng(2)
    for _ in range(300):
        images, labels = draw(rng, 256)
        batch = {"x0": jnp.asarray(images), "labels": jnp.asarray(labels[:, None])}
        state, _ = train_step(state, PROCESS, batch, jax.random.key(3), objective=objective, optimization=optimization)
    return classifier_of(state.ema, state.network.structure)


@pytest.fixture(scope="module")
def untrained() -> NoisedClassifier:
    """A classifier whose answers are not those of the prior."""
    made, rng = jax.eval_shape(partial(noised_classifier, CONFIG), jax.random.key(0)), np.random.default_rng(1)
    weights = jax.tree.map(lambda w: jnp.asarray(0.2 * rng.standard_normal(w.shape, np.float32)), made.weights)
    return classifier_of(weights, made.structure)


@jax.jit
def evaluated(log_odds, x, t):
    """The log odds, by one program for all sets of values."""
    return log_odds(jnp.asarray(x), t)


def noised(rng, t, count=2000):
    """x_t (float32), what is exact of it, and its labels."""
    images, labels = draw(rng, count)
    alpha, sigma = float(PROCESS.alpha(np.float32(t))), float(PROCESS.sigma(np.float32(t)))
    x = (alpha * images + sigma * rng.standard_normal(images.shape)).astype(np.float32)
    return x, exact(x.astype(np.float64), alpha, sigma), labels


@pytest.mark.parametrize("members", [("light",), ("dark", "light")])
def test_the_log_odds_are_those_of_the_closed_form(trained, rng, members):
    """At every level of noise: they go with the exact ones, and as probabilities they are off by 0.06 on average at most."""
    said, wanted = [], []
    for t in (0.2, 0.35, 0.5, 0.65, 0.8):
        x, log_p, _ = noised(rng, t)
        found = np.asarray(evaluated(trained.log_odds(members), x, t), np.float64)
        right = odds(log_p, [TONE.values.index(value) for value in members])
        assert np.abs(scipy.special.expit(found) - scipy.special.expit(right)).mean() < 0.06
        assert scipy.stats.pearsonr(found, right).statistic > 0.95
        said.append(found)
        wanted.append(right)
    assert scipy.stats.pearsonr(np.concatenate(said), np.concatenate(wanted)).statistic > 0.95


def test_the_probabilities_are_calibrated(trained, rng):
    """At each level they are off by 0.025 at most, 0.01 of which is chance, and they are nearly as informative as possible."""
    for t in (0.1, 0.3, 0.5, 0.7, 0.9):
        x, log_p, labels = noised(rng, t, 4000)
        ratios = np.stack(
            [np.asarray(evaluated(trained.log_odds((value,)), x, t), np.float64) for value in TONE.values], axis=1
        )
        probabilities = scipy.special.expit(ratios)
        np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
        assert calibration_error(probabilities, labels.astype(np.int64)) < 0.025
        rows = np.arange(len(labels))
        # what it loses against the exact posterior is the mean divergence, in nats
        assert np.mean(log_p[rows, labels] - np.log(probabilities[rows, labels])) < 0.04


@pytest.mark.parametrize("process", [vp_cosine(), vp_linear(), edm(), flow()], ids=lambda p: p.name)
def test_where_no_image_is_left_the_odds_are_those_of_the_prior(untrained, rng, process):
    """Whatever the network says: what it says counts in proportion to the signal."""
    network = dataclasses.replace(untrained, process=process)
    x = rng.standard_normal((64, SIZE, SIZE, 1), np.float32) * float(process.scale(1.0))
    for values, share in ((("light",), 0.2), (("dark", "grey"), 0.8)):
        found = np.asarray(evaluated(network.log_odds(values), x, 1.0))
        prior = math.log(share / (1 - share))
        evidence = np.abs(np.asarray(network.network(jnp.asarray(x) / process.scale(1.0), jnp.ones(64)))).max()
        bound = 2 * evidence * float(signal(process, jnp.ones(1))[0]) + 1e-5
        assert np.abs(found - prior).max() <= bound < 0.1
    at_data = np.asarray(evaluated(network.log_odds(("light",)), x, 0.2))
    assert np.abs(at_data - math.log(0.2 / 0.8)).max() > 0.2


def test_sets_of_values_are_sums_of_probabilities(untrained, rng):
    x, t = rng.standard_normal((32, SIZE, SIZE, 1), np.float32), np.linspace(0.0, 1.0, 32).astype(np.float32)
    found = lambda *values: np.asarray(evaluated(untrained.log_odds(values), x, t), np.float64)  # noqa: E731
    single = scipy.special.expit(np.stack([found(value) for value in TONE.values]))
    np.testing.assert_allclose(single.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(scipy.special.expit(found("dark", "light")), single[0] + single[2], atol=1e-5)
    np.testing.assert_allclose(found("light"), -found("grey", "dark"), atol=1e-5)
    # each image has its own time, and the batch it is in does not matter
    np.testing.assert_allclose(
        evaluated(untrained.log_odds(("light",)), x[9:10], t[9]), found("light")[9:10], rtol=1e-4, atol=1e-5
    )


def test_extreme_evidence_gives_finite_odds(untrained, rng):
    x = rng.standard_normal((4, SIZE, SIZE, 1), np.float32)
    for slope in (1e4, -1e4):
        extreme = dataclasses.replace(untrained, calibration=Calibration(jnp.full(1, slope), jnp.zeros((1, 3))))
        found = np.asarray(evaluated(extreme.log_odds(("light",)), x, 1e-4))
        assert np.isfinite(found).all() and np.abs(found).max() > 100


def test_weights_and_sets_are_arguments_of_a_program(untrained, rng):
    x, traced = rng.standard_normal((2, SIZE, SIZE, 1), np.float32), []

    @jax.jit
    def program(log_odds, x, t):
        traced.append(None)
        return log_odds(x, t)

    other = jax.tree.map(lambda w: 2 * w, untrained.network.weights)
    again = classifier_of(other, untrained.network.structure)
    answers = [program(untrained.log_odds(("light",)), x, 0.5), program(untrained.log_odds(("grey",)), x, 0.4)]
    answers += [program(again.log_odds(("light",)), x, 0.5)]
    assert len(traced) == 1 and not np.allclose(answers[0], answers[2])


PAIRS = Attribute("tone+hat", ("dark+no", "dark+yes", "light+no", "light+yes"))
PAIR_SHARES = np.array([[0.4, 0.1], [0.2, 0.3]])
TONES = Attribute("tone", ("dark", "light"))


@pytest.fixture(scope="module")
def pairs() -> NoisedClassifier:
    """An untrained classifier of combinations of two attributes."""
    config = dataclasses.replace(CONFIG, values=4)
    made, rng = jax.eval_shape(partial(noised_classifier, config), jax.random.key(0)), np.random.default_rng(1)
    weights = jax.tree.map(lambda w: jnp.asarray(0.4 * rng.standard_normal(w.shape, np.float32)), made.weights)
    shares = tuple(PAIR_SHARES.ravel().tolist())
    described = {"config": config, "attribute": PAIRS, "shares": shares, "calibration": Calibration.identity(4)}
    return dataclasses.replace(classifier_of(weights, made.structure), **described)


def test_the_ratio_of_densities_is_that_of_the_posteriors_within_a_group(pairs, rng):
    """sum_a q(a | c) / p(a | c) P(c, a | x) / P(c | x), from the odds of each combination; own shares change nothing."""
    other, within = pairs.shares_within(TONES)
    assert other == Attribute("hat", ("no", "yes"))
    np.testing.assert_allclose(within, [[0.8, 0.2], [0.4, 0.6]])
    x, t = rng.standard_normal((6, SIZE, SIZE, 1), np.float32), np.linspace(0.1, 0.9, 6).astype(np.float32)
    group, target = np.array([0, 1, 0, 1, 1, 0], np.int32), np.array([[0.3, 0.7], [1.0, 0.0]])
    posterior = scipy.special.expit(
        np.stack([np.asarray(evaluated(pairs.log_odds((value,)), x, t), np.float64) for value in PAIRS.values], 1)
    ).reshape(6, 2, 2)
    of_group = posterior[np.arange(6), group]
    wanted = np.log(((target / within)[group] * of_group / of_group.sum(1, keepdims=True)).sum(1))
    np.testing.assert_allclose(pairs.log_ratio(TONES, target)(jnp.asarray(x), t, jnp.eye(2)[group]), wanted, atol=1e-4)
    assert np.ptp(wanted) > 0.1
    same = pairs.log_ratio(TONES, within)(jnp.asarray(x), t, jnp.eye(2)[group])
    np.testing.assert_allclose(same, 0, atol=1e-5)
    np.testing.assert_array_equal(pairs.log_ratio(TONES, target)(jnp.asarray(x), t, jnp.zeros((6, 2))), 0)  # of no group


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda pairs, single: single.shares_within(TONES), "needed, as trained with .*tone.OTHER; this one classifies 'tone'"),
        (lambda pairs, single: pairs.shares_within(Attribute("tone", ("light", "dark"))), "this one classifies 'tone.hat'"),
        (lambda pairs, single: pairs.shares_within(Attribute("hat", ("no", "yes"))), "combinations of 'hat'"),
        (lambda pairs, single: pairs.log_ratio(TONES, np.array([[0.3, 0.6], [1.0, 0.0]])), "whose rows sum to 1"),
        (lambda pairs, single: pairs.log_ratio(TONES, np.array([0.3, 0.7])), r"must be shares \(2, 2\)"),
    ],
)
def test_other_groups_and_shares_are_refused(pairs, untrained, ask, message):
    with pytest.raises(InputError, match=message):
        ask(pairs, untrained)


def test_images_of_another_process_are_refused(untrained):
    untrained.require(vp_cosine())
    for other in (vp_linear(), vp_cosine(offset=0.01)):
        with pytest.raises(InputError, match=f"trained on images noised by .*vp_cosine.*{other.name}"):
            untrained.require(other)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("pale",), "no value 'pale'; it takes dark, grey, light"),
        ((), "some but not all of dark, grey, light, got none"),
        (("dark", "light", "grey"), "some but not all"),
    ],
)
def test_sets_that_are_none_are_refused(untrained, values, words):
    with pytest.raises(InputError, match=words):
        untrained.log_odds(values)


def test_images_of_another_size_are_refused(untrained):
    with pytest.raises(InputError, match=r"\(16, 16, 1\); this classifier takes \(8, 8, 1\)"):
        untrained.log_odds(("light",))(jnp.zeros((2, 16, 16, 1)), 0.5)


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.5, 0.6)])
def test_shares_that_are_no_prior_are_refused(shares):
    with pytest.raises(InputError, match="`shares` must be above 0 and sum to 1"):
        Classification(shares)


def test_a_single_value_is_refused():
    with pytest.raises(InputError, match="`values` must be at least 2, got 1"):
        ClassifierConfig(values=1)
