"""Text-to-image pipelines in the folder format of diffusers: Stable Diffusion 1, 2 and XL."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdiff.boundary import read_json, reading
from jaxdiff.conditions import Prompts
from jaxdiff.conditions.text import PromptEncoder
from jaxdiff.conditions.tokenizer_files import read as read_tokenizer
from jaxdiff.errors import InputError
from jaxdiff.interop import (
    autoencoder_config,
    lora,
    original_layout,
    scheduler,
    text_embeddings,
    text_encoder_config,
    unet_condition_config,
    weights,
)
from jaxdiff.interop.files import CheckpointFiles, Folder, joined
from jaxdiff.interop.latent_networks import imported_autoencoder, imported_unet
from jaxdiff.interop.layers import Arrays
from jaxdiff.interop.pipeline import INDEX, PARTS, Kind
from jaxdiff.interop.state import dictionaries
from jaxdiff.interop.torch_names import expected, from_torch
from jaxdiff.model import Model
from jaxdiff.models.network import Network, abstract, condition_unet, latent_decoder, latent_encoder, text_encoder
from jaxdiff.models.size import require_held
from jaxdiff.models.text_encoder import TextEncoderConfig
from jaxdiff.spaces import Latents
from jaxdiff.weight_file import fingerprint, named

CONFIG, SCHEDULER = "config.json", "scheduler_config.json"
TEXT_PREFIX = "text_model."
"""The prefix of the arrays of text encoders, except in files of transformers since version 5.6."""
Source = str | os.PathLike


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What differs from the files of a pipeline. All are optional.

    Arguments:
        dtype: of the computation of the UNet and the text encoders, and of their kernels: `float32` or `bfloat16`. The
            autoencoder is always float32.
        size: height and width of the images in pixels, or one number for both; by default those of training.
        variant: the variant of the weights, such as `fp16`; by default none where there are plain weights.
        replaced: for `unet`, `vae`, `text_encoder` or `text_encoder_2`, a file of weights or a folder, read instead.
        single: a file in the original layout, whose weights are read instead of all of the folder's.
        loras: files of LoRA with the weight of each, merged in their order.
        embeddings: files of textual inversion.
        clip_skip: layers at the end of the text encoders that the hidden states leave out, beside those that the kind of
            pipeline does.
    """

    dtype: str = "float32"
    size: int | tuple[int, int] | None = None
    variant: str | None = None
    replaced: Mapping[str, Source] = ()  # ty: ignore[invalid-assignment]  # an empty mapping as well
    single: Source | None = None
    loras: Sequence[tuple[Source, float]] = ()
    embeddings: Sequence[Source] = ()
    clip_skip: int = 0

    def __post_init__(self):
        object.__setattr__(self, "replaced", dict(self.replaced))
        if unknown := set(self.replaced) - PARTS.keys():
            raise InputError(f"a pipeline has the parts {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
        if self.single is not None and self.variant is not None:
            raise InputError("`variant` is for folders, and `single` is one file: give one of them")


class Part(NamedTuple):
    """A network of a pipeline before its weights are converted.

    Attributes:
        config: its configuration.
        networks: the networks that it is for us, with shapes in place of weights.
    """

    config: Any
    networks: tuple[Network, ...]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its arrays by name."""
        return {name: shape for network in self.networks for name, shape in expected(network).items()}


@dataclass(frozen=True)
class Pipeline:
    """A pipeline in a folder, read part by part.

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
        settings = self._settings("scheduler", SCHEDULER)
        name = f"scheduler/{SCHEDULER}"
        process, prediction = scheduler.read(settings, name)
        grids = scheduler.grids(settings, name)
        parts, vae = self._parts(process.timesteps)
        tokenizers = [self._tokenizer(folder, parts[part].config.positions) for part, folder in self.kind.encoders]
        states = self._states(parts)
        encoder, decoder = imported_autoencoder(vae.config, states.pop("vae"), "vae")
        states = self._merged(parts, states)
        network = imported_unet(parts["unet"].config, states["unet"], "unet")
        encoders = []
        for (part, _), tokenizer in zip(self.kind.encoders, tokenizers, strict=True):
            text = _imported_text(parts[part].config, states[part], part)
            encoders.append(PromptEncoder(tokenizer, parts[part].config, text, **self._hidden()))
        space = self._space(parts["unet"].config, vae, encoder, decoder)
        conditions = Prompts(tuple(encoders), zeros=self._zeros(), size=(space.height, space.width))
        conditions = self._with_embeddings(conditions)
        identity = {
            "unet": parts["unet"].config.settings(), "process": process.config(), "prediction": prediction,
            "autoencoder": space.fingerprint, "encoders": [each.fingerprint for each in conditions.encoders],
        }  # fmt: skip
        arrays = {path: np.asarray(leaf) for path, leaf in named(network.weights).items()}
        return Model(
            config=parts["unet"].config,
            network=network,
            process=process,
            prediction=prediction,
            space=space,
            conditions=conditions,
            training=self.files.source | self._provenance(),
            fingerprint=fingerprint(arrays, identity),
            grids=grids,
        )

    # Configurations -------------------------------------------------------------------------------------------------------

    def _parts(self, timesteps: int) -> tuple[dict[str, Part], autoencoder_config.Autoencoder]:
        """The parts by name, and the autoencoder with its scale."""
        changes = self.changes
        unet = unet_condition_config.read(
            self._settings("unet"), timesteps=timesteps, dtype=changes.dtype, name=self._name("unet")
        )
        vae = autoencoder_config.read(self._settings("vae"), name=self._name("vae"))
        parts = {
            "unet": Part(unet, (abstract(condition_unet, unet),)),
            "vae": Part(vae.config, (abstract(latent_encoder, vae.config), abstract(latent_decoder, vae.config))),
        }
        for part, _ in self.kind.encoders:
            config = text_encoder_config.read(self._settings(part), kind=PARTS[part], name=self._name(part))
            config = replace(config, dtype=changes.dtype)
            parts[part] = Part(config, (abstract(text_encoder, config),))
        texts = [parts[part].config for part, _ in self.kind.encoders]
        if (width := sum(config.width for config in texts)) != unet.text_channels:
            raise InputError(
                f"the UNet of {self.files.label} takes texts of {unet.text_channels} channels, and they have {width}"
            )
        if unet.pooled_channels != (texts[-1].projection if len(texts) == 2 else None):
            raise InputError(f"the UNet of {self.files.label} is not one of {self.kind.about}")
        if vae.config.latent_channels != unet.channels:
            got = f"{vae.config.latent_channels} and {unet.channels}"
            raise InputError(
                f"the autoencoder and the UNet of {self.files.label} must have the same latent channels, got {got}"
            )
        return parts, vae

    def _settings(self, part: str, file: str = CONFIG) -> dict[str, Any]:
        """The configuration of a part, of the folder that replaces it if there is one."""
        files, place = self._place(part)
        if not files.has(joined(place, file)):
            raise InputError(f"{files.label} lacks {joined(place, file)}")
        return read_json(files.path(joined(place, file)))

    def _place(self, part: str) -> tuple[CheckpointFiles, str]:
        """The files that a part is read from, and its folder there."""
        given = self.changes.replaced.get(part)
        if given is None or not Path(given).is_dir():
            return self.files, part
        files = Folder(Path(given))
        return files, "" if files.has(CONFIG) else part

    def _name(self, part: str) -> str:
        files, place = self._place(part)
        return joined(place, CONFIG) if files is self.files else f"{files.label}/{joined(place, CONFIG)}"

    def _space(self, unet: Any, vae: autoencoder_config.Autoencoder, encoder: Network, decoder: Network) -> Latents:
        factor = vae.config.factor
        size = self.changes.size
        if size is None:
            rows, columns = (unet.size, unet.size) if isinstance(unet.size, int) else unet.size
            height, width = rows * factor, columns * factor
        else:
            height, width = (size, size) if isinstance(size, int) else size
        arrays = {f"{way}/{path}": np.asarray(leaf) for way, network in (("encoder", encoder), ("decoder", decoder))
                  for path, leaf in named(network.weights).items()}  # fmt: skip
        scale = {"scaling_factor": vae.scaling_factor, "shift_factor": vae.shift_factor}
        return Latents(
            height, width, vae.config.latent_channels, factor, encoder, decoder, **scale,
            fingerprint=fingerprint(arrays, scale), autoencoder=vae.config,
        )  # fmt: skip

    def _hidden(self) -> dict[str, Any]:
        """Which hidden states are taken: for XL those before the last layer, without the final norm."""
        two = len(self.kind.encoders) == 2
        return {"skip": self.changes.clip_skip + two, "normalised": not two}

    def _zeros(self) -> bool:
        """Whether the null condition of XL is zero, as its index says."""
        return len(self.kind.encoders) == 2 and bool(
            read_json(self.files.path(INDEX)).get("force_zeros_for_empty_prompt", True)
        )

    def _tokenizer(self, folder: str, length: int) -> Any:
        names = self.files.inside(folder)
        if not names:
            raise InputError(f"{self.files.label} has no {folder}: copy the tokenizer of the pipeline that it was made from")
        paths = [self.files.path(joined(folder, name)) for name in names]  # a hub downloads them now
        return read_tokenizer(paths[0].parent, length)

    # Weights --------------------------------------------------------------------------------------------------------------

    def _states(self, parts: Mapping[str, Part]) -> dict[str, Arrays]:
        """The arrays of each part under their names in diffusers and transformers."""
        single = None if self.changes.single is None else self._original(Path(self.changes.single))
        found = {}
        for name, part in parts.items():
            given = self.changes.replaced.get(name)
            if given is not None and not Path(given).is_dir():
                content = weights.read_file(Path(given))
                found[name] = _of_file(content.held, name, part, Path(given).name)
            elif given is None and single is not None:
                found[name] = _of_original(single, name, part)
            else:
                found[name] = _plain(name, weights.read(*self._chosen(name)).held)
        return found

    def _chosen(self, name: str) -> tuple[CheckpointFiles, str, weights.Choice]:
        """The weights of a part that are read."""
        files, place = self._place(name)
        stems = weights.TEXT_STEMS if name.startswith("text") else (weights.STEM,)
        return files, place, weights.choose(files, place, self.changes.variant, stems=stems)

    def _original(self, file: Path) -> Mapping[str, np.ndarray]:
        held = weights.read_file(file).held
        for arrays in dictionaries(held, str(file)).values():
            if original_layout.is_original(arrays):
                return arrays
        raise InputError(
            f"{file} is not in the original layout of Stable Diffusion: no array begins with {original_layout.UNET}"
        )

    def _merged(self, parts: Mapping[str, Part], states: dict[str, Arrays]) -> dict[str, Arrays]:
        """The states with all LoRA merged in."""
        names = original_layout.unet_names(parts["unet"].shapes, parts["unet"].config.blocks)
        for file, weight in self.changes.loras:
            content = weights.read_file(Path(file))
            states = lora.merged(
                states, _arrays(content.held, Path(file)), content.metadata,
                weight=weight, name=Path(file).name, original=names,
            )  # fmt: skip
        return states

    def _with_embeddings(self, conditions: Prompts) -> Prompts:
        for file in self.changes.embeddings:
            found = text_embeddings.read(file)
            with reading(os.fspath(file)):
                conditions = conditions.with_vectors({found.token: found.vectors})
        return conditions

    def _provenance(self) -> dict[str, Any]:
        """What was changed, for records."""
        changes = self.changes
        variants = {} if changes.single else {name: self._chosen(name)[2].variant for name in self._from_folders}
        told = {
            "variant": ", ".join(f"{name} {variant}" for name, variant in variants.items() if variant),
            "replaced": {name: Path(given).name for name, given in changes.replaced.items()},
            "weights": None if changes.single is None else Path(changes.single).name,
            "loras": [[Path(file).name, weight] for file, weight in changes.loras],
            "embeddings": [Path(file).name for file in changes.embeddings],
            "clip_skip": changes.clip_skip,
            "dtype": None if changes.dtype == "float32" else changes.dtype,
        }
        return {name: value for name, value in told.items() if value}

    @cached_property
    def _from_folders(self) -> list[str]:
        given = self.changes.replaced
        names = ["unet", "vae", *(part for part, _ in self.kind.encoders)]
        return [name for name in names if name not in given or Path(given[name]).is_dir()]


def _plain(name: str, held: Any) -> Arrays:
    """The arrays of a file of one part, without the prefix of text encoders."""
    arrays = {key: array for key, array in held.items() if isinstance(array, np.ndarray)} if isinstance(held, Mapping) else {}
    if not name.startswith("text"):
        return arrays
    # older files also have the positions, which are 0, 1, ..
    return {key.removeprefix(TEXT_PREFIX): array for key, array in arrays.items() if not key.endswith("position_ids")}


def _of_file(held: Any, name: str, part: Part, file: str) -> Arrays:
    """The arrays of a part in a file that replaces it: alone, in a dictionary of others, or in the original layout."""
    found = dictionaries(held, file)
    for arrays in found.values():
        if original_layout.is_original(arrays):
            return _of_original(arrays, name, part)
    wanted = part.shapes.keys()
    best = max((_plain(name, arrays) for arrays in found.values()), key=lambda arrays: len(wanted & arrays.keys()), default={})
    if not wanted & best.keys():
        raise InputError(f"{file} has no array of a {PARTS[name]}: it must hold the weights of the {name}")
    return best


def _of_original(held: Mapping[str, np.ndarray], name: str, part: Part) -> Arrays:
    """The arrays of a part in a file of the original layout."""
    if name.startswith("text"):
        return original_layout.text_encoder(part.shapes, held, second=name.endswith("2"))
    if name == "vae":
        names = original_layout.autoencoder_names(part.shapes, len(part.config.widths))
    else:
        names = original_layout.unet_names(part.shapes, part.config.blocks)
    return {ours: held[theirs] for ours, theirs in names.items() if theirs in held}


def _arrays(held: Any, file: Path) -> Mapping[str, np.ndarray]:
    """The arrays of a file that holds nothing else."""
    found = dictionaries(held, str(file))
    if list(found) != [""]:
        raise InputError(f"{file} must hold arrays by name and nothing else")
    return found[""]


def _imported_text(config: TextEncoderConfig, state: Arrays, name: str) -> Network:
    require_held(config, sum(array.size for array in state.values()), name)
    return from_torch(abstract(text_encoder, config), state, name)
