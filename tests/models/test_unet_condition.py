"""The UNet of Stable Diffusion: what is known of it without another implementation."""

import json
import math
from dataclasses import replace
from functools import cache, partial
from time import process_time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy.special import ndtr

from jaxdiff._console.flops import matrix_flops
from jaxdiff.errors import InputError
from jaxdiff.interop import torch_names
from jaxdiff.models import latent_blocks, layers, transformer_2d
from jaxdiff.models.network import Network, abstract, condition_unet
from jaxdiff.models.size import require_held, weight_count
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.weight_file import configuration, named
from tests.models.test_unet import filled

B = 3
CONFIG = ConditionUNetConfig(
    size=8, channels=2, widths=(16, 24), blocks=1, attention=(0,), transformers=(1, 2), heads=(2, 3), text_channels=6, groups=4
)
XL = replace(CONFIG, linear_projection=True, attention=(1,), pooled_channels=5, size_channels=4)
SD2 = ConditionUNetConfig(size=96, heads=(5, 10, 20, 20), text_channels=1024, linear_projection=True, upcast_attention=True)
SDXL = ConditionUNetConfig(
    size=128, widths=(320, 640, 1280), attention=(1, 2), transformers=(1, 2, 10), heads=(5, 10, 20), text_channels=2048,
    linear_projection=True, pooled_channels=1280, size_channels=256,
)  # fmt: skip
REAL = {
    "SD 1.5": (ConditionUNetConfig(), 859_520_964, 686, 16),
    "SD 2.1": (SD2, 865_910_724, 686, 16),
    "SDXL": (SDXL, 2_567_463_684, 1680, 70),
}


@cache
def shapes_of(config: ConditionUNetConfig) -> Network:
    """A network with shapes in place of weights, traced once for all tests."""
    return abstract(condition_unet, config)


def drawn(config: ConditionUNetConfig, seed: int = 3) -> Network:
    """A network with every weight drawn, whose text matters."""
    made, rng = shapes_of(config), np.random.default_rng(seed)

    def draw(name: str, leaf) -> jax.Array:
        if leaf.ndim == 1:
            return jnp.asarray(name.endswith("scale") + 0.1 * rng.standard_normal(leaf.shape), leaf.dtype)
        gain = 2 if "attn2" in name else 1
        return jnp.asarray(gain * rng.standard_normal(leaf.shape) / math.sqrt(math.prod(leaf.shape[:-1])), leaf.dtype)

    leaves = [draw(name, leaf) for name, leaf in named(made.weights).items()]
    return Network(jax.tree.unflatten(jax.tree.structure(made.weights), leaves), made.structure)


@pytest.fixture(scope="module")
def network() -> Network:
    return drawn(CONFIG)


@pytest.fixture(scope="module")
def batch():
    """Latents, times and a condition."""
    rng = np.random.default_rng(4)
    text = jnp.asarray(rng.standard_normal((B, 7, 6)), jnp.float32)
    return jnp.asarray(rng.standard_normal((B, 8, 8, 2)), jnp.float32), jnp.asarray([0.1, 0.5, 1.0]), {"text": text}


def of_xl(condition):
    rng = np.random.default_rng(5)
    pooled, sizes = rng.standard_normal((B, 5), np.float32), rng.integers(0, 99, (B, 6)).astype(np.float32)
    return {**condition, "pooled": jnp.asarray(pooled), "sizes": jnp.asarray(sizes)}


@jax.jit
def run(network, x, t, condition):
    """One program for every test of a configuration."""
    return network(x, t, condition)


def changed(network: Network, part: str, change) -> Network:
    """A network whose weights with a part in their path are changed."""
    path = lambda where: jax.tree_util.keystr(where, simple=True, separator="/")  # noqa: E731
    weights = jax.tree_util.tree_map_with_path(lambda at, leaf: change(leaf) if part in path(at) else leaf, network.weights)
    return Network(weights, network.structure)


# --- sizes ---


@pytest.mark.parametrize("name", REAL)
def test_the_weights_of_a_real_configuration(name):
    config, count, arrays, transformers = REAL[name]
    shapes = torch_names.expected(shapes_of(config))
    assert weight_count(config) == sum(math.prod(shape) for shape in shapes.values()) == count
    assert len(shapes) == arrays and config.transformer_layers == transformers
    crossed = [shape for key, shape in shapes.items() if key.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))]
    assert len(crossed) == 2 * transformers and {inputs for _, inputs in crossed} == {config.text_channels}


