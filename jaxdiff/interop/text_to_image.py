"""Text-to-image pipelines in the folder format of diffusers: Stable Diffusion 1, 2 and XL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff.boundary import read_json, reading
from jaxdiff.conditions import PromptEncoder, Prompts, Tokenizer
from jaxdiff.conditions.tokenizer_files import read as read_tokenizer
from jaxdiff.errors import InputError
from jaxdiff.interop import lora, original_layout, pipeline_parts, scheduler, text_embeddings, weights
from jaxdiff.interop.changes import Changes
from jaxdiff.interop.files import CheckpointFiles, joined
from jaxdiff.interop.layers import Arrays, listed
from jaxdiff.interop.pipeline import INDEX, Kind
from jaxdiff.interop.pipeline_parts import Part, Parts, Place, State
from jaxdiff.model import Model
from jaxdiff.models.network import Network
from jaxdiff.models.text_encoder import TextEncoderConfig
from jaxdiff.spaces import Latents
from jaxdiff.weight_file import fingerprint, named

SCHEDULER = "scheduler_config.json"


@dataclass(frozen=True)
class Pipeline:
    """A pipeline in a folder.

    Arguments:
        files: its files.
        kind: its kind.
        changes: what differs from the files.
    """

    files: CheckpointFiles
    kind: Kind
    changes: Changes

    def model(self) -> Model:
        """The pipeline as a model. All configurations are read, and compared with one another, before any weights are.

        Raises:
            InputError: a part is missing, of another class or damaged, its arrays do not match its configuration (all are
                listed), parts do not fit one another, or a change does not fit.
        """
        outline, parts, space, conditions = self._outline()
        states = self._states(parts)
        arrays = {part: state.arrays for part, state in states.items()}
        dtype = self.changes.dtype or _stored(arrays["unet"])
        training = self._training(states, dtype)
        del states  # the arrays of a part are freed once its network is made
        arrays |= self._merged(parts, {part: held for part, held in arrays.items() if part != "vae"})
        _require_finite(arrays)
        space = _decoding(space, *parts.vae.imported(arrays.pop("vae")))
        unet, texts = parts.unet.computed_in(dtype), [text.computed_in(dtype) for text in parts.texts]
        (network,) = unet.imported(arrays.pop("unet"))
        conditions = self._encoding(conditions, texts, arrays)
        read = replace(outline, config=unet.config, network=network, space=space, conditions=conditions, training=training)
        return fingerprinted(read)

    def outline(self) -> Model:
        """The pipeline with the shapes and types of its arrays in place of arrays: files of weights are not read.

        Raises:
            InputError: a configuration or a tokenizer is missing or damaged, or parts do not fit one another.
        """
        return self._outline()[0]

    def _outline(self) -> tuple[Model, Parts, Latents, Prompts]:
        place = Place(self.files, "scheduler", None)
        schedule, name = place.settings(SCHEDULER), place.named(SCHEDULER)
        process, prediction = scheduler.read(schedule, name)
        grids = scheduler.grids(schedule, name)
        parts = pipeline_parts.read(self.files, self.kind, self.changes, process.timesteps)
        space, unet = self._space(parts), parts.unet.computed_in(self.changes.dtype or "float32")
        (network,) = unet.networks
        conditions = self._conditions(parts, space)
        outline = Model(
            config=unet.config, network=network, process=process, prediction=prediction, space=space, conditions=conditions,
            grids=grids,
        )  # fmt: skip
        return outline, parts, space, conditions

    def _space(self, parts: Parts) -> Latents:
        """The space of the latents, without weights."""
        config, size = parts.vae.config, self.changes.size
        if size is None:
            trained = parts.unet.config.size
            rows, columns = (trained, trained) if isinstance(trained, int) else trained
            height, width = rows * config.factor, columns * config.factor
        else:
            height, width = (size, size) if isinstance(size, int) else size
        encoder, decoder = parts.vae.networks
        return Latents(
            height, width, config.latent_channels, config.factor, encoder, decoder,
            scaling_factor=parts.scale.scaling_factor, shift_factor=parts.scale.shift_factor, autoencoder=config,
        )  # fmt: skip

    def _conditions(self, parts: Parts, space: Latents) -> Prompts:
        """The encoder of prompts, without weights."""
        two = len(parts.texts) == 2
        encoders = []  # XL takes the states before the last layer as they are
        for (_, folder), text in zip(self.kind.encoders, parts.texts, strict=True):
            tokenizer = self._tokenizer(folder, text.config.positions)
            (network,) = text.networks
            encoders.append(PromptEncoder(tokenizer, text.config, network, skip=int(two), normalised=not two))
        zeros = two and bool(read_json(self.files.path(INDEX)).get("force_zeros_for_empty_prompt", True))
        return Prompts(tuple(encoders), zeros=zeros, size=(space.height, space.width))

    def _tokenizer(self, folder: str, length: int) -> Tokenizer:
        names = self.files.inside(folder)
        if not names:
            raise InputError(f"{self.files.label} has no {folder}: copy the tokenizer of the pipeline that it was made from")
        paths = [self.files.path(joined(folder, name)) for name in names]  # a hub downloads them now
        return read_tokenizer(paths[0].parent, length)

    def _encoding(self, conditions: Prompts, texts: Sequence[Part[TextEncoderConfig]], arrays: Mapping[str, Arrays]) -> Prompts:
        """The encoder of prompts with its weights, and the tokens of files of textual inversion."""
        encoders = []
        for encoder, text in zip(conditions.encoders, texts, strict=True):
            (network,) = text.imported(arrays[text.name])
            encoders.append(replace(encoder, config=text.config, network=network))
        conditions = replace(conditions, encoders=tuple(encoders))
        for file in self.changes.embeddings:
            found = text_embeddings.read(file)
            with reading(file):
                conditions = conditions.with_vectors({found.token: found.vectors})
        return conditions

    def _states(self, parts: Parts) -> dict[str, State]:
        """The arrays of each part. What is wrong with any of them is one error."""
        single, name = None, ""
        if self.changes.single is not None:
            single, name = weights.read_file(Path(self.changes.single)).held, Path(self.changes.single).name
        states, faults = {}, []
        for part in parts.all:
            own = single if self.changes.replaced.get(part.name) is None else None
            try:
                states[part.name] = part.state(self.changes.variant, own, name)
            except InputError as error:
                faults.append(str(error))
        if faults:
            raise InputError("; ".join(faults))
        return states

    def _merged(self, parts: Parts, arrays: dict[str, Arrays]) -> dict[str, Arrays]:
        """The arrays of the UNet and the text encoders with all LoRA merged in."""
        original = original_layout.unet_names(parts.unet.shapes, parts.unet.config.blocks)
        for file, weight in self.changes.loras:
            name = Path(file).name
            content = weights.read_file(Path(file))
            with reading(file):
                arrays = lora.merged(
                    arrays, lora.only(content.held, name), content.metadata, weight=weight, name=name, original=original
                )
        return arrays

    def _training(self, states: Mapping[str, State], dtype: str) -> dict[str, Any]:
        """Where the weights come from, what was chosen and changed, and what was `before`, if jaxdiff wrote the folder."""
        changes, before = self.changes, dict(states["unet"].training)
        replaced = {name: Path(given).name for name, given in changes.replaced.items()}
        for name, state in states.items():
            if state.taken is not None:
                replaced[name] += f" ({state.taken} of {len(state.arrays)} arrays)"
        told = {
            "weights": ", ".join(f"{name} {state.variant}" for name, state in states.items() if state.variant),
            "single": None if changes.single is None else Path(changes.single).name,
            "replaced": replaced,
            "loras": [[Path(file).name, weight] for file, weight in changes.loras],
            "embeddings": [Path(file).name for file in changes.embeddings],
            "dtype": None if dtype == "float32" or before.get("dtype") == dtype else dtype,
        }
        changed = {name: value for name, value in told.items() if value}
        if before and not changed:
            return before
        return {**self.files.source, **changed, **({"before": before} if before else {})}


def fingerprinted(model: Model) -> Model:
    """A text-to-image model with the fingerprint that it has when it is read from its folder.

    Raises:
        InputError: the model is of another kind.
    """
    conditions, space = model.conditions, model.space
    if not (isinstance(conditions, Prompts) and isinstance(space, Latents)):
        raise InputError("`model` must be a text-to-image model, with prompts and latents")
    identity = {
        "unet": model.config.settings(), "process": model.process.config(), "prediction": model.prediction,
        "autoencoder": space.fingerprint, "encoders": [each.fingerprint for each in conditions.encoders],
    }  # fmt: skip
    return replace(model, fingerprint=fingerprint(_leaves(model.network), identity))


def _stored(unet: Arrays) -> str:
    """The dtype that a UNet is computed in by default."""
    return "bfloat16" if all(array.dtype.name == "bfloat16" for array in unet.values() if array.ndim > 1) else "float32"


def _require_finite(arrays: Mapping[str, Arrays]) -> None:
    """Raises `InputError` if a weight is NaN or infinite, as where float16 overflowed; the error lists the arrays."""
    wrong = {part: [name for name, array in held.items() if not np.isfinite(array).all()] for part, held in arrays.items()}
    if any(wrong.values()):
        told = (f"{len(names)} of the {part}: {listed(names)}" for part, names in wrong.items() if names)
        raise InputError(f"arrays have values that are no finite numbers, {'; '.join(told)}")


def _decoding(space: Latents, encoder: Network, decoder: Network) -> Latents:
    """The space with the weights of its autoencoder."""
    arrays = {f"encoder/{path}": leaf for path, leaf in _leaves(encoder).items()}
    arrays |= {f"decoder/{path}": leaf for path, leaf in _leaves(decoder).items()}
    scale = {"scaling_factor": space.scaling_factor, "shift_factor": space.shift_factor}
    return replace(space, encoder=encoder, decoder=decoder, fingerprint=fingerprint(arrays, scale))


def _leaves(network: Network) -> Arrays:
    return {path: np.asarray(leaf) for path, leaf in named(network.weights).items()}
