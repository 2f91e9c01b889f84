"""The number of weights of a network follows from its configuration alone."""

from dataclasses import replace
from functools import partial
from time import process_time

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from jaxdiff.errors import InputError
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.config import MIDDLES, UPSAMPLINGS, UNetConfig
from jaxdiff.models.network import noised_classifier, text_encoder, unet
from jaxdiff.models.size import require_held, weight_count
from jaxdiff.models.text_encoder import TextEncoderConfig
from jaxdiff.presets import PRESETS


def held(config) -> int:
    """The number of weights of the network itself, built without arrays."""
    make = {UNetConfig: unet, ClassifierConfig: noised_classifier, TextEncoderConfig: text_encoder}[type(config)]
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(partial(make, config), jax.random.key(0)).weights))


CONFIGURATIONS = some.builds(
    dict,
    channels=some.sampled_from([1, 3, 4]),
    multipliers=some.lists(some.sampled_from([1, 2, 0.5, 3]), min_size=1, max_size=3).map(tuple),
    blocks=some.integers(1, 3),
    attention=some.sampled_from([(), (16,)]),
    stem=some.sampled_from([1, 2]),
    embedding=some.sampled_from(["scale_shift", "shift"]),
    downsampling=some.sampled_from(["residual", "convolution", "centred_convolution"]),
    upsampling=some.sampled_from(UPSAMPLINGS),
    middle_attention=some.sampled_from(MIDDLES),
)


@settings(max_examples=6)
@given(CONFIGURATIONS, some.sampled_from([(), (2,), (3, 2)]), some.booleans())
def test_the_count_is_that_of_the_network(given, values, null_label):
    given |= {"size": 16 * given["stem"], "base": 8, "head_channels": 4}
    config = UNetConfig(values=values, null_label=null_label, **given)
    assert weight_count(config) == held(config)
    classifier = ClassifierConfig(values=3, **given)
    assert weight_count(classifier) == held(classifier)


XL_SECOND = TextEncoderConfig(width=1280, layers=32, heads=20, inner=5120, activation="gelu", projection=1280)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (TextEncoderConfig(), 123_060_480),  # of Stable Diffusion 1.5
        (TextEncoderConfig(width=1024, layers=23, heads=16, inner=4096, activation="gelu"), 340_387_840),  # of 2.1
        (XL_SECOND, 694_659_840),
        (TextEncoderConfig(vocabulary=7, width=6, layers=2, heads=3, inner=10, positions=5), None),
    ],
)
def test_the_count_of_a_text_encoder(config, count):
    assert weight_count(config) == (held(config) if count is None else count)


@pytest.mark.parametrize("name", [pytest.param(each, marks=[pytest.mark.slow] * (each == "faces128")) for each in PRESETS])
def test_the_count_of_a_preset(name):
    config = PRESETS[name].network
    assert weight_count(config) == held(config)
    narrow = replace(config, blocks=0, multipliers=(1,), attention=())
    assert weight_count(narrow) == held(narrow)


def test_the_count_of_an_enormous_network_takes_no_time():
    start = process_time()
    config = UNetConfig(size=2**15, base=2**15, multipliers=(2,) * 16, blocks=100, attention=(), head_channels=2**16)
    assert weight_count(config) > 10**13 and process_time() - start < 0.1
    with pytest.raises(InputError, match="a.safetensors describes a network of .* weights and holds 1,000: it is damaged"):
        require_held(config, 1000, "a.safetensors")


def test_a_file_may_lack_half_of_the_weights():
    config = UNetConfig()
    require_held(config, -(-weight_count(config) // 2), "a.safetensors")
    with pytest.raises(InputError):
        require_held(config, weight_count(config) // 2 - 1, "a.safetensors")
