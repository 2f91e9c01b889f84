"""The encoder is that of its definition, a crop in a mask is the crop alone, and distances are those of encodings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, log_softmax

from jaxdiff.errors import InputError
from jaxdiff.quality.moments import Moments, frechet_distance
from jaxdiff.quality.series import context as program
from jaxdiff.quality.series import context_fid, train_encoders
from jaxdiff.quality.series.ts2vec import contrastive_loss, encoded, ts2vec
from tests.quality.series.processes import autoregressive, uniform


@pytest.fixture(scope="module")
def network():
    return ts2vec(3, np.random.default_rng(0))


apply = jax.jit(lambda network, *arguments: network(*arguments))
loss_of = jax.jit(contrastive_loss)


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def convolution(x, layer, dilation):
    """By the definition: a sum over the taps that lie within the series."""
    kernel, out = np.asarray(layer["kernel"], np.float64), np.zeros((*x.shape[:2], layer["kernel"].shape[2]))
    for t in range(x.shape[1]):
        for tap in range(3):
            source = t + (tap - 1) * dilation
            if 0 <= source < x.shape[1]:
                out[:, t] += x[:, source] @ kernel[tap]
    return out + np.asarray(layer["bias"])


def by_definition(weights, x, seen):
    y = (x @ np.asarray(weights["inputs"]) + np.asarray(weights["inputs_bias"])) * seen[..., None]
    for i, block in sorted(weights["blocks"].items()):
        inner = convolution(gelu(y), block["first"], 2**i)
        shortcut = y @ np.asarray(block["shortcut"]) + np.asarray(block["shortcut_bias"]) if "shortcut" in block else y
        y = convolution(gelu(inner), block["second"], 2**i) + shortcut
    return y


def test_the_encoder_is_that_of_its_definition(network, rng):
    x, seen = rng.random((4, 12, 3)), rng.random((4, 12)) < 0.5
    assert len(network.weights["blocks"]) == 11
    found = apply(network, jnp.asarray(x, jnp.float32), jnp.ones((4, 12), bool), jnp.asarray(seen))
    np.testing.assert_allclose(found, by_definition(network.weights, x, seen), atol=2e-5)
    whole = by_definition(network.weights, x, np.ones((4, 12)))
    np.testing.assert_allclose(encoded(network, jnp.asarray(x, jnp.float32)), whole.max(axis=1), atol=2e-5)


def test_a_crop_in_a_mask_is_encoded_as_the_crop_alone(network, rng):
    x, seen = rng.random((4, 12, 3)), rng.random((4, 12)) < 0.5
    inside = np.broadcast_to((np.arange(12) >= 3) & (np.arange(12) < 9), (4, 12))
    found = apply(network, jnp.asarray(x, jnp.float32), jnp.asarray(inside), jnp.asarray(seen))[:, 3:9]
    np.testing.assert_allclose(found, by_definition(network.weights, x[:, 3:9], seen[:, 3:9]), atol=2e-5)


def loss_by_definition(first, second):
    """Yue et al. 2022, equations 1 to 3 and algorithm 1, pair by pair."""
    losses = []
    while True:
        instances, times = first.shape[:2]

        def found(anchor, positive, negatives):
            logits = np.array([anchor @ other for other in [positive, *negatives]])
            return -log_softmax(logits)[0]

        instance, temporal = [], []
        for one, other in ((first, second), (second, first)):
            for i in range(instances):
                for t in range(times):
                    others = [view[j, t] for view in (one, other) for j in range(instances) if j != i]
                    instance.append(found(one[i, t], other[i, t], others))
                    moments = [view[i, s] for view in (one, other) for s in range(times) if s != t]
                    temporal.append(found(one[i, t], other[i, t], moments))
        losses.append((np.mean(instance) + (np.mean(temporal) if times > 1 else 0)) / 2)
        if times == 1:
            return np.mean(losses)
        pooled = [view[:, : times // 2 * 2].reshape(instances, times // 2, 2, -1).max(axis=2) for view in (first, second)]
        first, second = pooled


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 11, 12])
def test_the_loss_is_that_of_its_definition_at_every_length(length, rng):
    first, second = rng.normal(size=(2, 3, 12, 5))
    found = loss_of(jnp.asarray(first, jnp.float32), jnp.asarray(second, jnp.float32), jnp.asarray(length))
    assert found == pytest.approx(loss_by_definition(first[:, :length], second[:, :length]), rel=1e-5)


def test_views_are_crops_that_overlap_within_the_windows(rng):
    crops = program._crops(rng, 9, (4000, 8))
    assert (crops.outer_left >= 0).all() and (crops.outer_left <= crops.left).all() and (crops.outer_right <= 9).all()
    assert (crops.right <= crops.outer_right).all()
    overlap = crops.right - crops.left
    np.testing.assert_allclose(np.bincount(overlap)[2:], 4000 / 8, atol=6 * np.sqrt(500))
    assert ((crops.outer_left[:, None] + crops.shift >= 0) & (crops.outer_right[:, None] + crops.shift <= 9)).all()
    assert {*np.unique(crops.shift)} >= {*range(-6, 7)}


def test_a_step_compares_both_views_where_they_overlap(network, rng, monkeypatch):
    """With nothing masked or dropped, the loss of a step is that of the encodings of the two crops, cut to their overlap."""
    monkeypatch.setattr(jax.random, "bernoulli", lambda key, p, shape: jnp.ones(shape, bool))
    monkeypatch.setattr(program, "DROPOUT", 0.0)
    x = rng.random((3, 12, 3))
    crop = program.Crops(*(jnp.asarray(each, jnp.int32) for each in (2, 4, 9, 10, [-2, 0, 2])))
    starts = [0, 2, 4]
    first = np.stack([x[i, start : start + 7] for i, start in enumerate(starts)])  # steps 2 to 8, shifted
    second = np.stack([x[i, start + 2 : start + 8] for i, start in enumerate(starts)])  # steps 4 to 9
    encodings = [by_definition(network.weights, each, np.ones(each.shape[:2])) for each in (first, second)]
    expected = loss_by_definition(encodings[0][:, 2:], encodings[1][:, :5])
    found = program.crop_loss(network, jnp.asarray(x, jnp.float32), crop, jax.random.key(0))
    assert found == pytest.approx(expected, rel=1e-4)


def test_passes_take_every_window_once(rng):
    taken = program._passes(rng, 21, iterations=7, batch=4)
    assert taken.shape == (7, 4) and len({*taken[:5].ravel()}) == 20 and len({*taken[5:].ravel()}) == 8
    assert sorted(program._passes(rng, 3, iterations=1, batch=3)[0]) == [0, 1, 2]


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(1)
    real, same = (uniform(autoregressive(rng, 160, 8, [0.9, 0.2])) for _ in range(2))
    return real, same, uniform(autoregressive(rng, 160, 8, [0.2, 0.9]))


@pytest.fixture(scope="module")
def encoders(sets):
    return train_encoders(sets[0], iterations=20, batch=8, repeats=2, seed=5)


def test_the_distance_is_that_of_the_encodings_and_knows_other_series(sets, encoders):
    real, same, other = sets
    found = context_fid(encoders, real, other)
    for encoder, value in zip(encoders, found.score.values, strict=True):
        moments = [Moments.from_features(encoder.encode(each)) for each in (real, other)]
        assert value == pytest.approx(frechet_distance(*moments), rel=1e-9)
    floor = context_fid(encoders, real, same).score
    assert found.score.mean > 3 * floor.mean > 0
    assert context_fid(encoders, real, real[::-1]).score.mean < 1e-4 * floor.mean
    shifted = [context_fid(encoders, real, real + shift).score.mean for shift in (0.1, 0.3)]
    assert floor.mean < shifted[0] < shifted[1]


def test_encoders_are_functions_of_the_seed_and_of_the_real_windows(sets, encoders):
    again = train_encoders(sets[0], iterations=20, batch=8, repeats=2, seed=5)
    assert [each.checksum for each in again] == [each.checksum for each in encoders]
    others = [
        *train_encoders(sets[0], iterations=20, repeats=1, seed=6),
        *train_encoders(sets[1], iterations=20, repeats=1, seed=5),
    ]
    assert len({each.checksum for each in (*encoders, *others)}) == 4
    assert context_fid(encoders, *sets[:2]).checksums == tuple(each.checksum for each in encoders)
    assert [(each.seed, each.repeat, each.iterations) for each in encoders] == [(5, 0, 20), (5, 1, 20)]


def test_an_encoding_does_not_depend_on_the_other_windows(sets, encoders):
    alone = encoders[0].encode(sets[0][3:4])
    np.testing.assert_allclose(encoders[0].encode(sets[0])[3:4], alone, atol=1e-6)
    assert alone.shape == (1, 320)


def test_the_number_of_steps_is_the_published_one(monkeypatch):
    monkeypatch.setattr(program, "_train", lambda network, key, windows, taken, crops: network)
    steps = lambda count: train_encoders(np.zeros((count, 10, 10)), repeats=1)[0].iterations  # noqa: E731
    assert (steps(1000), steps(1001)) == (200, 600)


def test_each_repeat_has_batches_and_crops_of_its_own_for_every_window(monkeypatch):
    seen = []

    def train(network, key, windows, taken, crops):
        seen.append((taken, crops))
        return network

    monkeypatch.setattr(program, "_train", train)
    train_encoders(np.zeros((40, 10, 2)), iterations=5, repeats=2, seed=1)
    train_encoders(np.zeros((40, 10, 2)), iterations=5, repeats=1, seed=2)
    assert all(taken.shape == crops.shift.shape == (5, 8) for taken, crops in seen)
    assert len({taken.tobytes() for taken, _ in seen}) == len({crops.left.tobytes() for _, crops in seen}) == 3


def test_what_no_encoder_takes_is_refused(sets, encoders):
    real = sets[0]
    for numbers in ({"iterations": 0}, {"batch": 0}, {"repeats": 0}):
        with pytest.raises(InputError, match=f"`{next(iter(numbers))}`.* at least 1"):
            train_encoders(real, **numbers)
    for windows in (real[:1], real[:, :1]):
        with pytest.raises(InputError, match="at least 2"):
            train_encoders(windows)
    with pytest.raises(InputError, match="`encoders` must be at least one"):
        context_fid([], real, real)
    with pytest.raises(InputError, match="of 2 features"):
        context_fid(encoders, real[..., :1], real[..., :1])
    with pytest.raises(InputError, match="of 2 features"):
        encoders[0].encode(real[:0])
