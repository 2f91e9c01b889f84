"""The networks of a text-to-image pipeline: their configurations, read and compared with one another, and their weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from jaxdiff.boundary import read_json
from jaxdiff.errors import InputError
from jaxdiff.interop import autoencoder_config, part_files, text_encoder_config, torch_names, unet_condition_config, weights
from jaxdiff.interop.changes import Changes
from jaxdiff.interop.files import CheckpointFiles, Folder, joined
from jaxdiff.interop.latent_networks import imported_autoencoder, imported_unet
from jaxdiff.interop.layers import Arrays
from jaxdiff.interop.pipeline import PARTS, Kind
from jaxdiff.interop.state import dictionaries
from jaxdiff.interop.torch_names import matched
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.network import Network, abstract, condition_unet, latent_decoder, latent_encoder, text_encoder
from jaxdiff.models.size import require_held, weight_count
from jaxdiff.models.text_encoder import TextEncoderConfig
from jaxdiff.models.unet_condition_config import ConditionUNetConfig

CONFIG = "config.json"


@dataclass(frozen=True)
class Place:
    """Where a part of a pipeline is read from.

    Attributes:
        files: the files of the pipeline, or of the folder that replaces the part.
        folder: its folder there.
        file: a file of weights that replaces the part's, all or some of them.
    """

    files: CheckpointFiles
    folder: str
    file: Path | None

    def settings(self, file: str = CONFIG) -> dict[str, Any]:
        """The content of a file of JSON. Raises `InputError` if it is missing or damaged."""
        if not self.files.has(joined(self.folder, file)):
            raise InputError(f"{self.files.label} lacks {joined(self.folder, file)}")
        return read_json(self.files.path(joined(self.folder, file)))

    def named(self, file: str) -> str:
        """What errors call a file."""
        return f"{self.files.label}/{joined(self.folder, file)}"


class State(NamedTuple):
    """The arrays of a part.

    Attributes:
        arrays: by their names in diffusers and transformers.
        variant: the variant of the folder's weights; None of plain ones.
        taken: how many are of the file that replaces some of them; None where it replaces all, or there is none.
        training: the provenance in the header of weights that jaxdiff wrote.
    """

    arrays: Arrays
    variant: str | None = None
    taken: int | None = None
    training: Mapping[str, Any] = MappingProxyType({})


Config = TypeVar("Config", ConditionUNetConfig, AutoencoderConfig, TextEncoderConfig)


@dataclass(frozen=True)
class Part(Generic[Config]):
    """A network of a pipeline.

    Attributes:
        name: its name, a key of `PARTS`.
        config: its configuration.
        place: where it is read from.
    """

    name: str
    config: Config
    place: Place

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """The networks that it is for us, with shapes in place of weights."""
        makers = {"unet": (condition_unet,), "vae": (latent_encoder, latent_decoder)}.get(self.name, (text_encoder,))
        return tuple(abstract(make, self.config) for make in makers)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its arrays by their names in diffusers and transformers."""
        return {name: shape for network in self.networks for name, shape in torch_names.expected(network).items()}

    def computed_in(self, dtype: str) -> "Part[Config]":
        """The part with another dtype of the computation."""
        return replace(self, config=replace(self.config, dtype=dtype))

    def state(self, variant: str | None, single: Any = None, name: str = "") -> State:
        """Its arrays.

        Arguments:
            variant: the variant of the weights in its folder.
            single: the content of a file of all parts, which is read instead of the folder.
            name: the name of this file in errors.

        Raises:
            InputError: arrays are missing, unexpected, of another shape or not floating point; the error lists them.
        """
        if self.place.file is not None:
            return self._of_file(self.place.file, variant)
        if single is None:
            return self._of_folder(variant)
        require_held(self.config, _numbers(single, name), name)
        return State(matched(self.shapes, self._found(single, name), name))

    def imported(self, arrays: Arrays) -> list[Network]:
        """Its networks with these weights."""
        match self.config:
            case ConditionUNetConfig():
                return [imported_unet(self.config, arrays, self.name)]
            case AutoencoderConfig():
                return list(imported_autoencoder(self.config, arrays, self.name))
        return torch_names.parts_from_torch(self.networks, arrays, self.name)

    def _of_folder(self, variant: str | None) -> State:
        stems = weights.TEXT_STEMS if self.name.startswith("text") else (weights.STEM,)
        choice = weights.choose(self.place.files, self.place.folder, variant, stems=stems)
        content, name = weights.read(self.place.files, self.place.folder, choice), self.place.named(choice.name)
        require_held(self.config, _numbers(content.held, name), name)
        arrays = matched(self.shapes, part_files.plain(content.held, self.name), name)
        training = (weights.own_metadata(Path(name), content) or {}).get("training")
        return State(arrays, choice.variant, training=training if isinstance(training, dict) else {})

    def _of_file(self, file: Path, variant: str | None) -> State:
        """The arrays of a file that replaces the weights of the folder, or some of them."""
        held, own = weights.read_file(file).held, None
        if weight_count(self.config) > 2 * _numbers(held, file.name):
            own = self._of_folder(variant)  # it has too few weights for a whole network: the folder must have them
        found = self._found(held, file.name)
        if not found.keys() < self.shapes.keys():
            return State(matched(self.shapes, found, file.name))
        own = self._of_folder(variant) if own is None else own
        return own._replace(arrays=matched(self.shapes, own.arrays | found, file.name), taken=len(found))

    def _found(self, held: Any, name: str) -> Arrays:
        return part_files.find(held, self.name, part_files.layouts(self.name, self.shapes, self.config), name)


