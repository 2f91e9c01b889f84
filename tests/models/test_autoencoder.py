"""The autoencoder of Stable Diffusion and decoding in tiles: what is known of them without another implementation."""

import json
import math
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.interop import torch_names
from jaxdiff.models import latent_size, layers
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.latent_blocks import Downsampler, PixelAttention, Upsampler
from jaxdiff.models.network import Network, abstract, latent_decoder, latent_encoder
from jaxdiff.models.size import require_held, weight_count
from jaxdiff.spaces.tiling import decoded_in_tiles
from jaxdiff.weight_file import configuration, named
from tests.models.test_unet import filled
from tests.models.test_unet import named as by_path

CONFIG = AutoencoderConfig(size=16, latent_channels=2, widths=(8, 16), blocks=1, groups=4)


def drawn(make, config: AutoencoderConfig) -> Network:
    """A network with every weight drawn."""
    made, rng = abstract(make, config), np.random.default_rng(3)

    def draw(name: str, leaf) -> jax.Array:
        scale = 0.1 if leaf.ndim == 1 else 1 / math.sqrt(math.prod(leaf.shape[:-1]))
        return jnp.asarray(name.endswith("scale") + scale * rng.standard_normal(leaf.shape), leaf.dtype)

    leaves = [draw(name, leaf) for name, leaf in named(made.weights).items()]
    return Network(jax.tree.unflatten(jax.tree.structure(made.weights), leaves), made.structure)


@pytest.fixture(scope="module")
def encoder() -> Network:
    return drawn(latent_encoder, CONFIG)


@pytest.fixture(scope="module")
def decoder() -> Network:
    return drawn(latent_decoder, CONFIG)


@pytest.fixture(scope="module")
def images() -> jax.Array:
    return jnp.asarray(np.random.default_rng(4).uniform(-1, 1, (2, 8, 12, 3)), jnp.float32)


@jax.jit
def run(network, x):
    """One program for every test of a network."""
    return network(x)


def test_the_weights_of_the_real_configuration():
    config = AutoencoderConfig()
    halves = [torch_names.expected(abstract(make, config)) for make in (latent_encoder, latent_decoder)]
    counts = [sum(math.prod(shape) for shape in half.values()) for half in halves]
    assert counts == [latent_size.encoder(config), latent_size.decoder(config)] == [34_163_664, 49_490_199]
    assert weight_count(config) == 83_653_863 and sum(map(len, halves)) == 248 and config.factor == 8


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"widths": (8, 8, 16)},
        {"blocks": 3},
        {"quant_conv": False},
        {"post_quant_conv": False},
        {"widths": (8,), "channels": 1},
    ],
)
def test_the_count_is_that_of_the_networks(change):
    config = replace(CONFIG, **change)
    held = [leaf.size for make in (latent_encoder, latent_decoder) for leaf in jax.tree.leaves(abstract(make, config).weights)]
    assert weight_count(config) == sum(held)
    assert configuration(AutoencoderConfig, {"network": json.loads(json.dumps(config.settings()))}) == config


def test_shapes_and_dtypes(encoder, decoder, images):
    mean, log_variance = run(encoder, images)
    assert mean.shape == log_variance.shape == (2, 4, 6, 2)
    decoded = run(decoder, mean)
    assert decoded.shape == images.shape and {each.dtype for each in (mean, log_variance, decoded)} == {jnp.dtype("float32")}


def test_an_image_does_not_depend_on_its_batch_mates(encoder, decoder, images):
    mean, _ = run(encoder, images)
    np.testing.assert_allclose(run(encoder, images.at[1:].multiply(-0.5))[0][0], mean[0], atol=1e-5)
    decoded = run(decoder, mean)
    np.testing.assert_allclose(run(decoder, mean.at[1:].multiply(-2))[0], decoded[0], atol=1e-5)
    assert not np.allclose(decoded[0], decoded[1], atol=0.1)


def test_log_variances_are_clipped(encoder, images):
    bias = encoder.weights["quant_conv"]["bias"].at[2:].set(jnp.asarray([-100.0, 100.0]))
    wide = Network({**encoder.weights, "quant_conv": {**encoder.weights["quant_conv"], "bias": bias}}, encoder.structure)
    mean, log_variance = run(wide, images)
    np.testing.assert_array_equal(mean, run(encoder, images)[0])
    np.testing.assert_array_equal(log_variance[..., 0], -30)
    np.testing.assert_array_equal(log_variance[..., 1], 20)


@pytest.mark.parametrize("height, width", [(7, 12), (8, 11)])
def test_images_whose_sides_do_not_divide_are_refused(height, width):
    with pytest.raises(InputError, match=f"`images` must have sides that are multiples of 2, got {height} x {width}"):
        jax.eval_shape(abstract(latent_encoder, CONFIG), jnp.zeros((1, height, width, 3)))


def test_a_fresh_decoder_returns_zero():
    fresh = jax.jit(partial(latent_decoder, CONFIG))(jax.random.key(0))
    np.testing.assert_array_equal(run(fresh, jnp.ones((1, 4, 6, 2))), 0)