@pytest.mark.parametrize(
    "name, pixels, operations",
    [
        ("SD 1.5", 512, 803e9),
        pytest.param("SD 2.1", 512, 804e9, marks=pytest.mark.slow),
        pytest.param("SDXL", 1024, 6761e9, marks=pytest.mark.slow),
    ],
)
def test_the_operations_of_a_real_configuration(name, pixels, operations, monkeypatch):
    """Those that PyTorch counts of diffusers' network for one row, published to 10⁹: the attention products included.

    On one CPU device 5/9 of the products after an upsampling are saved, which PyTorch does not do, and the weights of many keys
    are summed by products with one more value.
    """
    config, side = REAL[name][0], pixels // 8
    shape = lambda *sizes: jax.ShapeDtypeStruct(sizes, jnp.float32)  # noqa: E731
    condition = {"text": shape(1, 77, config.text_channels), "pooled": shape(1, 1280), "sizes": shape(1, 6)}
    given = shapes_of(config), shape(1, side, side, 4), shape(1), condition
    count = lambda: matrix_flops(lambda network, *rest: network(*rest), *given)  # noqa: E731 (traced anew each time)
    saved = count()
    monkeypatch.setattr(jax, "local_device_count", lambda: 8)
    monkeypatch.setattr(layers, "MOST_WEIGHTS", math.inf)  # no last piece to be filled up
    whole = count()
    assert whole == pytest.approx(operations, abs=1e9)
    levels = config.widths[:0:-1]
    pixels_of = [(side // 2 ** (len(levels) - place)) ** 2 for place in range(len(levels))]
    upsampling = sum(2 * 9 * 4 * pixels * width**2 for pixels, width in zip(pixels_of, levels, strict=True))
    count_at = lambda level: (2 * config.blocks + 1) * config.transformers[level] * (level in config.attention)  # noqa: E731
    transformers = [count_at(level) for level in range(len(config.widths))]
    transformers[-1] += config.transformers[-1]  # the middle
    keys = [(side // 2**level) ** 2 for level in range(len(transformers))]
    many = [m * (m >= layers.MANY_KEYS) for m in keys]
    summing = sum(2 * n * h * m**2 for n, h, m in zip(transformers, config.heads, many, strict=True))
    assert whole - saved == upsampling * 5 / 9 - summing


@settings(max_examples=5)
@given(
    some.builds(
        dict,
        channels=some.sampled_from([3, 4]),
        widths=some.sampled_from([(8, 16), (16, 8), (8, 8)]),
        blocks=some.integers(1, 3),
        attention=some.sampled_from([(), (0,), (0, 1)]),
        transformers=some.sampled_from([(1, 1), (2, 1), (1, 2)]),
        heads=some.sampled_from([(2, 4), (1, 2)]),
        text_channels=some.sampled_from([5, 8]),
        linear_projection=some.booleans(),
        groups=some.just(4),
    ),
    some.booleans(),
)
def test_the_count_is_that_of_the_network(settings, added):
    config = ConditionUNetConfig(**settings, **({"pooled_channels": 3, "size_channels": 2} if added else {}))
    assert weight_count(config) == sum(leaf.size for leaf in jax.tree.leaves(shapes_of(config).weights))
    assert configuration(ConditionUNetConfig, {"network": json.loads(json.dumps(config.settings()))}) == config


def test_an_enormous_network_is_refused_before_it_is_built():
    start = process_time()
    huge = ConditionUNetConfig(widths=(2**15,) * 16, blocks=100, transformers=(100,) * 16, attention=(), heads=(1,) * 16)
    with pytest.raises(InputError, match="unet.safetensors describes a network of .* weights and holds 1,000: it is damaged"):
        require_held(huge, 1000, "unet.safetensors")
    with pytest.raises(InputError, match="`transformers` and `blocks` must make at most 1,000 layers, got 321,700"):
        replace(huge, attention=tuple(range(16)))
    assert process_time() - start < 0.2


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"widths": ()}, "`widths` must be of 1 to 16 levels, got 0"),
        ({"widths": (16, 24, 24)}, "`transformers` must have one entry for each of the 3 levels, got 2"),
        ({"heads": (2,)}, "`heads` must have one entry for each of the 2 levels, got 1"),
        ({"attention": (0, 2)}, r"`attention` must name levels from 0 to 1 in order, got \[0, 2\]"),
        ({"attention": (1, 0)}, "`attention` must name levels from 0 to 1 in order"),
        ({"groups": 16}, r"`groups` 16 does not divide the channels \[24\] of `widths`"),
        ({"heads": (3, 3)}, "`heads` 3 does not divide the 16 channels of level 0"),
        ({"heads": (2, 5)}, "`heads` 5 does not divide the 24 channels of level 1"),
        ({"widths": (15, 24), "groups": 3, "heads": (3, 3)}, "the first of `widths` and `size_channels` must be even"),
        ({"pooled_channels": 5}, "`pooled_channels` and `size_channels` must be given together or not at all"),
        ({"dtype": "float16"}, "`dtype` must be one of float32, bfloat16, got 'float16'"),
        ({"blocks": 0}, "`blocks` must be at least 1, got 0"),
        ({"text_channels": 2**40}, "`text_channels` must be at most 65,536"),
    ],
)
def test_configurations_that_make_no_network(wrong, message):
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **wrong)


