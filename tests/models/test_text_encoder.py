"""The text encoder is a causal transformer, as written out by hand, and its outputs are those of the layers that they name."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.models.network import Network, text_encoder, with_tokens
from jaxdiff.models.text_encoder import TextEncoderConfig
from jaxdiff.weight_file import named

SMALL = TextEncoderConfig(vocabulary=40, width=16, layers=3, heads=4, inner=24, positions=12, projection=6)
IDS = np.array([[38, 5, 7, 9, 39, 39, 39, 39, 39, 39, 39, 39], [38, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 39]], np.int32)
ENDS = np.array([4, 11], np.int32)

run = jax.jit(Network.__call__, static_argnames=("skip", "normalised"))


def drawn(config: TextEncoderConfig, seed: int = 0) -> Network:
    """A text encoder with every weight drawn, biases and scales too."""
    made, rng = jax.eval_shape(partial(text_encoder, config), jax.random.key(0)), np.random.default_rng(seed)
    draws = []
    for name, leaf in named(made.weights).items():
        normal = rng.standard_normal(leaf.shape) / (np.sqrt(leaf.shape[0]) if name.endswith("kernel") else 1)
        draws.append(jnp.asarray((name.endswith("scale") + 0.3 * normal if leaf.ndim == 1 else normal), jnp.float32))
    return Network(jax.tree.unflatten(jax.tree.structure(made.weights), draws), made.structure)


@pytest.fixture(scope="module")
def small() -> Network:
    return drawn(SMALL)


def by_hand(network: Network, config: TextEncoderConfig, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The states of one prompt before and after the last norm, position by position, in float64."""
    weights = {name: np.asarray(leaf, np.float64) for name, leaf in named(network.weights).items()}

    def norm(x, name):
        centred = x - x.mean()
        return centred / np.sqrt((centred**2).mean() + config.epsilon) * weights[f"{name}/scale"] + weights[f"{name}/bias"]

    def dense(x, name):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    gelu = {
        "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
        "gelu": np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
    }[config.activation]
    tokens, positions = (weights[f"embeddings/{name}_embedding/embedding"] for name in ("token", "position"))
    states, channels = [tokens[token] + positions[place] for place, token in enumerate(ids)], config.width // config.heads
    for number in range(config.layers):
        layer = f"encoder/layers/{number}"
        inside = [norm(x, f"{layer}/layer_norm1") for x in states]
        query, key, value = ([dense(x, f"{layer}/self_attn/{name}_proj") for x in inside] for name in "qkv")
        after = []
        for place, x in enumerate(states):
            heads = []
            for head in range(config.heads):
                own = slice(head * channels, (head + 1) * channels)
                logits = np.array([query[place][own] @ key[seen][own] for seen in range(place + 1)]) / math.sqrt(channels)
                shares = np.exp(logits) / np.exp(logits).sum()
                heads.append(sum(share * value[seen][own] for seen, share in enumerate(shares)))
            x = x + dense(np.concatenate(heads), f"{layer}/self_attn/out_proj")
            inner = gelu(dense(norm(x, f"{layer}/layer_norm2"), f"{layer}/mlp/fc1"))
            after.append(x + dense(inner, f"{layer}/mlp/fc2"))
        states = after
    return np.array(states), np.array([norm(x, "final_layer_norm") for x in states])


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_one_layer_is_that_computed_by_hand(activation):
    config = TextEncoderConfig(
        vocabulary=40, width=16, layers=1, heads=4, inner=24, positions=12, activation=activation, projection=6
    )
    network = drawn(config, seed=1)
    states, normalised = by_hand(network, config, IDS[1])
    raw, ours = run(network, IDS, ENDS, normalised=False), run(network, IDS, ENDS)
    np.testing.assert_allclose(raw.hidden[1], states, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(ours.hidden[1], normalised, atol=1e-5, rtol=1e-5)
    projection = np.asarray(network.weights["text_projection"]["kernel"], np.float64)
    np.testing.assert_allclose(ours.pooled[1], normalised[ENDS[1]] @ projection, atol=1e-5, rtol=1e-5)
    np.testing.assert_array_equal(raw.pooled, ours.pooled)


def test_a_position_does_not_see_what_follows(small):
    plain = run(small, IDS, ENDS).hidden
    for place in (1, 5, 11):
        changed = IDS.copy()
        changed[:, place:] = 20
        hidden = run(small, changed, ENDS).hidden
        np.testing.assert_array_equal(hidden[:, :place], plain[:, :place])
        assert (np.abs(hidden[:, place] - plain[:, place]).max(1) > 0.1).all()


def test_padding_is_seen_by_what_follows_it_and_not_by_the_pooled_state(small):
    padded = np.where(np.arange(12) > ENDS[:, None], 0, IDS).astype(np.int32)
    ours, other = run(small, IDS, ENDS), run(small, padded, ENDS)
    np.testing.assert_array_equal(ours.pooled, other.pooled)
    np.testing.assert_array_equal(ours.hidden[0, :5], other.hidden[0, :5])
    assert np.abs(ours.hidden[0, 5:] - other.hidden[0, 5:]).max(1).min() > 0.1


def test_states_with_layers_left_out_are_those_of_fewer_layers(small):
    for skip in range(SMALL.layers):
        config = TextEncoderConfig(**{**vars(SMALL), "layers": SMALL.layers - skip})
        structure = jax.eval_shape(partial(text_encoder, config), jax.random.key(0)).structure
        layers = {number: layer for number, layer in small.weights["encoder"]["layers"].items() if number < config.layers}
        shorter = Network({**small.weights, "encoder": {"layers": layers}}, structure)
        for normalised in (True, False):
            ours = run(small, IDS, ENDS, skip=skip, normalised=normalised)
            np.testing.assert_allclose(ours.hidden, run(shorter, IDS, ENDS, normalised=normalised).hidden, atol=1e-6)
            np.testing.assert_array_equal(ours.pooled, run(small, IDS, ENDS).pooled)
    tokens, positions = (small.weights["embeddings"][f"{name}_embedding"]["embedding"] for name in ("token", "position"))
    bare = run(small, IDS, ENDS, skip=SMALL.layers, normalised=False).hidden
    np.testing.assert_allclose(bare, tokens[IDS] + positions, atol=1e-6)


def test_new_tokens_have_their_rows_and_change_no_other_prompt(small, rng):
    rows = rng.standard_normal((2, 16)).astype(np.float32)
    config, more = with_tokens(SMALL, small, 40, rows)
    assert config.vocabulary == 42
    np.testing.assert_array_equal(run(more, IDS, ENDS).hidden, run(small, IDS, ENDS).hidden)
    new = np.where(IDS == 7, 41, IDS)
    bare = run(more, new, ENDS, skip=SMALL.layers, normalised=False).hidden
    positions = small.weights["embeddings"]["position_embedding"]["embedding"]
    np.testing.assert_allclose(bare[0, 2], rows[1] + positions[2], atol=1e-6)


def test_in_bfloat16_the_states_are_near(small):
    config = TextEncoderConfig(**{**vars(SMALL), "dtype": "bfloat16"})
    half = Network(small.weights, jax.eval_shape(partial(text_encoder, config), jax.random.key(0)).structure)
    ours, near = run(small, IDS, ENDS), run(half, IDS, ENDS)
    assert near.hidden.dtype == near.pooled.dtype == jnp.bfloat16
    assert 1e-4 < np.linalg.norm(near.hidden - ours.hidden) / np.linalg.norm(ours.hidden) < 0.02


def test_random_weights_are_of_unit_size_and_norms_are_the_identity():
    weights = named(jax.jit(partial(text_encoder, SMALL))(jax.random.key(0)).weights)
    table = weights["embeddings/token_embedding/embedding"]
    assert abs(float(jnp.std(table)) - 1) < 0.1 and not weights["encoder/layers/0/mlp/fc1/bias"].any()
    assert (weights["final_layer_norm/scale"] == 1).all() and float(jnp.std(weights["text_projection/kernel"])) > 0.1


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"heads": 5}, "`heads` must divide the width 768, got 5"),
        ({"activation": "relu"}, "`activation` must be one of quick_gelu, gelu, got 'relu'"),
        ({"dtype": "float16"}, "`dtype` must be one of float32, bfloat16"),
        ({"layers": 0}, "`layers` must be at least 1"),
        ({"vocabulary": 2**25}, "`vocabulary` must be at most"),
        ({"epsilon": 0.0}, "`epsilon` must be above 0"),
    ],
)
def test_settings_that_make_no_text_encoder_are_refused(arguments, fault):
    with pytest.raises(InputError, match=fault):
        TextEncoderConfig(**arguments)


@pytest.mark.parametrize("skip", [-1, 4])
def test_layers_that_are_not_there_are_refused(skip, small):
    with pytest.raises(InputError, match=r"`skip` must lie in 0 .. 3, the number of layers, got"):
        run(small, IDS, ENDS, skip=skip)
    with pytest.raises(InputError, match="`ids` must have at most 12 tokens a row, got 13"):
        run(small, np.zeros((1, 13), np.int32), ENDS[:1])
