"""Reads a model of another library, from a folder, a file or a hub."""

import os
import posixpath
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jaxdiff import model as models
from jaxdiff import shipped
from jaxdiff.boundary import read_json, reading, require_regular
from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError
from jaxdiff.interop import folder, guided, hub, latents, pipeline, scheduler, state, unet2d, unet2d_config, weights
from jaxdiff.interop.attributes import class_attribute
from jaxdiff.interop.changes import Changes
from jaxdiff.interop.files import CheckpointFiles, Folder, joined, places
from jaxdiff.interop.folder import CONFIG, SCHEDULER
from jaxdiff.interop.text_to_image import Pipeline
from jaxdiff.model import Model, fingerprinted, image_model
from jaxdiff.process import Prediction, Process
from jaxdiff.weight_file import MODEL

NETWORKS = ("unet_ema", "unet", "")
"""The folders of a checkpoint that may have the network, in the order in which they are looked for."""


@dataclass(frozen=True, kw_only=True)
class _Given:
    """What is said about a model beside its files; see `load`."""

    process: Process | None
    prediction: Prediction | None
    attribute: Attribute | None
    null_label: bool
    size: int | tuple[int, int] | None
    variant: str | None
    key: str | None
    head_channels: int
    attention_order: str

    @property
    def overrides(self) -> list[str]:
        """The names of those that replace what a file of jaxdiff says."""
        names = [field.name for field in fields(self) if field.name not in ("head_channels", "attention_order")]
        return [name for name in names if getattr(self, name) not in (None, False)]


def load(
    source: str | os.PathLike,
    *,
    process: Process | None = None,
    prediction: Prediction | None = None,
    attribute: Attribute | None = None,
    null_label: bool = False,
    size: int | tuple[int, int] | None = None,
    subfolder: str | None = None,
    variant: str | None = None,
    key: str | None = None,
    head_channels: int = 64,
    attention_order: str = "heads",
) -> Model:
    """Reads a model of diffusers (UNet2DModel) or guided-diffusion. No code in any file is run.

    A folder of diffusers has a `config.json` and weights, and a scheduler or the arguments `process` and `prediction`. Averaged
    weights (`unet_ema`) are taken before others (`unet`); plain weights before variants (`fp16`). Numbers of float16, bfloat16,
    float32 and float64 are read, in one file or several with an index. A file of weights by itself needs its `config.json`
    beside it or, if its network is that of guided-diffusion or a descendant (P2 weighting), `size` and `process`.

    A class embedding becomes the attribute `class` with the values 0, 1, .. and no null label, unless arguments
    override this. A folder of `save` is restored exactly if no arguments are given and it has not been changed. Where there was
    a choice of weights, `Model.training["weights"]` says which were taken.

    Arguments:
        source: a folder of a pipeline or of a network alone, a file of weights (`.safetensors`, or `.pt` or `.bin` of
            `torch.save`), or `hf://OWNER/NAME[@REVISION][/PATH]` on the Hugging Face hub, which needs `jaxdiff[hub]`. A run of
            jaxdiff is read as it is.
        process, prediction: override the scheduler's; needed if there is none. For guided-diffusion, `process` is needed, with
            the network's number of timesteps, and `prediction` is eps by default.
        attribute: name and values of the class label.
        null_label: whether the last class embedding is that of the null label.
        size: of the images, (height, width) or one number for both; needed where no `config.json` names it.
        subfolder: the folder of the network in the source, by default `unet_ema`, `unet` or the source itself.
        variant: the variant of the weights, such as `fp16`.
        key: the network to take in a file of several, such as `ema` in `{"model": .., "ema": ..}`; by default the only one, or
            the only one whose name says `ema`.
        head_channels: guided-diffusion: channels of an attention head (`num_head_channels`; with `num_heads`, the channels
            divided by it).
        attention_order: guided-diffusion: whether the rows of the projection to queries, keys and values are ordered by `heads`
            first (its default) or by `projections` first (`use_new_attention_order`).

    Raises:
        InputError: a file is missing or damaged, arrays are missing, unexpected or of another shape (they are listed), the
            network or the scheduler has unsupported features, or the network draws latents.
    """
    given = _Given(
        process=process, prediction=prediction, attribute=attribute, null_label=null_label, size=size,
        variant=variant, key=key, head_channels=head_channels, attention_order=attention_order,
    )  # fmt: skip
    with reading(os.fspath(source)):
        return _load(source, subfolder, variant, given)


def _load(source: str | os.PathLike, subfolder: str | None, variant: str | None, given: _Given) -> Model:
    files, inside = _opened(source)
    if inside and files.has(inside):
        if subfolder is not None or variant is not None:
            name = "subfolder" if subfolder is not None else "variant"
            raise InputError(f"`{name}` is for folders, got the file {source}")
        return _of_file(files, inside, given)
    return _of_folder(files, joined(inside, subfolder) if inside and subfolder else inside or subfolder, given)


