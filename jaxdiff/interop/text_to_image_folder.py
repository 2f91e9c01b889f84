"""Writes a text-to-image model as a pipeline of diffusers, which diffusers and jaxdiff read."""

import json
import os
from pathlib import Path
from typing import Any

import safetensors.numpy

from jaxdiff.conditions import PromptEncoder, Prompts, tokenizer_files
from jaxdiff.errors import InputError
from jaxdiff.interop import latent_networks, scheduler, text_encoder_config, unet_condition_config, weights
from jaxdiff.interop.autoencoder_config import Autoencoder
from jaxdiff.interop.layers import Arrays
from jaxdiff.interop.part_files import TEXT_PREFIX
from jaxdiff.interop.pipeline import INDEX, KINDS, PARTS, class_of
from jaxdiff.interop.pipeline_parts import CONFIG
from jaxdiff.interop.text_to_image import SCHEDULER
from jaxdiff.interop.torch_names import to_torch
from jaxdiff.model import Model
from jaxdiff.models.network import Network
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.spaces import Latents
from jaxdiff.writing import whole


def save(path: str | os.PathLike, model: Model) -> None:
    """Writes a text-to-image model as a folder of diffusers, atomically.

    Weights are in the type that the model computes in, those of the autoencoder in float32. Prompts are not part of the folder,
    nor is an image size other than that of training. The header of the UNet's weights, which diffusers ignores, has the
    provenance.

    Arguments:
        path: a folder that does not exist or is empty.
        model: a model of `jaxdiff.interop.load_text_to_image`.

    Raises:
        InputError: the folder is not empty or cannot be written, the model is of another kind, or its text encoders leave out
            other layers than the format says (see `Prompts.skipping`).
    """
    folder, conditions, space, config = Path(path), model.conditions, model.space, model.config
    if not (isinstance(conditions, Prompts) and isinstance(space, Latents) and isinstance(config, ConditionUNetConfig)):
        raise InputError("`model` must be a text-to-image model, with prompts and latents")
    encoder, decoder = space.encoder, space.decoder
    if not (isinstance(encoder, Network) and isinstance(decoder, Network)):
        raise InputError("the autoencoder of `model` must be of the class `Network`")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already exists and is not empty; use another folder")
    two = len(conditions.encoders) == 2
    if any((each.skip, each.normalised) != (int(two), not two) for each in conditions.encoders):
        raise InputError("the text encoders of `model` leave out layers, which a folder of diffusers cannot say")
    name = class_of(len(conditions.encoders))
    schedule = scheduler.written(model.process, model.prediction, config.timesteps, model.grids)
    index: dict[str, Any] = {"_class_name": name, "scheduler": ["diffusers", schedule["_class_name"]]}
    if two:
        index["force_zeros_for_empty_prompt"] = conditions.zeros
    vae = Autoencoder(space.autoencoder, space.scaling_factor, space.shift_factor)
    parts: dict[str, tuple[dict[str, Any], Arrays, str]] = {
        "unet": (unet_condition_config.written(config), to_torch(model.network), weights.STEM),
        "vae": (*latent_networks.exported_autoencoder(vae, encoder, decoder), weights.STEM),
    }
    provenance = json.dumps({"training": model.training})
    with whole(folder, folder=True) as partial:
        for (part, tokens), encoder in zip(KINDS[name].encoders, conditions.encoders, strict=True):
            parts[part] = (*_text(encoder), weights.TEXT_STEMS[0])
            index[tokens] = ["transformers", "CLIPTokenizer"]
            for file, text in tokenizer_files.written(encoder.tokenizer).items():
                _write(partial / tokens / file, text)
        for part, (settings, state, stem) in parts.items():
            index[part] = ["transformers" if part.startswith("text") else "diffusers", PARTS[part]]
            _write(partial / part / CONFIG, json.dumps(settings, indent=2) + "\n")
            header = {"format": "pt"} | ({"jaxdiff": provenance} if part == "unet" else {})
            safetensors.numpy.save_file(state, partial / part / f"{stem}.safetensors", metadata=header)
        _write(partial / "scheduler" / SCHEDULER, json.dumps(schedule, indent=2) + "\n")
        _write(partial / INDEX, json.dumps(index | _ABSENT, indent=2) + "\n")


_ABSENT = {"safety_checker": [None, None], "feature_extractor": [None, None], "image_encoder": [None, None]}


def _text(encoder: PromptEncoder) -> tuple[dict[str, Any], Arrays]:
    """The `config.json` and the arrays of a text encoder, under the names that all versions of transformers read."""
    named = {
        name if name.startswith("text_projection") else f"{TEXT_PREFIX}{name}": array
        for name, array in to_torch(encoder.network).items()
    }
    tokens = {name: getattr(encoder.tokenizer, name) for name in ("begin", "end", "pad")}
    return text_encoder_config.written(encoder.config, **tokens), named


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
