"""The UNet and its layers: plain formulas, invariances, and the shapes of the presets."""

import dataclasses
import math
import re
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxdiff.conditions.labels import check_labels
from jaxdiff.errors import InputError
from jaxdiff.models import labels
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, unet
from jaxdiff.models.unet import ResidualBlock
from jaxdiff.presets import PRESETS, preset

B = 4
CONFIG = UNetConfig(size=8, values=(2, 3), base=16, multipliers=(1, 2), blocks=1, attention=(4,), head_channels=16, dropout=0.3)
TINY = UNetConfig(size=4, base=16, multipliers=(1,), blocks=0, attention=(), head_channels=8, dropout=0.5, stem=2)


def perturbed(tree, scale=0.1):
    """A tree of arrays (or of their shapes) with noise on top, so that nothing in it is zero."""
    rng = np.random.default_rng(3)
    base = lambda leaf: 0 if isinstance(leaf, jax.ShapeDtypeStruct) else leaf  # noqa: E731
    return jax.tree.map(lambda leaf: jnp.asarray(base(leaf) + scale * rng.standard_normal(leaf.shape, np.float32)), tree)


def filled(make, scale=0.1) -> nnx.Module:
    """A layer with drawn weights, made without Flax's own draws."""
    structure, abstract = nnx.split(nnx.eval_shape(make), nnx.Param)
    return nnx.merge(structure, perturbed(abstract, scale))


def named(weights) -> dict[str, np.ndarray]:
    """Weights by path."""
    flat, _ = jax.tree_util.tree_flatten_with_path(weights)
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")  # noqa: E731
    return {name(path): np.asarray(leaf) for path, leaf in flat}


@pytest.fixture(scope="module")
def fresh() -> Network:
    """A network as it starts."""
    return jax.jit(partial(unet, CONFIG))(jax.random.key(0))


@pytest.fixture(scope="module")
def network(fresh) -> Network:
    """A network whose output is not zero."""
    return Network(perturbed(fresh.weights), fresh.structure)


@pytest.fixture(scope="module")
def batch():
    """Images, times and labels, the null label among them."""
    x = np.random.default_rng(4).standard_normal((B, 8, 8, 3), np.float32)
    return jnp.asarray(x), jnp.asarray([0.1, 0.4, 0.7, 1.0]), jnp.asarray([[0, 1], [1, 2], [-1, 0], [1, -1]], jnp.int32)


@jax.jit
def run(network, x, t, condition):
    """The network without dropout: one program for every test of it."""
    return network(x, t, condition)


# --- the network ---


def test_a_fresh_network_returns_zero(fresh, batch):
    out = run(fresh, *batch)
    assert out.shape == (B, 8, 8, 3)
    np.testing.assert_array_equal(out, 0)


def test_kernels_have_variance_one_over_fan_in(fresh):
    weights = named(fresh.weights)
    for name, array in weights.items():
        if "conv_out" in name or "attention/out" in name or name.endswith("bias"):
            np.testing.assert_array_equal(array, 0, err_msg=name)
        elif name.endswith("scale"):
            np.testing.assert_array_equal(array, 1, err_msg=name)
        else:
            fan_in = 1 if name == "label_table" else math.prod(array.shape[:-1])
            assert array.std() * math.sqrt(fan_in) == pytest.approx(1, abs=5 / math.sqrt(2 * array.size)), name
            assert abs(array.mean()) * math.sqrt(fan_in) < 5 / math.sqrt(array.size), name
    assert weights["label_table"].shape == (3 + 4, 4 * 16)
    # no two draws are one: every layer has weights of its own
    kernels = [w for name, w in weights.items() if name.endswith("kernel") and w.any()]
    drawn = np.concatenate([w.ravel() * math.sqrt(math.prod(w.shape[:-1])) for w in kernels])
    assert len(np.unique(drawn)) > 0.99 * drawn.size