# --- the network ---


def test_a_fresh_network_returns_zero(batch):
    fresh = jax.jit(partial(condition_unet, CONFIG))(jax.random.key(0))
    out = run(fresh, *batch)
    assert out.shape == batch[0].shape and out.dtype == jnp.float32
    np.testing.assert_array_equal(out, 0)
    kernels = [leaf for name, leaf in named(fresh.weights).items() if name.endswith("to_q/kernel")]
    assert all(0.7 < kernel.std() * math.sqrt(len(kernel)) < 1.3 for kernel in kernels)


def test_a_sample_does_not_depend_on_its_batch_mates(network, batch):
    x, t, condition = batch
    out = run(network, *batch)
    others = run(network, x.at[1:].multiply(-2), t.at[1:].set(0.3), {"text": condition["text"].at[1:].add(1)})
    np.testing.assert_allclose(others[0], out[0], atol=2e-5)
    assert not np.allclose(others[1], out[1], atol=0.1)


def test_a_network_whose_text_has_no_values_ignores_it(network, batch):
    x, t, condition = batch
    other = {"text": condition["text"][::-1]}
    assert np.abs(run(network, x, t, other) - run(network, *batch)).max() > 0.05
    mute = changed(network, "attn2/to_v", jnp.zeros_like)
    np.testing.assert_array_equal(run(mute, x, t, other), run(mute, *batch))


def test_tokens_have_no_order_and_all_of_them_count(network, batch):
    """There is no mask of padding."""
    x, t, condition = batch
    out, text = run(network, *batch), condition["text"]
    np.testing.assert_allclose(run(network, x, t, {"text": text[:, ::-1]}), out, atol=2e-5)
    for token in (0, 6):
        assert np.abs(run(network, x, t, {"text": text.at[:, token].add(1)}) - out).max() > 1e-3


@pytest.mark.parametrize("height, width", [(5, 7), (1, 2), (64, 48)])
def test_latents_of_any_size(batch, height, width):
    _, t, condition = batch
    given = shapes_of(CONFIG), jnp.zeros((B, height, width, 2)), t, condition
    out = jax.eval_shape(lambda network, *inputs: network(*inputs), *given)
    assert out.shape == (B, height, width, 2)


def test_the_time_is_embedded_as_its_timestep(network):
    """Cosines, then sines, of i / 10,000^(k / half) at t = (i + 1) / 1000, through two dense layers."""
    timesteps = np.array([0.0, 1.0, 500.0, 999.0])
    weights = {key: np.asarray(leaf) for key, leaf in named(network.weights).items()}
    angles = timesteps[:, None] * 10_000.0 ** (-np.arange(8) / 8)
    features = np.concatenate([np.cos(angles), np.sin(angles)], 1)
    hidden = features @ weights["time_embedding/linear_1/kernel"] + weights["time_embedding/linear_1/bias"]
    hidden = hidden / (1 + np.exp(-hidden))
    expected = hidden @ weights["time_embedding/linear_2/kernel"] + weights["time_embedding/linear_2/bias"]
    unet = nnx.merge(network.structure, network.weights)
    found = unet.embed(jnp.asarray((timesteps + 1) / 1000, jnp.float32), {})
    np.testing.assert_allclose(found, expected, atol=3e-4)


def test_the_gelu_is_exact():
    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(transformer_2d.gelu(jnp.asarray(x, jnp.float32)), x * ndtr(x), atol=1e-6)
    block = filled(lambda: transformer_2d.GatedProjection(1, 1, dtype=jnp.float32))
    block.proj.kernel[...], block.proj.bias[...] = jnp.asarray([[1.0, 0.0]]), jnp.asarray([0.0, 2.0])
    np.testing.assert_allclose(block(jnp.full((1, 1, 1), 3.0)).item(), 3 * 2 * ndtr(2.0), rtol=1e-6)


def test_the_projections_attend_in_heads(rng):
    """Written out in NumPy, for two heads over a text of other channels."""
    layer = filled(lambda: latent_blocks.Projections(8, 5, 2, dtype=jnp.float32), scale=0.5)
    x, text = rng.standard_normal((2, 3, 8)), rng.standard_normal((2, 4, 5))
    kernel = lambda name: np.asarray(getattr(layer, name).kernel[...], np.float64)  # noqa: E731
    query, key, value = x @ kernel("to_q"), text @ kernel("to_k"), text @ kernel("to_v")
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = np.exp(query[..., head] @ key[..., head].transpose(0, 2, 1) / 2)
        heads.append(scores / scores.sum(-1, keepdims=True) @ value[..., head])
    out = layer.to_out[0]
    expected = np.concatenate(heads, -1) @ np.asarray(out.kernel[...], np.float64) + np.asarray(out.bias[...])
    np.testing.assert_allclose(layer.mix(jnp.asarray(x, jnp.float32), jnp.asarray(text, jnp.float32)), expected, atol=1e-5)