def test_half_precision_is_close(encoder, images):
    half = drawn(latent_encoder, replace(CONFIG, dtype="bfloat16"))
    assert {leaf.dtype for leaf in jax.tree.leaves(half.weights) if leaf.ndim > 1} == {jnp.dtype("bfloat16")}
    for one, other in zip(run(half, images), run(encoder, images), strict=True):
        one, other = np.asarray(one), np.asarray(other)
        assert one.dtype == np.float32 and (one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other) > 0.999


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"widths": ()}, "`widths` must be of 1 to 16 levels, got 0"),
        ({"widths": (8, 18)}, r"`groups` 4 does not divide the channels \[18\] of `widths`"),
        ({"dtype": "float64"}, "`dtype` must be one of float32, bfloat16, got 'float64'"),
        ({"latent_channels": 0}, "`latent_channels` must be at least 1, got 0"),
        ({"blocks": 101}, "`blocks` must be at most 100, got 101"),
    ],
)
def test_configurations_that_make_no_network(wrong, message):
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **wrong)


def test_an_enormous_autoencoder_is_refused_before_it_is_built():
    with pytest.raises(InputError, match="vae.bin describes a network of .* weights and holds 1,000: it is damaged"):
        require_held(AutoencoderConfig(widths=(2**15,) * 16, blocks=100), 1000, "vae.bin")


# --- layers ---


def test_the_encoder_pads_below_and_to_the_right(rng):
    """The first output is of the first three rows and columns; past the last ones are zeros."""
    x = rng.standard_normal((1, 6, 4, 2)).astype(np.float32)
    layer = filled(lambda: Downsampler(2, centred=False, dtype=jnp.float32), scale=1.0)
    kernel, padded = np.asarray(layer.conv.kernel[...]), np.pad(x[0], ((0, 1), (0, 1), (0, 0)))
    expected = [[np.einsum("hwi,hwio", padded[r : r + 3, c : c + 3], kernel) for c in (0, 2)] for r in (0, 2, 4)]
    np.testing.assert_allclose(layer(jnp.asarray(x))[0], np.asarray(expected) + np.asarray(layer.conv.bias[...]), atol=1e-5)


@pytest.mark.parametrize("size", [(5, 6), (6, 5), (5, 5), (6, 6)])
def test_upsampling_to_an_odd_size_takes_the_nearest_pixel(size, rng):
    x = rng.standard_normal((1, 3, 3, 2)).astype(np.float32)
    layer = filled(lambda: Upsampler(2, dtype=jnp.float32), scale=1.0)
    rows, columns = ([index * 3 // side for index in range(side)] for side in size)
    nearest = jnp.asarray(x[:, rows][:, :, columns])
    np.testing.assert_allclose(layer(jnp.asarray(x), size), layer.conv(nearest), atol=1e-5)


def test_attention_over_pixels_is_one_softmax(monkeypatch, rng):
    """Written out in NumPy, and the same a few queries at a time."""
    layer = filled(lambda: PixelAttention(8, groups=2, epsilon=1e-6, dtype=jnp.float32), scale=0.5)
    x = jnp.asarray(rng.standard_normal((2, 3, 5, 8)), jnp.float32)
    weights = {name: np.asarray(leaf, np.float64) for name, leaf in by_path(layers.nnx.state(layer)).items()}
    normed = np.asarray(layer.group_norm(x), np.float64).reshape(2, 15, 8)
    dense = lambda name, given: given @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]  # noqa: E731
    scores = np.exp(dense("to_q", normed) @ dense("to_k", normed).transpose(0, 2, 1) / math.sqrt(8))
    mixed = scores / scores.sum(-1, keepdims=True) @ dense("to_v", normed)
    expected = np.asarray(x) + dense("to_out/0", mixed).reshape(x.shape)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    monkeypatch.setattr(layers, "MOST_WEIGHTS_ON_CPU", 2 * 15 * 4)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


# --- tiles ---


def repeated(x):
    """A decoder each of whose pixels is of one latent: its tiles agree where they overlap."""
    return jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)


@pytest.mark.parametrize("height, width, overlap", [(3, 4, 0.25), (5, 9, 0.25), (4, 13, 0.5), (8, 7, 0.0)])
def test_tiles_that_agree_give_the_whole(height, width, overlap, rng):
    latents = jnp.asarray(rng.standard_normal((2, height, width, 3)), jnp.float32)
    np.testing.assert_allclose(decoded_in_tiles(repeated, latents, tile=4, overlap=overlap), repeated(latents), rtol=1e-6)


def test_tiles_are_blended_linearly():
    """Each tile is decoded to its number, so that the shares of tiles can be read off."""
    numbers = iter(range(4))
    decode = lambda x: jnp.full((1, 2 * x.shape[1], 2 * x.shape[2], 1), next(numbers), jnp.float32)  # noqa: E731
    out = decoded_in_tiles(decode, jnp.zeros((1, 2, 7, 1)), tile=4, overlap=0.5)[0, :, :, 0]
    # columns of tiles begin at 0, 2, 4 and 6 latents; half of the next four pixels go over from one to the next
    row = [0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5]
    np.testing.assert_allclose(out[0], row)


@pytest.mark.parametrize(
    "given, message",
    [({"tile": 0}, "`tile` must be at least 1, got 0"), ({"tile": 4, "overlap": 1.0}, "`overlap` must lie in")],
)
def test_tiles_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        decoded_in_tiles(repeated, jnp.zeros((1, 8, 8, 1)), **given)
