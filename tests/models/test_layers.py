"""The layers of the networks: plain formulas, and the same numbers from the fast variants for each backend."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxdiff._console.flops import matrix_flops
from jaxdiff.models import layers
from jaxdiff.models.layers import (
    Attention,
    GroupNorm,
    attend,
    convolution,
    convolve_repeated,
    depth_to_space,
    repeated,
    sinusoids,
    space_to_depth,
)
from tests.models.test_unet import filled, named


@pytest.mark.parametrize(("channels", "groups"), [(8, 4), (48, 16), (6, 2), (7, 1)])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_group_norm_is_its_formula(channels, groups, offset, rng):
    """With 32 groups wanted, or as many as divide both; a far mean costs no digits of the variance."""
    norm = filled(lambda: GroupNorm(channels, {8: 4}.get(channels, 32)), scale=1.0)
    x = (offset + rng.standard_normal((2, 4, 5, channels)) * np.arange(1, channels + 1)).astype(np.float32)
    grouped = x.astype(np.float64).reshape(2, 20, groups, channels // groups)
    mean, variance = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
    normal = ((grouped - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape)
    expected = normal * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
    np.testing.assert_allclose(norm(jnp.asarray(x)), expected, atol=2e-5 if offset == 0 else 2e-3)


@pytest.mark.parametrize("modulated", [False, True])
def test_silu_of_a_norm_is_its_formula_and_keeps_its_input_alone_for_the_gradient(modulated, rng):
    """Values and gradients of SiLU(norm(x) (1 + scale) + shift), which by itself keeps several arrays of the size of x."""
    norm = filled(lambda: GroupNorm(8, 4), scale=1.0)
    x = jnp.asarray(rng.standard_normal((2, 4, 5, 8)), jnp.float32)
    more = tuple(jnp.asarray(rng.standard_normal((2, 1, 1, 8)), jnp.float32) for _ in range(2 * modulated))
    plain = lambda x, *more: jax.nn.silu(norm(x) * (1 + more[0]) + more[1] if more else norm(x))  # noqa: E731
    kept, gradients = [], []
    for function in (norm.silu, plain):
        value, pull_back = jax.vjp(function, x, *more)
        kept.append(sum(leaf.size == x.size for leaf in jax.tree.leaves(pull_back)))
        gradients.append((value, *pull_back(jnp.cos(x))))
    for found, wanted in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert kept[0] == 1 < kept[1]


@pytest.mark.parametrize(("channels", "head_channels", "heads"), [(16, 8, 2), (16, 16, 1), (12, 64, 1)])
def test_attention_is_the_softmax_over_pixels(channels, head_channels, heads, rng):
    layer = filled(lambda: Attention(channels, head_channels, dtype=jnp.float32), scale=0.5)
    x = rng.standard_normal((2, 3, 3, channels)).astype(np.float32)
    assert layer.heads == heads
    weights = {name: np.asarray(part, np.float64) for name, part in named(nnx.state(layer)).items()}
    normed = np.asarray(layer.norm(jnp.asarray(x)), np.float64).reshape(2, 9, channels)
    projected = normed @ weights["query_key_value/kernel"][0, 0] + weights["query_key_value/bias"]
    query, key, value = projected.reshape(2, 9, 3, heads, channels // heads).transpose(2, 0, 3, 1, 4)
    scores = np.exp(np.einsum("bhqd,bhkd->bhqk", query, key) / math.sqrt(channels / heads))
    mixed = np.einsum("bhqk,bhkd->bqhd", scores / scores.sum(-1, keepdims=True), value).reshape(2, 9, channels)
    expected = x + (mixed @ weights["out/kernel"][0, 0] + weights["out/bias"]).reshape(x.shape)
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected, atol=1e-4)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_space_to_depth_and_back_is_the_identity(factor, rng):
    x = rng.standard_normal((2, 8, 4, 3)).astype(np.float32)
    deep = np.asarray(space_to_depth(jnp.asarray(x), factor))
    assert deep.shape == (2, 8 // factor, 4 // factor, factor**2 * 3)
    for row in range(factor):
        for column in range(factor):
            first = (row * factor + column) * 3
            np.testing.assert_array_equal(deep[..., first : first + 3], x[:, row::factor, column::factor])
    np.testing.assert_array_equal(depth_to_space(jnp.asarray(deep), factor), x)


def test_sinusoids_are_cosines_then_sines_of_a_geometric_row():
    position, channels = np.array([0.0, 1.0, 250.5, 1000.0]), 10
    expected = [[trig(p / 10_000 ** (i / 5)) for trig in (math.cos, math.sin) for i in range(5)] for p in position]
    np.testing.assert_allclose(sinusoids(jnp.asarray(position, jnp.float32), channels), expected, atol=1e-4)


def drawn(shape, rng, dtype=jnp.float32):
    return jnp.asarray(rng.standard_normal(shape), dtype)


@pytest.fixture(params=["tpu", "pretended"])
def accelerated(request, monkeypatch) -> Callable[[], None]:
    """Turns this machine into one with accelerators, or with several devices that stand for them."""

    def turn():
        monkeypatch.setattr(jax, "default_backend", lambda: "tpu" if request.param == "tpu" else "cpu")
        monkeypatch.setattr(jax, "local_device_count", lambda: 1 if request.param == "tpu" else 8)

    return turn


@pytest.mark.parametrize("many", [4, 100])
@pytest.mark.parametrize("shape", [(2, 16, 1, 8), (3, 9, 4, 5)])
def test_attention_of_a_cpu_is_that_of_jax(shape, many, monkeypatch, rng):
    """Outputs and gradients, far logits too, where an exponential of them would overflow; for many keys and for few."""
    monkeypatch.setattr(layers, "MANY_KEYS", many)
    query, key, value, weight = (drawn(shape, rng) for _ in range(4))
    query = query.at[0].multiply(200)

    def along(function):
        return jax.value_and_grad(lambda *given: (weight * function(*given)).sum(), (0, 1, 2))(query, key, value)

    (output, gradient), (expected, slope) = along(attend), along(jax.nn.dot_product_attention)
    np.testing.assert_allclose(output, expected, rtol=1e-5)
    for mine, theirs in zip(gradient, slope, strict=True):
        # sums of terms as large as the queries
        np.testing.assert_allclose(mine, theirs, atol=1e-6 * float(jnp.abs(query).max()))


def test_attention_in_bfloat16_has_its_weights_in_float32(rng):
    given = [drawn((2, 64, 2, 32), rng, jnp.bfloat16) for _ in range(3)]
    exact = jax.nn.dot_product_attention(*(part.astype(jnp.float32) for part in given))
    output = attend(*given)
    assert output.dtype == jnp.bfloat16
    error = jnp.abs(output.astype(jnp.float32) - exact).max()
    assert error < 2 * jnp.abs(jax.nn.dot_product_attention(*given).astype(jnp.float32) - exact).max()


@pytest.mark.parametrize("rows", [1, 5, 16])
def test_attention_in_pieces_is_that_of_all_queries_at_once(rows, monkeypatch, rng):
    """Outputs and gradients, of 16 queries and 7 keys: pieces of queries, and of heads, that do not divide them; and one."""
    query, key, value, weight = (drawn((2, length, 3, 4), rng) for length in (16, 7, 7, 16))

    def along():
        return jax.value_and_grad(lambda *given: (weight * attend(*given)).sum(), (0, 1, 2))(query, key, value)

    whole = along()
    monkeypatch.setattr(layers, "MOST_WEIGHTS_ON_CPU", 2 * 3 * 7 * rows)
    for one, other in zip(jax.tree.leaves(along()), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_attention_over_a_large_image_holds_a_part_of_its_weights(accelerated):
    """Those of 128 x 128 pixels take a gigabyte."""
    given = [jax.ShapeDtypeStruct((1, 128**2, 1, 8), jnp.float32)] * 3

    def held():
        program = jax.jit(lambda *given: attend(*given))  # traced anew each time
        return program.lower(*given).compile().memory_analysis().temp_size_in_bytes

    assert held() < 3 * 4 * layers.MOST_WEIGHTS_ON_CPU < 4 * 128**4
    accelerated()
    assert held() < 3 * 4 * layers.MOST_WEIGHTS < 4 * 128**4


def test_other_machines_are_given_jaxs_attention(accelerated, monkeypatch, rng):
    query, key, value = (drawn((2, 9, 2, 4), rng) for _ in range(3))
    accelerated()
    monkeypatch.setattr(jax.nn, "dot_product_attention", lambda query, key, value, *, implementation: query + 2 * key)
    np.testing.assert_array_equal(attend(query, key, value), query + 2 * key)


@pytest.mark.parametrize(
    "height, width, inputs, outputs",
    [(5, 2, 1, 4), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((4, 4, 3, 5), (1, 3, 2, 2)))],
)
def test_a_convolution_of_repeated_pixels_is_that_of_the_larger_image(height, width, inputs, outputs, rng):
    """Outputs, and the gradients of pixels, kernel and bias."""
    layer = filled(lambda: convolution(inputs, outputs, 3, dtype=jnp.float32), scale=1.0)
    structure, weights = nnx.split(layer)
    x, weight = drawn((2, height, width, inputs), rng), drawn((2, 2 * height, 2 * width, outputs), rng)

    def along(function):
        total = lambda weights, x: (weight * function(nnx.merge(structure, weights), x)).sum()  # noqa: E731
        return function(layer, x), *jax.grad(total, (0, 1))(weights, x)

    mine, plain = (along(way) for way in (convolve_repeated, lambda conv, x: conv(repeated(x))))
    for one, other in zip(jax.tree.leaves(mine), jax.tree.leaves(plain), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_convolution_of_repeated_pixels_costs_four_ninths_on_a_cpu_alone(accelerated, rng):
    layer = filled(lambda: convolution(4, 6, 3, dtype=jnp.bfloat16))
    x = drawn((2, 8, 8, 4), rng)
    plain = matrix_flops(lambda x: layer(repeated(x)), x)
    called = jax.eval_shape(partial(convolve_repeated, layer), x)
    assert (called.shape, called.dtype) == ((2, 16, 16, 6), jnp.bfloat16)
    assert 9 * matrix_flops(partial(convolve_repeated, layer), x) == 4 * plain
    accelerated()
    assert matrix_flops(partial(convolve_repeated, layer), x) == plain


class Device:
    def __init__(self, capability):
        if capability is not None:
            self.compute_capability = capability


@pytest.mark.parametrize(
    "backend, capability, shape, dtype, kernel",
    [
        ("gpu", "9.0", (2, 64, 4, 64), jnp.bfloat16, "cudnn"),
        ("gpu", "8.0", (2, 64, 4, 128), jnp.bfloat16, "cudnn"),
        ("gpu", "7.5", (2, 64, 4, 64), jnp.bfloat16, None),
        ("gpu", "gfx90a", (2, 64, 4, 64), jnp.bfloat16, None),
        ("gpu", "9.0", (2, 64, 4, 64), jnp.float32, None),
        ("gpu", "9.0", (2, 49, 4, 64), jnp.bfloat16, None),
        ("gpu", "9.0", (2, 64, 4, 36), jnp.bfloat16, None),
        ("gpu", "9.0", (2, 64, 4, 256), jnp.bfloat16, "cudnn"),
        ("gpu", "10.3", (2, 64, 4, 160), jnp.bfloat16, "cudnn"),
        ("gpu", "9.0", (2, 64, 4, 264), jnp.bfloat16, None),
        ("gpu", "8.9", (2, 64, 4, 160), jnp.bfloat16, None),
        ("gpu", "8.0", (2, 64, 4, 64), jnp.float16, "cudnn"),
        ("cpu", None, (2, 64, 4, 64), jnp.bfloat16, None),
        ("tpu", None, (2, 64, 4, 64), jnp.bfloat16, None),
    ],
)
def test_cudnns_attention_serves_where_it_can(monkeypatch, backend, capability, shape, dtype, kernel):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "devices", lambda: [Device(capability)])
    assert layers.attention_kernel(jnp.zeros(shape, dtype)) == kernel
