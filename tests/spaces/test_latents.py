"""Latents: an autoencoder that only rearranges pixels has an exact inverse, and slices change nothing."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import spaces
from jaxdiff.errors import InputError
from jaxdiff.guidance import Unbounded
from jaxdiff.models.layers import depth_to_space, space_to_depth
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Latents, Pixels, latents
from tests.processes import succeed

FACTOR, SCALE, SHIFT = 4, 0.37, -0.25


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Blocks:
    """Blocks of pixels as channels, and a log variance that must not matter."""

    def __call__(self, pixels):
        mean = space_to_depth(pixels, FACTOR)
        return mean, jnp.full_like(mean, 3.0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pictures:
    """The inverse of `Blocks`, times a gain."""

    gain: float = 1.0

    def __call__(self, z):
        TRACED.append(z.shape)
        return self.gain * depth_to_space(z, FACTOR)


TRACED = []


def space(height=8, width=12, **given) -> Latents:
    blocks = {"encoder": Blocks(), "decoder": Pictures(), "channels": 3 * FACTOR**2, "factor": FACTOR}
    return Latents(height=height, width=width, scaling_factor=SCALE, shift_factor=SHIFT, **{**blocks, **given})


def images(count, height=8, width=12):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def test_the_latents_of_an_exact_autoencoder_are_its_scaled_means_and_decode_to_the_images():
    own, made = images(3), space()
    encoded = made.encode(own)
    assert encoded.shape == (3, *made.shape) == (3, 2, 3, 48) and encoded.dtype == np.float32
    by_hand = (own.reshape(3, 2, 4, 3, 4, 3).swapaxes(2, 3).reshape(3, 2, 3, 48) / 127.5 - 1 - SHIFT) * SCALE
    np.testing.assert_allclose(encoded, by_hand, atol=1e-6)
    np.testing.assert_array_equal(made.decode(encoded), own)
    assert isinstance(made.encode(jnp.asarray(own)), jax.Array) and isinstance(made.policy, Unbounded)


def test_slices_of_one_length_change_nothing_and_compile_one_program(monkeypatch):
    own, made = images(7), space(decoder=Pictures(0.5))
    whole = made.decode(made.encode(own))
    monkeypatch.setattr(latents, "AT_ONCE", 2 * 8 * 12)
    TRACED.clear()
    made = space(decoder=Pictures(0.5))
    np.testing.assert_array_equal(made.decode(made.encode(own)), whole)
    assert TRACED == [(2, 2, 3, 48)]


def test_pixels_outside_the_range_are_clipped_and_latents_are_not():
    own = np.full((1, 8, 12, 3), 255, np.uint8)
    made = space(decoder=Pictures(3.0))
    assert made.encode(own).max() > 0.4
    np.testing.assert_array_equal(made.decode(made.encode(own)), own)


def test_a_set_of_latents_is_stored_as_images(tmp_path):
    made = space(16, 16)
    shown = SampleSet.create(tmp_path, {"seed": 0}, (), np.zeros((2, 0), np.int32), made)
    own = images(2, 16, 16)
    shown.write(0, made.decode(made.encode(own)))
    assert shown.space == Pixels(16, 16) == spaces.from_config(shown.space.config())
    np.testing.assert_array_equal(shown.image(1), own[1])


def test_tiles_of_a_decoder_that_sees_one_pixel_change_nothing():
    """Wherever tiles overlap, both are right; with a decoder that sees the whole image they are not."""
    own, made = images(2, 12, 20), space(12, 20)
    encoded, tiled = made.encode(own), made.tiled(8)
    TRACED.clear()
    np.testing.assert_array_equal(tiled.decode(encoded), own)
    assert {shape[1:3] for shape in TRACED} == {(2, 2), (1, 2), (2, 1), (1, 1)}
    assert tiled.settings() == {**made.settings(), "tile": 8}
    for wrong in (0, 6):
        with pytest.raises(InputError, match=f"`tile` must be a multiple of 4.*got {wrong}"):
            made.tiled(wrong)


DEVICES = """
import jax, numpy as np
from jaxdiff.program_report import collectives
from jaxdiff.spaces import latents
from tests.spaces.test_latents import images, space
own, made = images(7), space()
latents.AT_ONCE = 8 * 12
np.testing.assert_array_equal(made.decode(made.encode(own)), own)
placed = made._placed
rows = jax.ShapeDtypeStruct((8, *made.shape), np.float32)
compiled = latents._decoded.lower(placed.decoding, rows, placed.mesh).compile()
assert placed.mesh.size == 4 and not collectives(compiled.as_text())
assert {shard.data.shape[0] for shard in compiled(placed.decoding, jax.device_put(
    np.zeros(rows.shape, np.float32), compiled.input_shardings[0][1])).addressable_shards} == {2}
print("decoded")
"""


def test_each_device_decodes_its_own_rows():
    assert "decoded" in succeed(("-c", DEVICES), 1, devices=4)[0]


def test_other_sizes_are_multiples_of_the_factor():
    assert space().sized(16, 4).shape == (4, 1, 48)
    for size in ((6, 12), (8, 0), (8, 13)):
        with pytest.raises(InputError, match=f"multiples of 4.*{size[0]}x{size[1]}"):
            space(*size)
    with pytest.raises(InputError, match="`scaling_factor` must not be 0"):
        Latents(8, 8, 4, 4, Blocks(), Pictures(), 0.0)
    with pytest.raises(InputError, match=r"`images` must be uint8 \(B, 8, 12, 3\), got uint8 \(1, 8, 8, 3\)"):
        space().encode(images(1, 8, 8))
