"""The folder format of diffusers: a network's config.json and weights, a scheduler's settings, and their index."""

import base64
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from jaxdiff import torch_file
from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError
from jaxdiff.interop import scheduler, unet2d, unet2d_config
from jaxdiff.interop.attributes import class_attribute
from jaxdiff.interop.layers import Arrays, filled
from jaxdiff.model import Model, describe, described, fingerprinted, image_model
from jaxdiff.models.config import UNetConfig
from jaxdiff.process import Prediction, Process
from jaxdiff.weight_file import named

CONFIG, SCHEDULER, INDEX = "config.json", "scheduler_config.json", "model_index.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


class _Folder(NamedTuple):
    """The content of a folder.

    Attributes:
        settings: the network's `config.json`.
        state: its arrays by name.
        scheduler: the `scheduler_config.json`, or None.
        metadata: the metadata of `save` in the header of the weights, or None.
        file: the path of the weights.
    """

    settings: dict[str, Any]
    state: Arrays
    scheduler: dict[str, Any] | None
    metadata: dict[str, Any] | None
    file: Path


def save(path: str | os.PathLike, model: Model) -> None:
    """Writes a model as a diffusers folder, atomically.

    It contains `unet/` (a UNet2DModel), `scheduler/` (a DDIMScheduler) and, for a model without attributes, `model_index.json`,
    which makes it a DDIMPipeline. The class labels are those of `unet2d.exported`.

    The header of the weights, which diffusers ignores, stores what the format cannot: the attributes' names, the process, and
    the weights that the conventions of UNet2DModel change. With it `load` restores exactly the same model.

    Arguments:
        path: a folder that does not exist or is empty.
        model: the model.

    Raises:
        InputError: the folder is not empty, or the model has features that UNet2DModel or the scheduler lack.
    """
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already exists and is not empty; use another folder")
    settings, state = unet2d.exported(model.config, model.network)
    schedule = scheduler.written(model.process, model.prediction, model.config.timesteps)
    files = {f"unet/{CONFIG}": settings, f"scheduler/{SCHEDULER}": schedule}
    if not model.conditions.attributes:
        parts = {"unet": ["diffusers", unet2d_config.CLASS], "scheduler": ["diffusers", schedule["_class_name"]]}
        files[INDEX] = {"_class_name": "DDIMPipeline", **parts}
    partial_folder = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    for file, content in files.items():
        (partial_folder / file).parent.mkdir(parents=True, exist_ok=True)
        (partial_folder / file).write_text(json.dumps(content, indent=2) + "\n")
    metadata = {"format": "pt", "jaxdiff": json.dumps(_metadata(model, settings, state))}
    safetensors.numpy.save_file(state, partial_folder / "unet" / WEIGHTS[0], metadata=metadata)
    if folder.exists():
        folder.rmdir()
    os.replace(partial_folder, folder)


def load(
    path: str | os.PathLike,
    *,
    process: Process | None = None,
    prediction: Prediction | None = None,
    attribute: Attribute | None = None,
    null_label: bool = False,
    size: int | tuple[int, int] | None = None,
) -> Model:
    """Reads a model from a diffusers folder with a UNet2DModel.

    A class embedding becomes the attribute `class` with the values 0, 1, .. and no null label, unless arguments
    override this. A folder of `save` is restored exactly if no arguments are given and it has not been changed.

    Arguments:
        path: the folder of a pipeline, or that of a UNet2DModel alone: `config.json` and `diffusion_pytorch_model.safetensors`
            or `.bin`, of which no code is run.
        process, prediction: override the scheduler's; needed if there is none.
        attribute: name and values of the class label.
        null_label: whether the last class embedding is that of the null label.
        size: of the images, (height, width) or one number for both; needed where the `config.json` names none.

    Raises:
        InputError: a file is missing or damaged, arrays are missing, unexpected or of another shape (they are listed), or the
            network or the scheduler has unsupported features.
    """
    found = _find(Path(path))
    scheduled = None if found.scheduler is None else scheduler.read(found.scheduler, SCHEDULER)
    no_overrides = process is None and prediction is None and attribute is None and size is None and not null_label
    if no_overrides and (model := _restored(found, scheduled)) is not None:
        return model
    if process is None or prediction is None:
        if scheduled is None:
            raise InputError(
                f"{path} has no {SCHEDULER}: give the `process` and `prediction` that the network was trained with"
            )
        process, prediction = process or scheduled[0], prediction or scheduled[1]
    read = {"timesteps": process.timesteps, "null_label": null_label, "size": size}
    config = unet2d_config.read(found.settings, **read, name=CONFIG)
    network = unet2d.imported(config, found.state, found.file.name)
    attributes = class_attribute(config.values, attribute)
    return fingerprinted(
        image_model(config, network, process, prediction, attributes, {"imported": f"diffusers, {Path(path).name}"})
    )


