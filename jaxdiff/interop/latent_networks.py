"""The networks of Stable Diffusion with the weights of diffusers' classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxdiff.interop import autoencoder_config
from jaxdiff.interop.autoencoder_config import Autoencoder
from jaxdiff.interop.layers import Arrays
from jaxdiff.interop.torch_names import from_torch, parts_from_torch, to_torch
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.network import Network, abstract, condition_unet, latent_decoder, latent_encoder
from jaxdiff.models.size import require_held
from jaxdiff.models.unet_condition_config import ConditionUNetConfig


def imported_unet(config: ConditionUNetConfig, state: Mapping[str, np.ndarray], name: str = "the state dictionary") -> Network:
    """Our UNet with the weights of a UNet2DConditionModel.

    Arguments:
        config: its configuration, as `unet_condition_config.read` gives it.
        state: its state dictionary.
        name: the name of the state dictionary in errors.

    Raises:
        InputError: the state dictionary does not match the configuration; missing and unexpected arrays are listed.
    """
    require_held(config, _held(state), name)
    return from_torch(abstract(condition_unet, config), state, name)


def imported_autoencoder(
    config: AutoencoderConfig, state: Mapping[str, np.ndarray], name: str = "the state dictionary"
) -> tuple[Network, Network]:
    """Our encoder and decoder with the weights of an AutoencoderKL; for the arguments and errors see `imported_unet`."""
    require_held(config, _held(state), name)
    encoder, decoder = parts_from_torch([abstract(latent_encoder, config), abstract(latent_decoder, config)], state, name)
    return encoder, decoder


def exported_autoencoder(autoencoder: Autoencoder, encoder: Network, decoder: Network) -> tuple[dict[str, Any], Arrays]:
    """The `config.json` and the state dictionary of the AutoencoderKL that computes the same as our two networks."""
    return autoencoder_config.written(autoencoder), {**to_torch(encoder), **to_torch(decoder)}


def _held(state: Mapping[str, np.ndarray]) -> int:
    return sum(array.size for array in state.values())
