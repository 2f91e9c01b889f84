"""The conventions in which a UNet may differ from ours: each against its formula, written out in NumPy."""

import dataclasses
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxdiff.conditions.labels import check_labels
from jaxdiff.errors import InputError
from jaxdiff.models import labels
from jaxdiff.models.config import EncoderConfig, UNetConfig
from jaxdiff.models.layers import Attention, GroupNorm, sinusoids
from jaxdiff.models.network import Network, unet
from jaxdiff.models.unet import Resampler, ResidualBlock

CONFIG = UNetConfig(size=8, values=(3,), base=16, multipliers=(1, 2), blocks=1, attention=(4,), head_channels=16, dropout=0.0)
OTHERS = {
    "groups": 8,
    "epsilon": 1e-3,
    "embedding": "shift",
    "downsampling": "convolution",
    "upsampling": ("convolution",),
    "middle_attention": "plain",
    "timesteps": 100,
    "time_offset": -1,
    "sines_first": True,
    "frequency_shift": 1,
    "null_label": False,
}


def drawn(tree):
    """Arrays in place of shapes, none of them zero."""
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda leaf: jnp.asarray(0.2 * rng.standard_normal(leaf.shape), jnp.float32), tree)


def filled(make) -> nnx.Module:
    """A layer with drawn weights."""
    structure, abstract = nnx.split(nnx.eval_shape(make), nnx.Param)
    return nnx.merge(structure, drawn(abstract))


def network(base: UNetConfig, **changed) -> Network:
    """A network with drawn weights."""
    abstract = jax.eval_shape(partial(unet, dataclasses.replace(base, **changed)), jax.random.key(0))
    return Network(drawn(abstract.weights), abstract.structure)


def embedded(network: Network, t, condition) -> np.ndarray:
    """The embedding of times and labels."""
    return np.asarray(nnx.merge(network.structure, network.weights).embed(jnp.asarray(t, jnp.float32), jnp.asarray(condition)))


run = jax.jit(Network.__call__)
TINY = dataclasses.replace(CONFIG, size=4, multipliers=(1,), blocks=0, attention=())
X = np.random.default_rng(5).standard_normal((2, 4, 4, 3)).astype(np.float32)
T = jnp.asarray([0.2, 0.9], jnp.float32)


def convolved(x, kernel, bias, stride: int, before: int) -> np.ndarray:
    """sum over (a, b) of x[stride i + a - before, stride j + b - before] kernel[a, b], with zeros outside."""
    rows, columns = x.shape[1] // stride, x.shape[2] // stride
    padded = np.pad(x, [(0, 0), (before, 2), (before, 2), (0, 0)])
    out = np.zeros((len(x), rows, columns, kernel.shape[-1])) + bias
    for a in range(3):
        for b in range(3):
            taken = padded[:, a : a + stride * rows : stride, b : b + stride * columns : stride]
            out += taken @ kernel[a, b]
    return out


@pytest.mark.parametrize(
    ("how", "resample", "stride", "before"),
    [("convolution", "down", 2, 0), ("centred_convolution", "down", 2, 1), ("convolution", "up", 1, 1)],
)
def test_resampling_by_convolution_is_its_sum(how, resample, stride, before, rng):
    layer = filled(lambda: Resampler(4, how, config=CONFIG, resample=resample))
    x = rng.standard_normal((2, 6, 6, 4)).astype(np.float32)
    seen = x if resample == "down" else x.repeat(2, axis=1).repeat(2, axis=2)
    expected = convolved(seen, np.asarray(layer.conv.kernel), np.asarray(layer.conv.bias), stride, before)
    np.testing.assert_allclose(layer(jnp.asarray(x), None, None), expected, atol=1e-5)