def _numbers(held: Any, name: str) -> int:
    """How many numbers a file holds."""
    return sum(array.size for arrays in dictionaries(held, name).values() for array in arrays.values())


class Parts(NamedTuple):
    """The parts of a pipeline, whose configurations fit one another.

    Attributes:
        unet, vae: the UNet and the autoencoder.
        texts: the text encoders.
        scale: the autoencoder's configuration, with the scale of the latents.
    """

    unet: Part[ConditionUNetConfig]
    vae: Part[AutoencoderConfig]
    texts: tuple[Part[TextEncoderConfig], ...]
    scale: autoencoder_config.Autoencoder

    @property
    def all(self) -> tuple[Part, ...]:
        return (self.unet, self.vae, *self.texts)


def read(files: CheckpointFiles, kind: Kind, changes: Changes, timesteps: int) -> Parts:
    """The parts of a pipeline.

    Arguments:
        files: its files.
        kind: its kind.
        changes: what differs from the files.
        timesteps: T, the number of timesteps of its scheduler.

    Raises:
        InputError: a configuration is missing or not supported, or does not fit another one.
    """
    encoders = [name for name, _ in kind.encoders]
    if unknown := sorted(changes.replaced.keys() - {"unet", "vae", *encoders}):
        raise InputError(f"{files.label} is {kind.about}, which has no {' and no '.join(unknown)} to replace")
    places = {name: _place(files, changes, name) for name in ("unet", "vae", *encoders)}
    given = {name: place.settings() for name, place in places.items()}
    called = {name: place.named(CONFIG) for name, place in places.items()}
    unet = unet_condition_config.read(given["unet"], timesteps=timesteps, name=called["unet"])
    scale = autoencoder_config.read(given["vae"], name=called["vae"])
    texts = [text_encoder_config.read(given[name], kind=PARTS[name], name=called[name]) for name in encoders]
    if (width := sum(text.width for text in texts)) != unet.text_channels:
        raise InputError(f"{called['unet']} takes texts of {unet.text_channels} channels, and the text encoders give {width}")
    if unet.pooled_channels != (pooled := texts[-1].projection if len(texts) == 2 else None):
        raise InputError(f"{called['unet']} takes {_channels(unet.pooled_channels)}, and {kind.about} has {_channels(pooled)}")
    if scale.config.latent_channels != unet.channels:
        raise InputError(
            f"{called['unet']} takes latents of {unet.channels} channels, and those of {called['vae']} have "
            f"{scale.config.latent_channels}"
        )
    return Parts(
        Part("unet", unet, places["unet"]),
        Part("vae", scale.config, places["vae"]),
        tuple(Part(name, text, places[name]) for name, text in zip(encoders, texts, strict=True)),
        scale,
    )


def _channels(pooled: int | None) -> str:
    return "no pooled text embedding" if pooled is None else f"a pooled text embedding of {pooled} channels"


def _place(files: CheckpointFiles, changes: Changes, part: str) -> Place:
    given = changes.replaced.get(part)
    if given is None or not Path(given).is_dir():
        return Place(files, part, None if given is None else Path(given))
    folder = Folder(Path(given))
    return Place(folder, "" if folder.has(CONFIG) else part, None)
