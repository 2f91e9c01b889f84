"""Tiny models and their folders in diffusers' format, for the tests of import and export."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import safetensors

from jaxdiff.data import Attribute
from jaxdiff.model import Model, fingerprinted, image_model
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, unet
from jaxdiff.process import vp_cosine
from jaxdiff.weight_file import named as by_path

CONFIG = UNetConfig(
    size=4, base=32, multipliers=(1, 1), blocks=1, attention=(2,), head_channels=32, dropout=0.1, values=(2,), dtype="bfloat16"
)
GENDER = Attribute("gender", ("male", "female"))
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def model_of(config: UNetConfig, attributes=(), process=None, prediction="v", seed: int = 0) -> Model:
    """A model with every weight drawn."""
    rng, abstract = np.random.default_rng(seed), jax.eval_shape(partial(unet, config), jax.random.key(0))
    weights = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), jnp.float32), abstract.weights)
    network = Network(weights, abstract.structure)
    return fingerprinted(
        image_model(config, network, process or vp_cosine(), prediction, attributes, {"step": 3, "data": "faces"})
    )


def parts(folder):
    """Arrays and metadata of a folder's weights, read without jaxdiff."""
    with safetensors.safe_open(folder / WEIGHTS, framework="numpy") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def changed(file, **settings) -> None:
    """Changes settings in a JSON file; None takes one out."""
    content = json.loads(file.read_text()) | settings
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def same(one: Network, other: Network) -> bool:
    """Whether all weights are the same, bit for bit."""
    one, other = by_path(one.weights), by_path(other.weights)
    return one.keys() == other.keys() and all(np.asarray(one[n]).tobytes() == np.asarray(other[n]).tobytes() for n in one)