def test_weights_are_a_function_of_the_key(fresh):
    make = jax.jit(partial(unet, TINY))
    one, again, other = (named(make(jax.random.key(seed)).weights) for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not any(np.array_equal(one[name], other[name]) for name in one if one[name].std())


def test_a_sample_does_not_depend_on_its_batch_mates(network, batch):
    x, t, condition = batch
    out = run(network, x, t, condition)
    mates = run(network, x.at[1:].set(7 * x[1:] + 1), t.at[1:].set(0.5), condition.at[1:].set(0))
    np.testing.assert_allclose(mates[0], out[0], atol=1e-5)
    assert not np.allclose(mates[1:], out[1:], atol=0.1)
    turned = run(network, x[::-1], t[::-1], condition[::-1])
    np.testing.assert_allclose(turned[::-1], out, atol=1e-5)


@pytest.mark.parametrize("changed", [0, 1, 2], ids=["image", "time", "labels"])
def test_the_output_depends_on_every_input(network, batch, changed):
    other = list(batch)
    other[changed] = batch[changed][::-1]
    assert np.abs(run(network, *other) - run(network, *batch)).max() > 0.01


def tiny(**changed) -> Network:
    """The least network, with the same weights whatever is changed."""
    abstract = jax.eval_shape(partial(unet, dataclasses.replace(TINY, **changed)), jax.random.key(0))
    return Network(perturbed(abstract.weights), abstract.structure)


X, T = jnp.asarray(np.random.default_rng(5).standard_normal((2, 4, 4, 3), np.float32)), jnp.asarray([0.2, 0.9])


def test_bfloat16_returns_float32_close_to_float32():
    half, full = run(tiny(dtype="bfloat16"), X, T, None), run(tiny(), X, T, None)
    assert half.dtype == full.dtype == jnp.float32
    error = np.abs(half - full).max() / np.abs(full).max()
    assert 0 < error < 0.05


def test_a_stem_passes_the_pixels_to_the_output_by_a_gain_per_channel():
    """A fresh network is nothing; with gains alone it is those gains times the image, each on its own pixel and colour."""
    fresh, gains = jax.jit(partial(unet, TINY))(jax.random.key(0)), np.arange(1, 13, dtype=np.float32)
    assert not run(fresh, X, T, None).any()
    is_gain = lambda path: jax.tree_util.keystr(path, simple=True, separator="/").startswith("pass_through/bias")  # noqa: E731
    weights = jax.tree_util.tree_map_with_path(lambda path, leaf: jnp.asarray(gains) if is_gain(path) else leaf, fresh.weights)
    output = run(Network(weights, fresh.structure), X, T, None)
    # channel 6 i + 3 j + c of the stem is colour c of pixel (i, j) of every 2 x 2 block
    expected = np.asarray(X) * np.tile(gains.reshape(2, 2, 3), (X.shape[1] // 2, X.shape[2] // 2, 1))
    np.testing.assert_allclose(output, expected, rtol=1e-6)


def test_the_weights_are_plain_dictionaries():
    # a step takes the training state apart and puts it together: Flax's own containers do that in Python
    def containers(node):
        return {type(node)}.union(*map(containers, node.values())) if isinstance(node, Mapping) else {type(node)}

    network = jax.eval_shape(partial(unet, CONFIG), jax.random.key(0))
    assert containers(network.weights) == {dict, jax.ShapeDtypeStruct}


def test_remat_changes_neither_output_nor_gradient():
    power = lambda network: jnp.square(network(X, T)).mean()  # noqa: E731
    (plain, gradient), (again, recomputed) = (jax.jit(jax.value_and_grad(power))(tiny(remat=remat)) for remat in (False, True))
    assert plain == pytest.approx(float(again), rel=1e-5)
    recomputed = named(recomputed.weights)
    for name, expected in named(gradient.weights).items():
        np.testing.assert_allclose(recomputed[name], expected, rtol=1e-3, atol=1e-6, err_msg=name)
        assert not name.endswith("kernel") or np.abs(expected).max() > 0, f"{name} gets no gradient"


@pytest.mark.parametrize(
    "changed",
    [
        {"values": ()},
        {"values": (5,), "channels": 1},
        {"stem": 2},
        {"multipliers": (1, 2, 2), "blocks": 2, "attention": (8, 2)},
        {"dtype": "bfloat16", "size": 16, "stem": 2},
    ],
    ids=str,
)
def test_the_output_has_the_shape_of_the_image(changed):
    config = dataclasses.replace(CONFIG, **changed)
    x = jax.ShapeDtypeStruct((3, config.size, config.size, config.channels), jnp.float32)
    condition = jax.ShapeDtypeStruct((3, len(config.values)), jnp.int32) if config.values else None
    t = jax.ShapeDtypeStruct((3,), jnp.float32)
    out = jax.eval_shape(lambda key, *inputs: unet(config, key)(*inputs), jax.random.key(0), x, t, condition)
    assert (out.shape, out.dtype) == (x.shape, jnp.float32)


# --- labels ---


@pytest.fixture(scope="module")
def embed(network):
    """The embedding of times and labels, a function of the labels alone."""
    module = nnx.merge(network.structure, network.weights)
    return jax.jit(lambda condition: module.embed(jnp.full(len(condition), 0.3), condition))


def test_label_embeddings_add_up(network, embed):
    """embed(a, b) - embed(a, null) is one vector for every a."""
    with_b = lambda b: np.asarray(embed(jnp.asarray([[0, b], [1, b], [-1, b]], jnp.int32)))  # noqa: E731
    difference = with_b(2) - with_b(-1)
    assert np.abs(difference).max() > 0.1
    np.testing.assert_allclose(difference, np.tile(difference[:1], (3, 1)), atol=1e-5)
    table = np.asarray(network.weights["label_table"][...])
    # rows: two values and null of the first attribute, then three values and null of the second
    np.testing.assert_allclose(difference[0], table[3 + 2] - table[3 + 3], atol=1e-5)
    np.testing.assert_allclose(with_b(0)[0] - with_b(0)[2], table[0] - table[2], atol=1e-5)


def test_labels_are_one_hot_weights(embed):
    given = jnp.asarray([[0, 1], [1, 2], [-1, 0], [1, -1]], jnp.int32)
    weights = labels.encode(given, CONFIG.values)
    assert labels.width(CONFIG.values) == 7
    np.testing.assert_array_equal(
        weights, [[1, 0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 1]]
    )
    np.testing.assert_array_equal(labels.encode(jnp.asarray([1, -1]), (2,)), [[0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(embed(weights), embed(given), atol=1e-5)
    # a convex combination of weights is one of embeddings
    ends, mixed = embed(weights), embed(0.3 * weights + 0.7 * weights[::-1])
    np.testing.assert_allclose(mixed, 0.3 * ends + 0.7 * ends[::-1], atol=1e-5)


def test_a_conditional_network_needs_labels(network, batch):
    with pytest.raises(InputError, match="`condition` is None"):
        network(*batch[:2])
    with pytest.raises(InputError, match="`labels` has 1 attributes, the model has 2"):
        network(*batch[:2], batch[2][:, 0])


@pytest.mark.parametrize(
    ("given", "values", "message"),
    [
        ([0, 2], (2,), "attribute 0 must lie in -1 .null. .. 1"),
        ([-2, 0], (2,), "attribute 0"),
        ([[0, 0], [1, 3]], (2, 3), "attribute 1"),
        ([0, 1], (2, 3), r"shape \(B,\) or \(B, 2\), got shape \(2,\)"),
        ([[0, 1]], (2,), "shape"),
    ],
)
def test_labels_out_of_range_are_refused(given, values, message):
    check_labels(np.full((2, len(values)), -1), values)
    with pytest.raises(InputError, match=message):
        check_labels(np.array(given), values)


# --- dropout ---


def test_dropout_is_on_with_a_key_alone():
    network = tiny()
    dropped = jax.jit(lambda key: network(X, T, dropout_key=key))
    one = dropped(jax.random.key(0))
    assert np.abs(one - run(network, X, T, None)).max() > 0.01
    np.testing.assert_array_equal(dropped(jax.random.key(0)), one)
    assert np.abs(dropped(jax.random.key(1)) - one).max() > 0.01
    none = tiny(dropout=0.0)
    undropped = jax.jit(lambda key: none(X, T, dropout_key=key))(jax.random.key(0))
    np.testing.assert_allclose(undropped, run(none, X, T, None), atol=1e-6)


def test_dropout_keeps_the_mean():
    """Behind it there is a convolution alone, so a block's mean over keys is the block without."""
    n = 2000
    block = filled(lambda: ResidualBlock(8, 8, 4, config=CONFIG), scale=0.3)
    x, embedding = jax.random.normal(jax.random.key(1), (1, 4, 4, 8)), jnp.ones((1, 4))
    structure, weights = nnx.split(block)
    call = lambda key: nnx.merge(structure, weights)(x, embedding, key)[0]  # noqa: E731
    outputs = np.asarray(jax.jit(jax.vmap(call))(jax.random.split(jax.random.key(2), n)))
    plain = np.asarray(call(None))
    error = outputs.std(0) / math.sqrt(n)
    assert np.all(outputs.std(0) > 0)
    assert np.all(np.abs(outputs.mean(0) - plain) < 5 * error)


# --- configurations and presets ---


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": 9}, r"`size` \(=9\) must be divisible by 2"),
        ({"size": 6, "stem": 2}, "must be divisible by 4: stem 2, 2 levels"),
        ({"dtype": "float16"}, "`dtype` must be one of float32, bfloat16"),
        ({"dropout": 1.0}, "`dropout` must lie in"),
        ({"attention": (5, 4)}, r"`attention` names resolutions \[5\]; this network has \[8, 4\]"),
        ({"base": 15}, "`base` must be even"),
        ({"head_channels": 9}, r"`head_channels` 9 does not divide the 32 channels of level 1"),
    ],
)
def test_impossible_configurations_are_refused(changed, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **changed)


def counted(config: UNetConfig) -> int:
    """The number of parameters, layer by layer after ADM's description."""
    embedding, widths = 4 * config.base, [config.base * m for m in config.multipliers]
    affine = lambda inputs, outputs, kernel=1: kernel**2 * inputs * outputs + outputs  # noqa: E731

    def block(inputs, outputs, attends=False):
        total = 2 * inputs + affine(inputs, outputs, 3) + 2 * outputs + affine(outputs, outputs, 3)
        total += affine(embedding, 2 * outputs) + (affine(inputs, outputs) if inputs != outputs else 0)
        return total + (2 * outputs + affine(outputs, 3 * outputs) + affine(outputs, outputs) if attends else 0)

    pixels = config.channels * config.stem**2
    total = affine(config.base, embedding) + affine(embedding, embedding) + sum(k + 1 for k in config.values) * embedding
    total += affine(pixels, config.base, 3) + 2 * widths[0] + affine(widths[0], pixels, 3)
    total += affine(embedding, pixels) if config.stem > 1 else 0
    total += block(widths[-1], widths[-1], True) + block(widths[-1], widths[-1])
    attends = [config.size // config.stem // 2**level in config.attention for level in range(len(widths))]
    skips = [config.base]
    for level, width in enumerate(widths):
        for _ in range(config.blocks):
            total += block(skips[-1], width, attends[level])
            skips.append(width)
        if level + 1 < len(widths):
            total += block(width, width)
            skips.append(width)
    width = widths[-1]
    for level in reversed(range(len(widths))):
        for _ in range(config.blocks + 1):
            total += block(width + skips.pop(), widths[level], attends[level])
            width = widths[level]
        if level:
            total += block(width, width)
    return total


@pytest.mark.parametrize("name", PRESETS)
def test_presets_build_with_the_parameters_of_their_description(name):
    config = dataclasses.replace(preset(name).network, values=(2,))
    abstract = jax.eval_shape(partial(unet, config), jax.random.key(0))
    size = sum(leaf.size for leaf in jax.tree.leaves(abstract.weights))
    assert size == counted(config)
    if stated := re.search(r"([\d.]+) M parameters", preset(name).about):
        assert size / 1e6 == pytest.approx(float(stated[1]), abs=0.5 * 10 ** -len(stated[1].partition(".")[2]))
    assert str(config.size) in preset(name).about


def test_faces64_is_the_network_of_the_paper():
    config = preset("faces64").network
    assert (config.size, config.base, config.multipliers, config.blocks) == (64, 64, (1, 2, 3, 4), 3)
    assert config.attention == (32, 16, 8)
    assert counted(dataclasses.replace(config, values=(2,))) == 32_850_051


def test_an_unknown_preset_is_refused():
    with pytest.raises(InputError, match="unknown preset 'large'; it takes one of tiny, small, faces64, faces128"):
        preset("large")
