"""Images that are not square or have other than three channels: height and width are treated alike."""

import dataclasses
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, abstract, noised_classifier, series_transformer, unet
from jaxdiff.models.series_config import SeriesConfig

WIDE = UNetConfig(
    size=(8, 12), channels=1, values=(2,), base=16, multipliers=(1, 2), blocks=1, attention=(4,), head_channels=16, dropout=0.0
)
TALL = dataclasses.replace(WIDE, size=(12, 8), attention=(6,))


def drawn(make, config, seed=0) -> Network:
    """A network with every weight drawn."""
    abstract, rng = jax.eval_shape(partial(make, config), jax.random.key(0)), np.random.default_rng(seed)
    weights = jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape), jnp.float32), abstract.weights)
    return Network(weights, abstract.structure)


def _call(network, *arguments):
    return network(*arguments)


def turned(network: Network, structure) -> Network:
    """The network that does to transposed images what this one does to images: its kernels transposed."""
    turn = lambda leaf: leaf.swapaxes(0, 1) if leaf.ndim == 4 else leaf  # noqa: E731
    return Network(jax.tree.map(turn, network.weights), structure)


@pytest.mark.parametrize("resampling", ["residual", "convolution"])
def test_a_transposed_network_gives_the_transposed_image(resampling):
    """With attention over maps of 4 x 6 pixels."""
    wide, tall = (dataclasses.replace(each, downsampling=resampling, upsampling=resampling) for each in (WIDE, TALL))
    network = drawn(unet, wide)
    other = turned(network, jax.eval_shape(partial(unet, tall), jax.random.key(0)).structure)
    x, t, labels = jax.random.normal(jax.random.key(1), (3, 8, 12, 1)), jnp.float32([0.1, 0.5, 0.9]), jnp.array([0, 1, -1])
    run = jax.jit(_call)
    out = run(network, x, t, labels)
    assert out.shape == x.shape and np.std(out) > 0.01
    np.testing.assert_allclose(run(other, x.swapaxes(1, 2), t, labels), out.swapaxes(1, 2), atol=2e-5 * np.abs(out).max())


@pytest.mark.parametrize(("size", "channels", "stem"), [((8, 12), 1, 2), ((12, 4), 4, 2), ((4, 8), 3, 1)])
def test_a_prediction_has_the_shape_of_its_image(size, channels, stem):
    config = dataclasses.replace(WIDE, size=size, channels=channels, stem=stem, attention=())
    x = jax.ShapeDtypeStruct((2, *config.shape), jnp.float32)
    network = jax.eval_shape(partial(unet, config), jax.random.key(0))
    assert config.shape == (*size, channels)
    assert jax.eval_shape(_call, network, x, jnp.zeros(2), jnp.zeros(2, int)).shape == x.shape
    of = ClassifierConfig(size=size, channels=channels, stem=stem, base=16, multipliers=(1, 2), attention=())
    classifier = jax.eval_shape(partial(noised_classifier, of), jax.random.key(0))
    assert jax.eval_shape(_call, classifier, x, jnp.zeros(2)).shape == (2, 2)


def test_a_square_size_is_one_number_however_it_is_given():
    square = dataclasses.replace(WIDE, size=(8, 8))
    assert square == dataclasses.replace(WIDE, size=8) and square.settings()["size"] == 8
    assert (WIDE.height, WIDE.width, WIDE.resolutions, WIDE.settings()["size"]) == (8, 12, (8, 4), [8, 12])
    settings = json.loads(json.dumps(WIDE.settings()))
    again = UNetConfig(**{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()})
    assert again == WIDE


def test_attention_stays_at_its_levels_when_the_images_are_others():
    resized = WIDE.resized((24, 40), 4)
    assert (resized.shape, resized.resolutions, resized.attention) == ((24, 40, 4), (24, 12), (12,))
    assert WIDE.resized((8, 12), 1) == WIDE
    with pytest.raises(InputError, match=r"`size` .=.8, 13.. must be divisible by 2"):
        WIDE.resized((8, 13), 1)


def test_abstract_networks_are_of_the_default_dtype():
    """Whatever was asked for first in this process."""
    config = SeriesConfig(length=8, features=1, width=12, heads=1)
    dtypes = lambda: {str(leaf.dtype) for leaf in jax.tree.leaves(abstract(series_transformer, config).weights)}  # noqa: E731
    with jax.enable_x64(True):
        assert dtypes() == {"float64"}
    assert dtypes() == {"float32"}