def load_text_to_image(source: str | os.PathLike, **changes: Any) -> Model:
    """Reads a text-to-image pipeline of diffusers: Stable Diffusion 1, 2 or XL. No code in any file is run.

    The folder has an index (`model_index.json`), the configurations and weights of the UNet, the autoencoder and one or two
    text encoders of CLIP, their tokenizers, and a scheduler. Weights are float32, float16 or bfloat16, in one file or several
    with an index, under plain names or those of a variant. The model's conditions are prompts (`jaxdiff.conditions.Prompts`),
    its space is that of latents (`jaxdiff.spaces.Latents`).

    Arguments:
        source: the folder, or `hf://OWNER/NAME[@REVISION]` on the Hugging Face hub, which needs `jaxdiff[hub]`.
        changes: what differs from the files, arguments of `jaxdiff.interop.changes.Changes`: `dtype`, `size`, `variant`,
            `replaced`, `single`, `loras` and `embeddings`.

    Raises:
        InputError: it is no such pipeline, a file is missing or damaged, arrays do not match their network (all are listed), or
            a change does not fit.
    """
    given = Changes(**changes)
    with reading(os.fspath(source)):
        files, inside = _opened(source)
        kind = None if inside else pipeline.read_kind(files)
        if kind is None:
            raise InputError(f"{source} is no text-to-image pipeline: a folder with a {pipeline.INDEX} of one is read")
        return Pipeline(files, kind, given).model()


def outline(source: str | os.PathLike) -> Model | None:
    """The text-to-image model of a folder that has its configurations and tokenizers alone, for programs that are not run.

    Its networks have shapes and types, those of float32, in place of weights.

    Arguments:
        source: see `load_text_to_image`.

    Returns:
        The model; None if the UNet of the source has weights, or it is no text-to-image pipeline.

    Raises:
        InputError: a file is missing or damaged, or parts do not fit one another.
    """
    with reading(os.fspath(source)):
        files, inside = _opened(source)
        kind = None if inside else pipeline.read_kind(files)
        if kind is None or weights.present(files, "unet"):
            return None
        return Pipeline(files, kind, Changes()).outline()


def is_text_to_image(source: str | os.PathLike) -> bool:
    """Whether a source is a pipeline that `load_text_to_image` reads.

    Raises:
        InputError: it does not exist, or is a text-to-image pipeline of another kind.
    """
    with reading(os.fspath(source)):
        files, inside = _opened(source)
        return not inside and pipeline.read_kind(files) is not None


def is_diffusers(path: str | os.PathLike) -> bool:
    """Whether a folder on this machine has the `config.json` of a network, as those of diffusers have."""
    return any(Path(path, name, CONFIG).is_file() for name in NETWORKS)


def _opened(source: str | os.PathLike) -> tuple[CheckpointFiles, str]:
    """The files of a source, and the name of the file or folder in it that is meant; empty for all of it."""
    if reference := hub.parsed(source):
        return hub.opened(reference), reference.path
    path = shipped.place(source)
    if path.is_dir():
        return Folder(path), ""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    require_regular(path)
    return Folder(path.parent), path.name


def _of_folder(files: CheckpointFiles, subfolder: str | None, given: _Given) -> Model:
    """The model of a folder of diffusers, or of a run of jaxdiff."""
    if subfolder is None and (kind := pipeline.read_kind(files)):
        return Pipeline(files, kind, _changes(files, given)).model()
    networks = [name for name in NETWORKS if files.has(joined(name, CONFIG))]
    if not networks and subfolder is None and files.has(MODEL.file):
        return _own(files.path(MODEL.file), given)
    place = subfolder if subfolder is not None else next(iter(networks), None)
    if place is None or not files.has(joined(place, CONFIG)):
        raise InputError(_no_network(files, subfolder))
    latents.refuse(files, place)
    settings = read_json(files.path(joined(place, CONFIG)))
    unet2d_config.completed(settings, CONFIG)  # before anything large is read
    choice = weights.choose(files, place, given.variant)
    scheduled = _scheduled(files, place, given)
    content = weights.read(files, place, choice)
    found = state.find(content.held, choice.name, given.key, "UNet2DModel")
    chosen = [place] if len(networks) > 1 and place else []
    chosen += [f"variant {choice.variant}"] if choice.variant else []
    provenance = files.source | _weights(chosen, found)
    return _unet2d(files.path(joined(place, choice.name)), settings, content, found, scheduled, provenance, given)


def _changes(files: CheckpointFiles, given: _Given) -> Changes:
    """What is said about a text-to-image pipeline beside its files."""
    if others := [name for name in given.overrides if name not in ("size", "variant")]:
        raise InputError(f"{files.label} is a text-to-image pipeline, which takes no `{others[0]}`")
    return Changes(size=given.size, variant=given.variant)