def _metadata(model: Model, settings: dict[str, Any], state: Arrays) -> dict[str, Any]:
    """What the format cannot store, JSON-ready: the description of the model, and its weights that `exported` changed."""
    config = unet2d_config.read(settings, timesteps=model.config.timesteps)
    back = named(unet2d.imported(config, state).weights)
    own = {name: np.ascontiguousarray(leaf) for name, leaf in named(model.network.weights).items()}
    changed = {name: array for name, array in own.items() if np.asarray(back[name]).tobytes() != array.tobytes()}
    kept = {name: base64.b64encode(array.tobytes()).decode() for name, array in changed.items()}
    return {"model": describe(model), "weights": kept, "fingerprint": fingerprinted(model).fingerprint}


def _restored(found: _Folder, scheduled: tuple[Process, Prediction] | None) -> Model | None:
    """The model that `save` wrote into the folder; None if there is none or the folder has been changed since."""
    if found.metadata is None:
        return None
    try:
        description, kept = found.metadata["model"], found.metadata["weights"]
        timesteps = description["network"].get("timesteps", UNetConfig.timesteps)
        config = unet2d_config.read(found.settings, timesteps=timesteps, name=CONFIG)
        network = unet2d.imported(config, found.state, found.file.name)
        kept = {name: np.frombuffer(base64.b64decode(text), np.float32) for name, text in kept.items()}
        arrays = {name: np.asarray(leaf) for name, leaf in named(network.weights).items()}
        fill = lambda wanted: {name: kept.get(name, arrays[name]).reshape(wanted[name].shape) for name in wanted}  # noqa: E731
        model = fingerprinted(described(description, lambda config: filled(config, fill), ""))
        same = model.fingerprint == found.metadata["fingerprint"]
        settings, state = unet2d.exported(model.config, model.network)
        written = scheduler.read(scheduler.written(model.process, model.prediction, timesteps))
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{found.file}: the jaxdiff metadata in its header is damaged: {error}") from error
    same = same and unet2d_config.read(settings, timesteps=timesteps) == config and state.keys() == found.state.keys()
    same = same and all(state[name].tobytes() == array.tobytes() for name, array in found.state.items())
    if scheduled is not None:
        same = same and (written[0].config(), written[1]) == (scheduled[0].config(), scheduled[1])
    return model if same else None


def _find(folder: Path) -> _Folder:
    """The content of a folder. Raises `InputError` if a file is missing or damaged."""
    if not folder.is_dir():
        raise InputError(f"folder {folder} does not exist")
    network = folder / "unet" if (folder / "unet" / CONFIG).is_file() else folder
    if not (network / CONFIG).is_file():
        raise InputError(f"no {unet2d_config.CLASS} in {folder}: it has neither unet/{CONFIG} nor {CONFIG}")
    candidates = [folder / "scheduler" / SCHEDULER, folder / SCHEDULER, folder.absolute().parent / "scheduler" / SCHEDULER]
    schedule = next((_json(file) for file in candidates[: 2 + (network == folder)] if file.is_file()), None)
    settings = _json(network / CONFIG)
    file = next((network / name for name in WEIGHTS if (network / name).is_file()), None)
    if file is None:
        there = ", ".join(sorted(each.name for each in network.iterdir()))
        raise InputError(f"{network} has no weights, neither {' nor '.join(WEIGHTS)}; it has {there}")
    state, metadata = _weights(file)
    return _Folder(settings, state, schedule, metadata, file)


def _weights(file: Path) -> tuple[Arrays, dict[str, Any] | None]:
    """The arrays of a weight file, and jaxdiff's metadata in its header."""
    if file.suffix == ".bin":
        content = torch_file.load(file)
        if not isinstance(content, dict) or not all(isinstance(value, np.ndarray) for value in content.values()):
            raise InputError(f"{file} must hold a network's state_dict()")
        return dict(content), None
    try:
        with safetensors.safe_open(file, framework="flax") as opened:  # NumPy alone has no bfloat16
            metadata = opened.metadata() or {}
            state = {name: np.asarray(opened.get_tensor(name)) for name in opened.keys()}  # noqa: SIM118 (not a dict)
        return state, json.loads(metadata["jaxdiff"]) if "jaxdiff" in metadata else None
    except (safetensors.SafetensorError, ValueError) as error:
        raise InputError(f"{file} is damaged or only half written: {error}") from error


def _json(file: Path) -> dict[str, Any]:
    """A JSON object."""
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise InputError(f"{file} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} must hold a JSON object, got {type(content).__name__}")
    return content
