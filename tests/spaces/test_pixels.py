"""Pixels: bytes are restored exactly, the range is that of the clipping policy, and other arrays are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import spaces
from jaxdiff.denoiser import NetworkDenoiser
from jaxdiff.errors import InputError
from jaxdiff.process import vp_cosine
from jaxdiff.spaces import Pixels, rgb

LEVELS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
@pytest.mark.parametrize("jitted", [False, True])
def test_every_level_is_restored_exactly(array, jitted):
    space = Pixels(16, 16, 1)
    encode = jax.jit(space.encode) if jitted else space.encode
    x = np.asarray(encode(array(LEVELS)))
    assert x.dtype == np.float32
    # what XLA compiles multiplies by the reciprocal: a unit in the last place of numbers below 2
    np.testing.assert_allclose(x.ravel(), np.arange(256) / 127.5 - 1, atol=2e-7)
    assert jitted or array is jnp.asarray or (x.min(), x.max()) == (-1, 1)
    np.testing.assert_array_equal(space.decode(array(x)), LEVELS)


def test_images_on_the_host_stay_there_and_are_not_changed():
    images = LEVELS.copy()
    assert type(Pixels(16, 16, 1).encode(images)) is np.ndarray
    np.testing.assert_array_equal(images, LEVELS)


def test_a_pixel_is_rounded_to_the_nearest_level_and_beyond_the_range_to_its_end():
    # level v lies at v / 127.5 - 1; a little under and over half a level away
    x = np.float32([-7, -1.004, (10.49 / 127.5) - 1, (10.51 / 127.5) - 1, 1.004, 9]).reshape(1, 1, 6, 1)
    np.testing.assert_array_equal(Pixels(1, 6, 1).decode(x).ravel(), [0, 0, 10, 11, 255, 255])


def test_the_policy_keeps_the_posterior_mean_of_a_network_in_the_range_of_images():
    space = Pixels(2, 3, 1)
    process = vp_cosine()
    denoise = NetworkDenoiser(lambda x, t, condition: 5 * x, process, "x0")
    x = jax.random.normal(jax.random.key(0), (4, *space.shape))
    plain, kept = denoise(x, 0.5, None), space.policy.network(denoise)(x, 0.5, None)
    assert np.abs(plain).max() > 1
    np.testing.assert_array_equal(kept, np.clip(plain, -1, 1))
    # what is in the range already stays as it is
    np.testing.assert_array_equal(space.policy.guided(space.policy.network(denoise))(x, 0.5, None), kept)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_have_three_channels(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 6, channels), np.uint8)
    shown = Pixels(4, 6, channels).pictures(images)
    assert shown.shape == (5, 4, 6, 3)
    for column in range(3):
        np.testing.assert_array_equal(shown[..., column], images[..., 0 if channels == 1 else column])
    with pytest.raises(InputError, match="1, 3 or 4 channels"):
        rgb(images[..., :1].repeat(2, -1))


def test_a_space_is_restored_from_its_config():
    space = Pixels(24, 40, 4)
    assert spaces.from_config(space.config()) == space and space.shape == (24, 40, 4)
    assert space.shown is space and str(space) == "24x40 RGB and transparency"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "sound"}, "unknown space 'sound'; this version of jaxdiff knows pixels"),
        ({"height": 3}, "unknown space None"),
        ({"name": "pixels", "height": 3}, "'pixels' does not take"),
        ({"name": "pixels", "height": 3, "width": 0}, "`width` must be at least 1, got 0"),
        ({"name": "pixels", "height": 3, "width": 3, "channels": 2}, "`channels` must be 1 .grey., 3 .RGB., 4 .* got 2"),
    ],
)
def test_what_is_no_space_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        spaces.from_config(config)


@pytest.mark.parametrize("images", [LEVELS[:, :15], LEVELS.astype(np.float32), LEVELS.repeat(3, -1)])
def test_images_of_another_space_are_refused(images):
    with pytest.raises(InputError, match=r"`images` must be uint8 \(B, 16, 16, 1\), got"):
        Pixels(16, 16, 1).encode(images)