def test_every_weight_has_a_gradient(batch):
    x, t, condition = batch
    small = drawn(replace(CONFIG, widths=(16,), transformers=(1,), heads=(2,)))

    @jax.jit
    @jax.grad
    def slopes(weights):
        return jnp.square(Network(weights, small.structure)(x, t, condition)).mean()

    for name, slope in named(slopes(small.weights)).items():
        assert np.isfinite(slope).all() and np.abs(slope).max() > 0, name


def test_half_precision_is_close(batch):
    """The median over networks: in one of five the roundings of bfloat16 add up to more, in whatever order they are made."""
    cosines = []
    for seed in range(9):
        half = drawn(replace(CONFIG, dtype="bfloat16"), seed)
        out, exact = np.asarray(run(half, *batch)), np.asarray(run(drawn(CONFIG, seed), *batch))
        cosines.append((out * exact).sum() / np.linalg.norm(out) / np.linalg.norm(exact))
    assert {leaf.dtype for name, leaf in named(half.weights).items() if name.endswith("kernel")} == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for name, leaf in named(half.weights).items() if not name.endswith("kernel")} == {jnp.dtype("float32")}
    assert out.dtype == np.float32
    assert np.median(cosines) > 0.999


def test_sdxl_heeds_the_pooled_text_and_the_sizes(batch):
    x, t, condition = batch
    network, condition = drawn(XL), of_xl(condition)
    out = run(network, x, t, condition)
    for name in condition:
        assert np.abs(run(network, x, t, {**condition, name: condition[name][::-1]}) - out)[0].max() > 1e-3, name
    # six sizes, each with its own features
    for position in range(6):
        sizes = condition["sizes"].at[:, position].add(1)
        assert np.abs(run(network, x, t, {**condition, "sizes": sizes}) - out).max() > 1e-4, position


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"text": None}, "`condition` must be a mapping with text, pooled, sizes, got pooled, sizes"),
        ({"sizes": None, "pooled": None}, "`condition` must be a mapping with text, pooled, sizes, got text"),
        ({"text": jnp.zeros((B, 7, 5))}, r"`condition`: text must be of shape \(3, tokens, 6\), got \(3, 7, 5\)"),
        ({"text": jnp.zeros((B, 6))}, r"`condition`: text must be of shape \(3, tokens, 6\), got \(3, 6\)"),
        ({"pooled": jnp.zeros((1, 5))}, r"`condition`: pooled must be of shape \(3, 5\), got \(1, 5\)"),
        ({"sizes": jnp.zeros((B, 5))}, r"`condition`: sizes must be of shape \(3, 6\), got \(3, 5\)"),
    ],
)
def test_conditions_that_do_not_fit(batch, wrong, message):
    x, t, condition = batch
    condition = {name: value for name, value in {**of_xl(condition), **wrong}.items() if value is not None}
    with pytest.raises(InputError, match=message):
        jax.eval_shape(shapes_of(XL), x, t, condition)


def test_other_inputs_that_do_not_fit(network, batch):
    x, t, condition = batch
    with pytest.raises(InputError, match="`condition` must be a mapping with text, got an empty one"):
        network(x, t, {})
    with pytest.raises(InputError, match="`x` must have 2 channels, got 1"):
        network(x[..., :1], t, condition)


def test_times_of_float32_are_as_good_as_whole_timesteps(network, batch):
    """They miss a timestep by up to 6e-5 at T = 1000, which moves the output by less than rounding does."""
    steps = np.arange(1000)
    times = np.float32((steps + 1) / 1000)
    exact = 1000 * times.astype(np.float64) - 1
    worst = np.argsort(-np.abs(exact - steps))[:B]
    assert 1e-5 < np.abs(exact - steps).max() < 1e-4
    told = Network(network.weights, shapes_of(replace(CONFIG, timesteps=1, time_offset=0)).structure)
    x, _, condition = batch
    ours, whole = run(network, x, times[worst], condition), run(told, x, np.float32(worst), condition)
    assert np.linalg.norm(ours - whole) < 2e-6 * np.linalg.norm(whole)
    other = run(told, x, np.float32(worst + 1), condition)
    assert np.linalg.norm(other - whole) > 1e-3 * np.linalg.norm(whole)
