"""The recurrent unit is that of its equations; scores by it are those of sets for which they are known."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from jaxdiff.errors import InputError
from jaxdiff.quality.series import discriminative_score, predictive_score
from jaxdiff.quality.series.gru import batches, fitted, gru, hidden_size

SHORT = {"iterations": 600, "batch": 32, "repeats": 3}
"""Of sets of 80 windows (4, 3), so that the tests share compiled programs."""


def windows(rng, count: int = 80, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return rng.uniform(low, high, (count, 4, 3)).astype(np.float32)


def random_weights(network, rng):
    """Weights that are all different from those at the start: biases count, too."""
    return {name: rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in network.weights.items()}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_unit_is_that_of_its_equations(rng, key):
    network = gru(3, 5, key)
    w = random_weights(network, rng)
    x, state, expected = rng.normal(size=(6, 7, 3)).astype(np.float32), np.zeros((6, 5)), []
    for t in range(7):
        reset, update = np.split(sigmoid(np.hstack([x[:, t], state]) @ w["gates"] + w["gates_bias"]), 2, axis=1)
        proposed = np.tanh(np.hstack([x[:, t], reset * state]) @ w["candidate"] + w["candidate_bias"])
        state = update * state + (1 - update) * proposed
        expected.append(state @ w["head"][:, 0] + w["head_bias"])
    np.testing.assert_allclose(type(network)(w, network.structure)(jnp.asarray(x)), np.stack(expected, axis=1), atol=1e-5)


def test_the_unit_is_that_of_onnx(rng, key):
    """Whose GRU has the reset gate before the product (`linear_before_reset` = 0), and the order update, reset, proposed."""
    network = gru(3, 5, key)
    w = random_weights(network, rng)
    reset, update = np.split(w["gates"].T, 2)
    stacked = np.vstack([update, reset, w["candidate"].T])
    bias = np.concatenate([*np.split(w["gates_bias"], 2)[::-1], w["candidate_bias"], np.zeros(15)])
    constants = {"W": stacked[None, :, :3], "R": stacked[None, :, 3:], "B": bias[None]}
    graph = helper.make_graph(
        [helper.make_node("GRU", ["X", "W", "R", "B"], ["Y"], hidden_size=5)],
        "gru",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [7, 6, 3])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [7, 1, 6, 5])],
        [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    x = rng.normal(size=(7, 6, 3)).astype(np.float32)
    (states,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"X": x})
    expected = (states[:, 0] @ w["head"][:, 0] + w["head_bias"]).T
    np.testing.assert_allclose(type(network)(w, network.structure)(jnp.swapaxes(x, 0, 1)), expected, atol=1e-5)


def test_weights_at_the_start_are_those_of_tensorflow(key):
    """Uniform by Glorot on the joint kernels of input and state, and a bias of 1 in both gates."""
    weights = gru(20, 30, key).weights
    for name, (rows, columns) in {"gates": (50, 60), "candidate": (50, 30), "head": (30, 1)}.items():
        bound = np.sqrt(6 / (rows + columns))
        assert weights[name].shape == (rows, columns)
        assert 0.9 * bound < np.abs(weights[name]).max() <= bound and abs(weights[name].std() / bound - 3**-0.5) < 0.12
    assert (weights["gates_bias"] == 1).all() and not weights["candidate_bias"].any() and not weights["head_bias"].any()
    assert [hidden_size(features) for features in (1, 2, 3, 7, 28)] == [1, 1, 1, 3, 14]


def test_windows_of_a_step_are_all_different_and_every_window_is_drawn(rng):
    drawn = batches(rng, 40, iterations=300, batch=16)
    assert drawn.shape == (300, 16) and all(len({*row}) == 16 for row in drawn)
    np.testing.assert_allclose(np.bincount(drawn.ravel(), minlength=40), 120, atol=6 * np.sqrt(120))
    assert sorted(batches(rng, 5, iterations=1, batch=16)[0]) == [0, 1, 2, 3, 4]


def quadratic(network, data, indices):
    return ((network(jnp.asarray(data)[indices]) - 1) ** 2).mean()


def test_training_is_adam_on_the_windows_of_each_step(rng, key):
    """Against Adam's equations (Kingma and Ba 2015, algorithm 1) in NumPy, by gradients of single steps."""
    data = windows(rng)
    chosen = [batches(rng, 80, iterations=6, batch=8) for _ in range(2)]
    trained = fitted(3, hidden=2, seed=9, loss=quadratic, data=data, chosen=chosen)
    for repeat in range(2):
        network = gru(3, 2, jax.random.fold_in(jax.random.key(9), repeat))
        first, second, w = {}, {}, network.weights
        for step, taken in enumerate(chosen[repeat], 1):
            slope = jax.grad(
                lambda w, taken=taken, network=network: quadratic(type(network)(w, network.structure), data, taken)
            )(w)
            first = {name: 0.9 * first.get(name, 0) + 0.1 * each for name, each in slope.items()}
            second = {name: 0.999 * second.get(name, 0) + 0.001 * each**2 for name, each in slope.items()}
            w = {
                name: w[name] - 1e-3 * first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
                for name in w
            }
        for name in w:
            np.testing.assert_allclose(trained.weights[name][repeat], w[name], atol=2e-5)


def test_equal_sets_are_not_told_apart_and_disjoint_ones_always(rng):
    real = windows(rng)
    same = discriminative_score(real, windows(rng), **SHORT)
    assert same.score.mean < 0.15  # of 32 windows each: the deviation of one repeat is 0.09
    apart = discriminative_score(windows(rng, high=0.3), windows(rng, low=0.7), **SHORT)
    np.testing.assert_array_equal([apart.score.values, apart.real - 0.5, apart.synthetic - 0.5], 0.5)
    np.testing.assert_allclose(same.score.values, np.abs((same.real + same.synthetic) / 2 - 0.5))


