"""Networks as those of diffusers: what has no counterpart there."""

import dataclasses
from functools import partial

import jax
import pytest

from jaxdiff.errors import InputError
from jaxdiff.interop import unet2d
from jaxdiff.models.network import Network, unet
from jaxdiff.models.unet import UNetConfig

CONFIG = UNetConfig(size=8, base=32, multipliers=(1, 2), blocks=1, attention=(8, 4), head_channels=32, dropout=0.0)


@pytest.fixture(scope="module")
def fresh():
    """A network with fresh weights, of a configuration."""
    made: dict[UNetConfig, Network] = {}
    return lambda config: made.setdefault(config, jax.jit(partial(unet, config))(jax.random.key(0)))


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"stem": 2, "attention": ()}, "no space-to-depth stem: `stem` must be 1, got 2"),
        ({"multipliers": (2, 2)}, "`multipliers` must begin with 1, got 2"),
        ({"base": 48}, r"one number of groups .* 16 at 48 channels, 32 at 96 channels"),
        ({"head_channels": 64, "multipliers": (1, 4)}, r"heads of \[32, 64\] channels at the widths \[32, 128\]"),
    ],
)
def test_what_unet2dmodel_lacks_is_named(changed, match, fresh):
    config = dataclasses.replace(CONFIG, **changed)
    with pytest.raises(InputError, match=match):
        unet2d.exported(config, fresh(config))