def _of_file(files: CheckpointFiles, name: str, given: _Given) -> Model:
    """The model of a file of weights, with what lies beside it."""
    file, beside = files.path(name), posixpath.dirname(name)
    content = weights.read_file(file)
    if "fingerprint" in content.metadata:
        return _own(file, given)
    found = state.find(content.held, file.name, given.key)
    if found.family == "guided-diffusion":
        provenance = files.source | {"imported": f"guided-diffusion, {file.name}"} | _weights([], found)
        return _guided(file.name, found, provenance, given)
    if not files.has(joined(beside, CONFIG)):
        raise InputError(
            f"{file} contains only the weights of a UNet2DModel: put the network's {CONFIG} beside it, as "
            f"`UNet2DModel.save_pretrained` writes it"
        )
    latents.refuse(files, beside)
    settings = read_json(files.path(joined(beside, CONFIG)))
    provenance = files.source | {"imported": f"diffusers, {file.name}"} | _weights([], found)
    return _unet2d(file, settings, content, found, _scheduled(files, beside, given), provenance, given)


def _own(file: Path, given: _Given) -> Model:
    """A model of jaxdiff, which says everything itself."""
    if given.overrides:
        raise InputError(f"{file} is a model of jaxdiff, which stores `{given.overrides[0]}` itself: leave it out")
    return models.load(file)


def _unet2d(
    file: Path,
    settings: dict[str, Any],
    content: weights.Content,
    found: state.Found,
    scheduled: tuple[Process, Prediction] | None,
    provenance: dict[str, str],
    given: _Given,
) -> Model:
    """The model of a UNet2DModel."""
    if found.family != "UNet2DModel":
        raise InputError(f"{file} holds a network of {found.family}, and the {CONFIG} beside it is that of a UNet2DModel")
    metadata = weights.own_metadata(file, content)
    if metadata is not None and not given.overrides:
        model = folder.restored(settings, found.arrays, metadata, file, scheduled)
        if model is not None:
            return model
    process, prediction = given.process, given.prediction
    if process is None or prediction is None:
        if scheduled is None:
            raise InputError(
                f"{file.parent} has no {SCHEDULER}: give the `process` and `prediction` that the network was trained with"
            )
        process, prediction = process or scheduled[0], prediction or scheduled[1]
    read = {"timesteps": process.timesteps, "null_label": given.null_label, "size": given.size}
    config = unet2d_config.read(settings, **read, name=CONFIG)
    network = unet2d.imported(config, found.arrays, file.name)
    attributes = class_attribute(config.values, given.attribute)
    return fingerprinted(image_model(config, network, process, prediction, attributes, provenance))


def _guided(name: str, found: state.Found, provenance: dict[str, str], given: _Given) -> Model:
    """The model of a network of guided-diffusion."""
    if given.size is None or given.process is None:
        missing = [f"`{name}`" for name in ("size", "process") if getattr(given, name) is None]
        raise InputError(f"{name} contains only weights: give {' and '.join(missing)}")
    config, network = guided.converted(
        found.arrays,
        name,
        size=given.size,
        process=given.process,
        head_channels=given.head_channels,
        attention_order=given.attention_order,
        null_label=given.null_label,
    )
    attributes = class_attribute(config.values, given.attribute)
    return fingerprinted(image_model(config, network, given.process, given.prediction or "eps", attributes, provenance))


def _scheduled(files: CheckpointFiles, place: str, given: _Given) -> tuple[Process, Prediction] | None:
    """The process and the prediction of the scheduler; None without one, or where both are given."""
    if given.process is not None and given.prediction is not None:
        return None
    for where in places(files, place):
        # a file by itself in the folder around a network is that of another checkpoint
        for name in (f"scheduler/{SCHEDULER}", *([] if where.startswith("..") else [SCHEDULER])):
            if files.has(joined(where, name)):
                return scheduler.read(read_json(files.path(joined(where, name))), SCHEDULER)
    return None


def _weights(chosen: list[str], found: state.Found) -> dict[str, str]:
    """Which weights were taken where there was a choice, for provenance."""
    chosen = [*chosen, *([found.key or "without prefix"] if found.chosen else [])]
    return {"weights": ", ".join(chosen)} if chosen else {}


def _no_network(files: CheckpointFiles, subfolder: str | None) -> str:
    """The error about a folder without a network."""
    if subfolder is not None:
        there = ", ".join(name for name in files.folders() if files.has(joined(name, CONFIG)))
        return f"no {unet2d_config.CLASS} in {files.label}/{subfolder}; folders with a {CONFIG}: {there or 'none'}"
    message = f"no {unet2d_config.CLASS} in {files.label}: it has neither unet/{CONFIG} nor {CONFIG}"
    alone = [name for name in files.inside("") if name.endswith((".safetensors", ".pt", ".pth", ".bin", ".ckpt"))]
    return f"{message}; to import a file of weights, name it: {', '.join(alone)}" if alone else message