def test_the_discriminative_score_grows_with_a_shift(rng):
    real = windows(rng, high=0.6)
    scores = [discriminative_score(real, windows(rng, high=0.6) + shift, **SHORT).score.mean for shift in (0, 0.15, 0.5)]
    assert scores[0] + 0.05 < scores[1] < scores[2] - 0.05


def test_a_difference_at_the_end_of_windows_is_seen(rng):
    synthetic = windows(rng)
    synthetic[:, -1] = 0.95
    assert discriminative_score(windows(rng), synthetic, **SHORT).score.mean > 0.2


def test_chance_is_the_same_for_sets_of_unequal_size(rng):
    """Of ten times as many real windows, "all are real" has the plain accuracy 10/11; the score stays at that of chance."""
    found = discriminative_score(windows(rng, 800), windows(rng, 80), **SHORT)
    assert found.score.mean < 0.15
    np.testing.assert_allclose(found.score.values, np.abs((found.real + found.synthetic) / 2 - 0.5))
    np.testing.assert_array_equal(np.round(found.real * 160) / 160, found.real)
    np.testing.assert_array_equal(np.round(found.synthetic * 16) / 16, found.synthetic)


def following(rng, count: int = 80) -> np.ndarray:
    """Windows whose last feature follows the first one, a step later."""
    made = windows(rng, count)
    made[:, 1:, 2] = made[:, :-1, 0]
    return made


LONG = {"iterations": 3000, "batch": 32, "repeats": 2}


def test_the_predictive_score_is_the_error_that_the_data_allow(rng):
    """Of independent uniform values the median is predicted, with E|u - 1/2| = 1/4; where synthetic ones are all 0.8, 0.8."""
    real, constant = windows(rng, 80), windows(rng, 80)
    constant[..., 2] = 0.8
    u = real[:, 1:, 2].astype(np.float64)
    assert predictive_score(real, windows(rng, 80), **LONG).mean == pytest.approx(np.abs(u - np.median(u)).mean(), abs=0.02)
    assert predictive_score(real, constant, **LONG).mean == pytest.approx(np.abs(u - 0.8).mean(), abs=0.01)


def test_a_predictor_learns_what_synthetic_windows_show(rng):
    """The last feature is the first one a step before: predicted in all but the initial steps' noise, from any other not."""
    real = following(rng)
    learnt = predictive_score(real, following(rng), **LONG)
    unlearnt = predictive_score(real, windows(rng), **LONG)
    turned = predictive_score(real, 1 - following(rng)[..., [1, 0, 2]], **LONG)
    assert learnt.mean < 0.6 * unlearnt.mean and unlearnt.mean < turned.mean


def test_the_past_of_what_is_predicted_is_not_given(rng):
    """The last feature is the same at all steps of a window, which its past would tell and other features do not."""
    real, synthetic = windows(rng), windows(rng)
    real[..., 2], synthetic[..., 2] = real[:, :1, 2], synthetic[:, :1, 2]
    u = real[:, 0, 2].astype(np.float64)
    assert predictive_score(real, synthetic, **LONG).mean > 0.9 * np.abs(u - np.median(u)).mean()


def test_of_one_feature_its_next_value_is_predicted_from_its_own_past(rng):
    flips = rng.integers(0, 2, (80, 1, 1)) ^ (np.arange(4) % 2)[None, :, None]
    alternating = (0.1 + 0.8 * flips).astype(np.float32)
    assert predictive_score(alternating, alternating, **LONG).mean < 0.25  # a constant errs by 0.4
    assert predictive_score(alternating, windows(rng)[..., :1], **LONG).mean > 0.35


def test_scores_are_functions_of_the_seed(rng):
    real, synthetic = windows(rng), windows(rng, high=0.8)
    for score in (
        lambda **a: discriminative_score(real, synthetic, **a).score,
        lambda **a: predictive_score(real, synthetic, **a),
    ):
        first, again, other = (score(seed=seed, **SHORT) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first.values, again.values)
        assert not (first.values == other.values).all() and len({*first.values}) > 1
        np.testing.assert_array_equal(score(seed=1, **SHORT | {"repeats": 2}).values, first.values[:2])


@pytest.mark.parametrize("score", [discriminative_score, predictive_score])
def test_batches_are_functions_of_the_seed_and_of_the_repeat(score, rng, monkeypatch):
    """Which the scores alone do not show: the initial weights differ, too."""
    seen = []

    def fitted(features, *, chosen, **settings):
        seen.append([np.asarray(each).tobytes() for each in chosen])
        raise InterruptedError

    monkeypatch.setattr("jaxdiff.quality.series.gru.fitted", fitted)
    real = windows(rng)
    for seed in (1, 1, 2):
        with pytest.raises(InterruptedError):
            score(real, real, seed=seed, iterations=2, repeats=2)
    assert seen[0] == seen[1] and len({*seen[0], *seen[2]}) == 4


@pytest.mark.parametrize("score", [discriminative_score, predictive_score])
def test_what_no_score_takes_is_refused(score, rng):
    real = windows(rng)
    for numbers in ({"iterations": 0}, {"batch": 0}, {"repeats": 0}):
        with pytest.raises(InputError, match=f"`{next(iter(numbers))}`.* at least 1"):
            score(real, real, **numbers)
    with pytest.raises(InputError, match="the same features"):
        score(real, real[..., :2])
    with pytest.raises(InputError, match="at least 2"):
        score(real[:, :1], real[:, :1]) if score is predictive_score else score(real, real[:1])
