"""Small text-to-image pipelines with random weights, as models and as folders of diffusers, for all tests that take them.

Latents are of 8x8 with two levels or one, images of 16x16; a prompt has 12 tokens. A model is made once in a process.
"""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdiff import interop
from jaxdiff.interop import scheduler
from jaxdiff.model import Model
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.network import Network, abstract, condition_unet, latent_decoder, latent_encoder
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.spaces import Latents
from jaxdiff.weight_file import named
from tests.conditions import small_text

SIZE = 16
"""Height and width of the images."""
SCALE = 0.7
"""The scaling factor of the latents."""
SCHEDULE = {
    "_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1,
}  # fmt: skip
"""The scheduler of Stable Diffusion."""
UNET: dict[str, Any] = {
    "size": 8, "widths": (8, 16), "blocks": 1, "attention": (0,), "transformers": (1, 1), "heads": (2, 2), "groups": 4,
    "text_channels": 8,
}  # fmt: skip
SHALLOW: dict[str, Any] = {"widths": (8,), "transformers": (1,), "heads": (2,)}
"""One level: whatever needs no more compiles in two thirds of the time."""
OF_XL = {"text_channels": 14, "pooled_channels": 5, "size_channels": 4, "linear_projection": True, "transformers": (1, 2)}
VAE = AutoencoderConfig(size=SIZE, widths=(8, 16), blocks=1, groups=4)


def drawn(make: Any, config: Any, seed: int) -> Network:
    """A network with every weight drawn, so that none starts as 0 or 1."""
    made, rng = abstract(make, config), np.random.default_rng(seed)
    leaves = []
    for name, leaf in named(made.weights).items():
        normal = rng.standard_normal(leaf.shape)
        spread = np.sqrt(np.prod(leaf.shape[:-1])) if name.endswith("kernel") else 10
        leaves.append(jnp.asarray(name.endswith("scale") + normal / spread, leaf.dtype))
    return Network(jax.tree.unflatten(jax.tree.structure(made.weights), leaves), made.structure)


@cache
def model(*, xl: bool = False, prediction: str = "epsilon", seed: int = 0, shallow: bool = False) -> Model:
    """A model as `jaxdiff.interop.load_text_to_image` would return it.

    Arguments:
        xl: whether it is of the kind of Stable Diffusion XL, with two text encoders.
        prediction: the scheduler's `prediction_type`.
        seed: of the weights.
        shallow: whether the denoiser has one level; of the kind of Stable Diffusion 1 alone.
    """
    with TemporaryDirectory() as folder:
        prompts = small_text.of_two if xl else small_text.prompts
        conditions = prompts(Path(folder), size=(SIZE, SIZE), zeros=xl)
    config = ConditionUNetConfig(**{**UNET, **(OF_XL if xl else {}), **(SHALLOW if shallow else {})})
    encoder, decoder = (drawn(make, VAE, seed + 1) for make in (latent_encoder, latent_decoder))
    settings = {**SCHEDULE, "prediction_type": prediction}
    process, predicted = scheduler.read(settings)
    return Model(
        config=config,
        network=drawn(condition_unet, config, seed),
        process=process,
        prediction=predicted,
        space=Latents(SIZE, SIZE, VAE.latent_channels, VAE.factor, encoder, decoder, SCALE, autoencoder=VAE),
        conditions=conditions,
        grids=scheduler.grids(settings),
    )


def folder(path: Path, **of: Any) -> Path:
    """Writes the pipeline of `model(**of)` as a folder of diffusers."""
    interop.save(path, model(**of))
    return path


def parts(read: Model) -> dict[str, dict[str, np.ndarray]]:
    """The weights of each network of a model by path."""
    networks = {"unet": read.network, "encoder": read.space.encoder, "decoder": read.space.decoder}
    networks |= {f"text {place}": each.network for place, each in enumerate(read.conditions.encoders)}
    return {
        name: {path: np.asarray(leaf) for path, leaf in named(network.weights).items()} for name, network in networks.items()
    }


def same(one: Model, other: Model) -> bool:
    """Whether all weights of two models are the same, bit for bit."""
    first, second = parts(one), parts(other)
    return first.keys() == second.keys() and all(
        first[name].keys() == second[name].keys()
        and all(
            array.dtype == second[name][path].dtype and array.tobytes() == second[name][path].tobytes()
            for path, array in first[name].items()
        )
        for name in first
    )
