"""A space of another kind is one class: it is saved, drawn, stored, previewed, and refused where images are required."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import model as models
from jaxdiff import spaces
from jaxdiff._console.pictures import grid
from jaxdiff.conditions import Unconditional
from jaxdiff.data import load_arrays, open_data
from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import unet
from jaxdiff.process import vp_cosine
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM, sample
from jaxdiff.spaces import Pixels, require_pixels
from tests.spaces.series import SERIES, Series

LABELS = np.zeros((5, 0), np.int32)


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The toy space, registered as a new kind is."""
    monkeypatch.setitem(spaces.SPACES, Series.name, Series)


def windows(count=5):
    return np.random.default_rng(1).normal(0, SERIES.scales, (count, *SERIES.shape)).astype(np.float32)


def test_its_samples_are_stored_and_read_as_they_are(tmp_path):
    made = SampleSet.create(tmp_path / "set", {"seed": 0}, (), LABELS, SERIES)
    made.write(0, windows(), {"acted": np.arange(5)})
    made.finish()
    samples = SampleSet.open(tmp_path / "set")
    assert isinstance(samples.space, Series) and samples.space.shape == SERIES.shape
    stored, labels = load_arrays(samples)
    assert stored.dtype == np.float32 and labels.shape == (5, 0)
    np.testing.assert_array_equal(stored, windows())
    np.testing.assert_array_equal(samples.sample_notes()["acted"], np.arange(5))
    with np.load(tmp_path / "set" / "shard-00000.npz") as arrays:
        assert "windows" in arrays and "images" not in arrays
    assert grid(samples.space.pictures(stored)).mode == "RGB"
    assert SampleSet.create(tmp_path / "set", {"seed": 0}, (), LABELS, SERIES).missing() == []


def test_its_samples_are_no_images(tmp_path):
    SampleSet.create(tmp_path / "set", {}, (), LABELS, SERIES).write(0, windows())
    with pytest.raises(InputError, match=r"contains windows of shape \(6, 3\); expected a set of images"):
        open_data(tmp_path / "set")
    with pytest.raises(InputError, match="png is only for images; use npz for a set of windows"):
        SampleSet.create(tmp_path / "png", {}, (), LABELS, SERIES, "png")
    with pytest.raises(InputError, match=r"the model is of windows of shape \(6, 3\); this takes one of images"):
        require_pixels(SERIES, "the model")
    with pytest.raises(InputError, match=r"`windows` must be float32 \(B, 6, 3\), got uint8 \(5, 4, 4, 3\)"):
        SampleSet.create(tmp_path / "other", {}, (), LABELS, SERIES).write(0, np.zeros((5, 4, 4, 3), np.uint8))


def test_a_set_of_one_space_is_not_continued_in_another(tmp_path):
    SampleSet.create(tmp_path / "set", {}, (), LABELS, Pixels(4, 4))
    with pytest.raises(InputError, match="contains another set .*another space"):
        SampleSet.create(tmp_path / "set", {}, (), LABELS, SERIES)


def test_encoding_and_decoding_are_inverse():
    np.testing.assert_allclose(SERIES.decode(SERIES.encode(windows())), windows(), rtol=1e-6)
    np.testing.assert_allclose(SERIES.encode(windows(4000)).std((0, 1)), 1, rtol=0.05)


def test_a_model_of_it_is_saved_and_its_means_are_not_clipped(tmp_path):
    # a network of images takes the place of one of series, which reads other shapes
    config = UNetConfig(size=8, base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.0)
    network = jax.jit(unet, static_argnums=0)(config, jax.random.key(0))
    of_series = models.Model(
        config=config, network=network, process=vp_cosine(), prediction="eps", space=SERIES, conditions=Unconditional()
    )  # fmt: skip
    models.save(tmp_path, of_series)
    loaded = models.load(tmp_path)
    assert loaded.shape == (6, 3) and isinstance(loaded.space, Series)
    of_images = dataclasses.replace(loaded, space=Pixels(8, 8))
    x, t = 3 * jax.random.normal(jax.random.key(1), (2, 8, 8, 3)), jnp.full(2, 0.9)
    free, kept = loaded.denoise(x, t, None), of_images.denoise(x, t, None)
    assert np.abs(free).max() > 1
    np.testing.assert_array_equal(kept, np.clip(free, -1, 1))
    np.testing.assert_array_equal(of_images.denoiser(SERIES.policy)(x, t, None), free)


def test_samples_of_its_shape_are_drawn():
    # the exact denoiser of standard normal data, which a series in units of its standard deviation is
    process = vp_cosine()
    denoise = SERIES.policy.guided(lambda x, t, condition: _normal(process, x, t))
    drawn = sample(denoise, process, shape=SERIES.shape, solver=DDIM(20), key=jax.random.key(0), indices=np.arange(500))
    shown = SERIES.decode(drawn)
    assert shown.shape == (500, 6, 3) and np.isfinite(shown).all()
    np.testing.assert_allclose(shown.std((0, 1)), SERIES.scales, rtol=0.1)


def _normal(process, x, t):
    """E[x_0 | x_t] of standard normal data: alpha x / (alpha² + sigma²)."""
    alpha, sigma = process.alpha(t), process.sigma(t)
    factor = alpha / (alpha**2 + sigma**2)
    return jnp.reshape(factor, (-1, 1, 1)) * x
