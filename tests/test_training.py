"""The loss and a training step: closed forms, identities across parameterisations, and recursions by hand."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from flax import nnx

from jaxdiff.choices import PREDICTIONS
from jaxdiff.errors import InputError
from jaxdiff.models import labels
from jaxdiff.models.network import Network
from jaxdiff.phases import boundary_times, phase
from jaxdiff.process import edm, flow, sub_vp, ve, vp_cosine, vp_linear
from jaxdiff.training import Objective, Optimization, TrainState, initial_state, train_step

MEAN, STD, SHAPE = 0.3, 0.5, (2, 2, 3)
COUNT = 20_000


def gaussian_batch(count=COUNT) -> dict:
    """Images of independent pixels N(MEAN, STD²) with labels of one attribute."""
    rng = np.random.default_rng(1)
    images = MEAN + STD * rng.standard_normal((count, *SHAPE), np.float32)
    return {"x0": jnp.asarray(images), "labels": jnp.asarray(rng.integers(0, 2, (count, 1)), jnp.int32)}


def predictor(process, prediction, gain=1.0):
    """A network that is exact for these images with `gain` 1, and off with another."""

    def network(x, t, condition, dropout_key):
        alpha, sigma, scale = (part(t)[:, None, None, None] for part in (process.alpha, process.sigma, process.scale))
        x = scale * x  # a network sees noised data of unit variance
        shrink = gain * alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        return process.from_x0(prediction, MEAN + shrink * (x - alpha * MEAN), x, t)

    return network


def loss(network, process, objective, batch, key) -> float:
    """The mean loss of a batch: what is minimised."""
    return float(objective.losses(network, process, batch, key)[0].mean())


# --- the loss ---


@pytest.mark.parametrize("process", [vp_linear(), vp_cosine()], ids=lambda p: p.name)
@pytest.mark.parametrize(("prediction", "weighting"), [("eps", "simple"), ("v", "simple"), ("x0", "simple"), ("x0", "p2")])
def test_an_exact_network_has_the_least_loss_there_is(process, prediction, weighting, key):
    """The error left is the variance of the posterior: of x0 it is STD² sigma² / v, of eps alpha² / sigma² times that."""
    objective = Objective(prediction, weighting=weighting, p2_gamma=0.5, p2_k=2.0)
    value = float(loss(predictor(process, prediction), process, objective, gaussian_batch(), key))
    t = (np.arange(200_000) + 0.5) / 200_000
    alpha, sigma = (np.asarray(part, np.float64) for part in (process.alpha(t), process.sigma(t)))
    posterior = STD**2 * sigma**2 / (alpha**2 * STD**2 + sigma**2)
    # eps = (x - alpha x0) / sigma and v = alpha eps - sigma x0 = (alpha x - x0) / sigma where alpha² + sigma² = 1
    left = {"x0": posterior, "eps": posterior * alpha**2 / sigma**2, "v": posterior / sigma**2}[prediction]
    if weighting == "p2":
        left = posterior * alpha**2 / sigma**2 / (2.0 + alpha**2 / sigma**2) ** 0.5
    assert value == pytest.approx(left.mean(), rel=0.02)
    assert loss(predictor(process, prediction, gain=0.6), process, objective, gaussian_batch(), key) > 1.02 * value


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_p2_weights_the_same_error_whatever_is_predicted(gamma, key):
    """One estimate of x0 that is wrong, expressed in four parameterisations: 1 / (k + SNR)^gamma times its error of eps."""
    process, batch = vp_cosine(), gaussian_batch()
    losses = {
        prediction: float(
            loss(predictor(process, prediction, 0.5), process, Objective(prediction, "p2", gamma, 2.0), batch, key)
        )
        for prediction in PREDICTIONS
    }
    if gamma == 0:
        losses["simple"] = float(loss(predictor(process, "eps", 0.5), process, Objective("eps"), batch, key))
    assert list(losses.values()) == pytest.approx([losses["eps"]] * len(losses), rel=1e-3)


@pytest.mark.parametrize("weighting", ["likelihood", "min_snr"])
@pytest.mark.parametrize("process", [vp_linear(), sub_vp(), flow(), edm()], ids=lambda p: p.name)
def test_a_weighting_weights_the_same_error_whatever_is_predicted(process, weighting, key):
    batch = gaussian_batch(2_000)
    found = [loss(predictor(process, name, 0.5), process, Objective(name, weighting), batch, key) for name in PREDICTIONS]
    assert found == pytest.approx([found[0]] * len(found), rel=2e-3)


def test_min_snr_weights_are_those_of_the_paper():
    """Hang et al. 2023: min(SNR, gamma) for x0, / SNR for eps, / (SNR + 1) for v."""
    process, t = vp_cosine(), jnp.linspace(0.01, 0.99, 23)
    snr = np.asarray(process.snr(t), np.float64)
    for name, share in (("x0", 1.0), ("eps", snr), ("v", snr + 1)):
        weights = Objective(name, "min_snr", min_snr_gamma=3.0).weights(process, t)
        np.testing.assert_allclose(weights, np.minimum(snr, 3.0) / share, rtol=1e-4)


def test_likelihood_weights_are_g2_on_the_score():
    """beta for the score, beta / sigma² for eps (Song, Durkan et al. 2021); VE has g² = 2 sigma² log(sigma_max / sigma_min)."""
    t = jnp.linspace(0.01, 1, 9)
    beta = 0.1 + 19.9 * np.asarray(t)
    np.testing.assert_allclose(Objective("score", "likelihood").weights(vp_linear(), t), beta, rtol=1e-4)
    variance = -np.expm1(-(0.1 * np.asarray(t) + 9.95 * np.asarray(t) ** 2))
    np.testing.assert_allclose(Objective("eps", "likelihood").weights(vp_linear(), t), beta / variance, rtol=1e-4)
    np.testing.assert_allclose(Objective("eps", "likelihood").weights(ve(), t), 2 * math.log(5000), rtol=1e-4)


@pytest.mark.parametrize("process", [edm(), vp_cosine()], ids=lambda p: p.name)
def test_the_unweighted_loss_of_edm_is_the_papers(process, key):
    """Weight (S² + d²) / (S d)² on the error of x0 at level S = sigma / alpha (Karras et al. 2022, table 1)."""
    values, t = Objective("edm").losses(predictor(process, "edm", 0.5), process, gaussian_batch(500), key)
    in_x0, _ = Objective("x0").losses(predictor(process, "x0", 0.5), process, gaussian_batch(500), key)
    level2 = np.asarray(1 / process.snr(t))
    np.testing.assert_allclose(values, in_x0 * (level2 + 0.25) / (level2 * 0.25), rtol=5e-3, atol=1e-4)


def test_p2_weights_are_those_of_the_paper():
    process, t = vp_linear(), jnp.linspace(0.01, 1, 9)
    abar = np.exp(-(0.1 * np.asarray(t, np.float64) + 0.5 * 19.9 * np.asarray(t, np.float64) ** 2))
    weights = Objective("eps", "p2", 0.7, 1.5).weights(process, t)
    np.testing.assert_allclose(weights, 1 / (1.5 + abar / (1 - abar)) ** 0.7, rtol=1e-3)
    np.testing.assert_array_equal(Objective("v", p2_gamma=0.7).weights(process, t), 1)


def test_the_loss_of_the_network_zero_is_the_power_of_its_target(key):
    zero = lambda x, t, condition, dropout_key: jnp.zeros_like(x)  # noqa: E731
    run = lambda prediction: float(loss(zero, vp_cosine(), Objective(prediction), gaussian_batch(), key))  # noqa: E731
    power = MEAN**2 + STD**2
    assert run("eps") == pytest.approx(1, rel=0.01)
    assert run("x0") == pytest.approx(power, rel=0.01)
    # alpha² + sigma² power, with alpha² all but cos² over a quarter turn
    assert run("v") == pytest.approx((1 + power) / 2, rel=0.02)


# --- times and labels ---


@pytest.mark.parametrize("count", [1, 7, 64])
def test_stratified_times_fall_one_into_each_stratum(count):
    keys = jax.random.split(jax.random.key(3), 200)
    times = np.asarray(jax.vmap(lambda key: Objective().times(vp_cosine(), key, count))(keys))
    assert np.all((times > 0) & (times <= 1))
    np.testing.assert_array_equal(np.sort(np.ceil(times * count - 1e-5), axis=1), np.tile(np.arange(1, count + 1), (200, 1)))
    # uniform within a stratum: mean 1/2 and variance 1/12
    within = np.sort(times, axis=1) * count - np.arange(count)
    assert within.mean() == pytest.approx(0.5, abs=4 / math.sqrt(12 * within.size))


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("sampling", ["stratified", "uniform", "log_normal"])
@pytest.mark.parametrize("count", [1, 64, 4096])
def test_no_time_is_zero_whatever_is_drawn(sampling, count, draw, monkeypatch, key):
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.full(shape, draw, jnp.float32))
    times = np.asarray(Objective(time_sampling=sampling).times(vp_cosine(), key, count))
    assert times.min() > 0
    assert times.max() <= 1


@pytest.mark.parametrize("process", [edm(), vp_cosine()], ids=lambda p: p.name)
def test_log_normal_times_have_normal_log_levels(process, key):
    times = Objective(time_sampling="log_normal", level_mean=-0.5, level_std=0.8).times(process, key, 4096)
    level = np.sort(-0.5 * np.asarray(process.log_snr(times)))
    assert scipy.stats.kstest(level, scipy.stats.norm(-0.5, 0.8).cdf).statistic < 2 / 4096


@pytest.mark.parametrize("process", [vp_linear(), vp_cosine(), ve(), flow()], ids=lambda p: p.name)
def test_phases_meet_where_the_snr_says(process):
    t = jnp.linspace(0.001, 1, 400)
    snr, boundaries = np.asarray(process.snr(t)), (2.0, 0.05)
    np.testing.assert_array_equal(phase(process, t, boundaries), np.where(snr >= 2.0, 0, np.where(snr >= 0.05, 1, 2)))
    np.testing.assert_allclose(process.snr(np.asarray(boundary_times(process, boundaries))), boundaries, rtol=1e-4)


def test_uniform_times_are_independent_and_uniform(key):
    times = np.asarray(Objective(time_sampling="uniform").times(vp_cosine(), key, 10_000))
    assert np.abs(np.histogram(times, 10, (0, 1))[0] - 1000).max() < 5 * math.sqrt(900)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("own", [0.0, 0.5])
@pytest.mark.parametrize("attributes", [1, 2])
def test_labels_are_dropped_together_and_one_by_one_at_their_rates(rate, own, attributes, key):
    seen, count = [], COUNT
    given = np.stack([np.arange(count) % 2, np.arange(count) % 5], 1).astype(np.int32)[:, :attributes]

    def network(x, t, condition, dropout_key):
        seen.append(np.asarray(condition))
        return x

    batch = {"x0": jnp.zeros((count, *SHAPE)), "labels": jnp.asarray(given)}
    loss(network, vp_cosine(), Objective(label_dropout=rate, attribute_dropout=own), batch, key)
    dropped = seen[0] == labels.NULL
    np.testing.assert_array_equal(seen[0][~dropped], given[~dropped])
    # one attribute alone is dropped with "all" of them only
    alone = own if attributes > 1 else 0.0
    for share, found in (
        (rate + (1 - rate) * alone**attributes, dropped.all(axis=1).mean()),
        *((rate + (1 - rate) * alone, column.mean()) for column in dropped.T),
    ):
        assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / count))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prediction": "noise"}, "`prediction` must be one of x0, eps, v, score, edm, got 'noise'"),
        ({"weighting": "snr"}, "`weighting` must be one of simple, likelihood, p2, min_snr, got 'snr'"),
        ({"p2_gamma": -0.1}, "p2_gamma >= 0"),
        ({"p2_k": 0.0}, "p2_k > 0"),
        ({"label_dropout": 1.1}, r"`label_dropout` must lie in \[0, 1\], got 1.1"),
        ({"label_dropout": -0.1}, "`label_dropout`"),
        ({"attribute_dropout": 2.0}, r"`attribute_dropout` must lie in \[0, 1\], got 2.0"),
        ({"min_snr_gamma": 0.0}, "`min_snr_gamma` must be above 0, got 0.0"),
        ({"level_std": -1.0}, "`level_std` must be above 0, got -1.0"),
        ({"phases": (0.01, 1.0)}, "two decreasing SNR above 0, got 0.01, 1.0"),
        ({"time_sampling": "sobol"}, "`time_sampling` must be one of stratified, uniform, log_normal, got 'sobol'"),
    ],
)
def test_an_objective_out_of_range_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Objective(**arguments)


# --- a step ---


class Affine(nnx.Module):
    """The smallest network that learns: a gain and, for each label and the null label, a constant."""

    def __init__(self):
        self.gain = nnx.Param(jnp.zeros(SHAPE))
        self.constant = nnx.Param(jnp.zeros((3, *SHAPE)))

    def __call__(self, x, t, condition, dropout_key=None):
        return self.gain[...] * x + self.constant[...][condition[:, 0]]


def fresh(optimization) -> TrainState:
    """A state before its first step; arrays of its own, since a step consumes them."""
    structure, weights = nnx.split(Affine(), nnx.Param)
    return initial_state(Network(weights, structure), optimization)


def arrays(tree) -> list[np.ndarray]:
    """The leaves, on the host."""
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]


OBJECTIVE = Objective("x0")
PLAIN = Optimization(learning_rate=0.05, warmup=1, weight_decay=0.0, ema_decay=0.35)
BATCH = gaussian_batch(16)


def steps(state, count, key, optimization=PLAIN):
    """This many steps on one batch: the last state, and the metrics of each."""
    metrics = []
    for _ in range(count):
        state, measured = train_step(state, vp_cosine(), BATCH, key, objective=OBJECTIVE, optimization=optimization)
        metrics.append({name: np.array(value) for name, value in measured.items()})
    return state, metrics


def test_steps_are_counted_and_lower_the_loss(key):
    state, metrics = steps(fresh(PLAIN), 60, key)
    assert int(state.step) == 60
    losses = [step["loss"] for step in metrics]
    # at first the whole power of x0 is the loss; an affine map of x leaves less than its variance
    assert losses[0] == pytest.approx(MEAN**2 + STD**2, rel=0.2)
    assert np.mean(losses[-10:]) < STD**2


def test_a_copied_state_repeats_its_steps_exactly(key):
    """All randomness is fold_in(key, step): a run that resumes needs the state alone."""
    state, _ = steps(fresh(PLAIN), 3, key)
    copy = jax.tree.map(jnp.copy, state)
    one, metrics = steps(state, 2, key)
    other, repeated = steps(jax.tree.map(jnp.copy, copy), 2, key)
    jax.tree.map(np.testing.assert_array_equal, metrics, repeated)
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_array_equal(a, b)
    # another key, and another step of the same key, draw other noise
    assert steps(jax.tree.map(jnp.copy, copy), 1, jax.random.key(1))[1][0]["loss"] != metrics[0]["loss"]
    assert steps(dataclasses.replace(copy, step=copy.step + 1), 1, key)[1][0]["loss"] != metrics[0]["loss"]


def test_the_metrics_are_those_of_the_loss_at_the_folded_key(key):
    state = fresh(PLAIN)
    run = lambda network: OBJECTIVE.losses(network, vp_cosine(), BATCH, jax.random.fold_in(key, 0))  # noqa: E731
    values, t = run(state.network)
    gradient = jax.jit(jax.grad(lambda network: run(network)[0].mean()))(state.network)
    norm = math.sqrt(sum((leaf.astype(np.float64) ** 2).sum() for leaf in arrays(gradient)))
    _, (metrics,) = steps(state, 1, key)
    assert (float(metrics["loss"]), float(metrics["gradient_norm"])) == pytest.approx((float(values.mean()), norm), rel=1e-5)
    snr, values = np.asarray(vp_cosine().snr(t)), np.asarray(values)
    for index, member in enumerate((snr >= 1, (snr < 1) & (snr >= 0.01), snr < 0.01)):
        assert metrics["phase_count"][index] == member.sum()
        assert metrics["phase_loss"][index] == pytest.approx(values[member].sum(), rel=1e-4)


def test_the_average_of_the_weights_follows_its_recursion(key):
    """average <- d average + (1 - d) weights with d = min(decay, (1 + step) / (10 + step)); .35 is reached at step 4."""
    state = fresh(PLAIN)
    average = arrays(state.ema)
    decays = []
    for step in range(7):
        state, _ = steps(state, 1, key)
        decays.append(decay := min(0.35, (1 + step) / (10 + step)))
        weights = arrays(state.network.weights)
        average = [decay * old + (1 - decay) * new for old, new in zip(average, weights, strict=True)]
        for expected, got in zip(average, arrays(state.ema), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    assert decays[3] < decays[4] == 0.35


def test_a_large_gradient_counts_as_one_of_the_clipped_norm():
    """Adam forgets a constant factor, not a change of scale from one step to the next."""
    weights, first = {"w": jnp.zeros(4)}, {"w": jnp.asarray([0.3, -0.2, 0.1, 0.4])}
    second = {"w": jnp.asarray([3.0, 4.0, 0.0, 12.0])}  # norm 13

    def second_update(gradient, clip):
        transformation = Optimization(warmup=1, clip=clip).transformation()
        state = transformation.init(weights)
        for given in (first, gradient):
            update, state = transformation.update(given, state, weights)
        return np.asarray(update["w"])

    shrunk = jax.tree.map(lambda g: 2.0 * g / 13, second)
    np.testing.assert_allclose(second_update(second, 2.0), second_update(shrunk, 100.0), rtol=1e-5)
    assert not np.allclose(second_update(second, 100.0), second_update(shrunk, 100.0), rtol=0.01)


def test_the_rate_warms_up_then_decays_to_a_tenth():
    """Adam's update has the size of the rate while the gradient stays the same."""

    def rates(count, **arguments):
        transformation = Optimization(learning_rate=0.1, weight_decay=0.0, **arguments).transformation()
        weights, gradient = {"w": jnp.zeros(1)}, {"w": jnp.full(1, 0.5)}

        def body(state, _):
            update, state = transformation.update(gradient, state, weights)
            return state, -update["w"][0]

        return np.asarray(jax.lax.scan(body, transformation.init(weights), None, length=count)[1])

    np.testing.assert_allclose(rates(10, warmup=4), [0, 0.025, 0.05, 0.075, *[0.1] * 6], rtol=1e-4)
    turns = np.minimum(np.arange(26) / 20, 1)
    expected = 0.1 * (0.1 + 0.9 * (1 + np.cos(np.pi * turns)) / 2)
    np.testing.assert_allclose(rates(30, warmup=4, decay_steps=24)[4:], expected, rtol=1e-4)


def test_weight_decay_shrinks_by_the_rate(key):
    """AdamW: apart from the gradient's step, weights shrink by rate times decay."""
    weights = {"w": jnp.asarray([2.0, -1.0])}
    transformation = Optimization(learning_rate=0.1, warmup=1, weight_decay=0.3).transformation()
    state = transformation.init(weights)
    for _ in range(2):  # the rate is 0 in the first step
        update, state = transformation.update({"w": jnp.zeros(2)}, state, weights)
    np.testing.assert_allclose(optax.apply_updates(weights, update)["w"], 0.97 * weights["w"], rtol=1e-6)