def normalised(x, norm, groups: int, epsilon: float) -> np.ndarray:
    """Group normalisation."""
    grouped = x.reshape(len(x), -1, groups, x.shape[-1] // groups)
    centred = grouped - grouped.mean((1, 3), keepdims=True)
    scaled = (centred / np.sqrt(np.square(centred).mean((1, 3), keepdims=True) + epsilon)).reshape(x.shape)
    return scaled * np.asarray(norm.scale) + np.asarray(norm.bias)


def silu(x) -> np.ndarray:
    return x / (1 + np.exp(-x))


def test_an_embedding_that_shifts_comes_ahead_of_the_second_norm(rng):
    config = EncoderConfig(embedding="shift", groups=2, epsilon=0.1, dropout=0.0)
    block = filled(lambda: ResidualBlock(4, 4, 6, config=config))
    x, embedding = rng.standard_normal((2, 4, 4, 4)).astype(np.float32), rng.standard_normal((2, 6)).astype(np.float32)
    parameters = lambda layer: (np.asarray(layer.kernel), np.asarray(layer.bias))  # noqa: E731
    hidden = convolved(silu(normalised(x, block.norm_in, 2, 0.1)), *parameters(block.conv_in), 1, 1)
    kernel, bias = parameters(block.shift)
    hidden = hidden + (embedding @ kernel + bias)[:, None, None]
    hidden = convolved(silu(normalised(hidden, block.norm_out, 2, 0.1)), *parameters(block.conv_out), 1, 1)
    np.testing.assert_allclose(block(jnp.asarray(x), jnp.asarray(embedding), None), x + hidden, atol=1e-5)


def test_plain_attention_is_attention_to_what_is_normalised_already(rng):
    plain = filled(lambda: Attention(8, 4, normalised=False, dtype=jnp.float32))
    normed = filled(lambda: Attention(8, 4, groups=2, epsilon=0.5, dtype=jnp.float32))
    normed.query_key_value, normed.out = plain.query_key_value, plain.out
    x = rng.standard_normal((2, 4, 4, 8)).astype(np.float32)
    inside, x = jnp.asarray(normalised(x, normed.norm, 2, 0.5), jnp.float32), jnp.asarray(x)
    np.testing.assert_allclose(normed(x) - x, plain(inside) - inside, atol=1e-5)
    assert np.abs(plain(x) - x - (normed(x) - x)).max() > 0.1


def test_the_number_of_groups_divides_the_channels():
    assert [GroupNorm(channels, groups).groups for channels, groups in [(24, 8), (24, 32), (32, 1)]] == [8, 8, 1]


@pytest.mark.parametrize(("shift", "sines_first"), [(0, False), (1, True), (0.5, False)])
def test_sinusoids_are_a_geometric_row_of_frequencies(shift, sines_first):
    position = np.asarray([0.0, 1.5, 40.0])
    angles = position[:, None] * 10_000.0 ** -(np.arange(4) / (4 - shift))
    halves = [np.sin(angles), np.cos(angles)] if sines_first else [np.cos(angles), np.sin(angles)]
    given = sinusoids(jnp.asarray(position, jnp.float32), 8, shift=shift, sines_first=sines_first)
    np.testing.assert_allclose(given, np.concatenate(halves, 1), atol=1e-5)


def test_timesteps_and_their_offset_move_the_time():
    """timesteps t + offset: 100 t - 1 at t = 0.5 is 1000 t at t = 0.049."""
    given = np.asarray([0, 2])
    moved = embedded(network(TINY, timesteps=100, time_offset=-1), [0.5, 0.1], given)
    np.testing.assert_allclose(moved, embedded(network(TINY), [0.049, 0.009], given), atol=1e-4)
    assert np.abs(moved - embedded(network(TINY), [0.5, 0.1], given)).max() > 0.01


def test_without_a_null_label_the_null_label_adds_nothing():
    """Weights of null labels count for nothing, the others multiply their rows."""
    made = network(TINY, null_label=False, values=(2, 3))
    assert labels.value_columns((2, 3)).tolist() == [0, 1, 3, 4, 5]
    table, rows = np.asarray(made.weights["label_table"][...]), np.asarray([[0, 1], [-1, 2], [-1, -1], [1, -1]])
    output = embedded(made, np.full(4, 0.3), rows)
    expected = [table[0] + table[3], table[4], 0 * table[0], table[1]]
    np.testing.assert_allclose(output - output[2], expected, atol=1e-5)
    np.testing.assert_allclose(embedded(made, np.full(4, 0.3), labels.encode(jnp.asarray(rows), (2, 3))), output, atol=1e-6)


@pytest.mark.parametrize("name", ["groups", "epsilon", "embedding", "sines_first", "frequency_shift", "middle_attention"])
def test_every_convention_changes_the_function(name):
    ours, others = (run(network(TINY, **changed), X, T, np.asarray([0, 2])) for changed in ({}, {name: OTHERS[name]}))
    assert np.abs(ours - others).max() > 1e-3 * np.abs(ours).max()


@pytest.mark.parametrize("multipliers", [(1, 1.5), (1, 97 / 16)])
def test_a_multiplier_may_be_broken_where_the_channels_are_whole(multipliers):
    made = network(CONFIG, multipliers=multipliers, attention=(), head_channels=128)
    assert made.weights["middle"][0]["residual"]["conv_in"]["kernel"][...].shape[-1] == 16 * multipliers[1]


def test_files_store_only_conventions_that_are_not_the_defaults():
    plain = CONFIG.settings()
    assert not plain.keys() & OTHERS.keys()
    assert plain == json.loads(json.dumps(plain)) and plain["multipliers"] == [1, 2]
    for name, value in OTHERS.items():
        settings = json.loads(json.dumps(dataclasses.replace(CONFIG, **{name: value}).settings()))
        assert settings.keys() - plain.keys() == {name}
        again = UNetConfig(**{key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()})
        assert again == dataclasses.replace(CONFIG, **{name: value})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"embedding": "add"}, "`embedding` must be one of scale_shift, shift, got 'add'"),
        ({"downsampling": "pool"}, "`downsampling` must be one of residual, convolution, centred_convolution, got 'pool'"),
        ({"upsampling": ("residual", "residual")}, "`upsampling` must have one entry for each level but the last, got 2"),
        ({"middle_attention": "no"}, "`middle_attention` must be one of normalised, plain, none, got 'no'"),
        ({"groups": 0}, "`groups` must be at least 1, got 0"),
        ({"epsilon": 0.0}, "`epsilon` must be above 0, got 0.0"),
        ({"multipliers": (1, 1.3)}, "`multipliers` must give whole channels, got 1.3 times 16"),
    ],
)
def test_what_is_no_convention_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **changed)


def test_a_label_that_no_network_has_is_refused():
    check_labels(np.asarray([0, 2]), (3,), False)
    with pytest.raises(InputError, match="no null label"):
        check_labels(np.asarray([0, -1]), (3,), False)
