"""The folder format of diffusers: a network's config.json and weights, a scheduler's settings, and their index."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from jaxdiff.boundary import reading
from jaxdiff.errors import InputError
from jaxdiff.interop import scheduler, unet2d, unet2d_config
from jaxdiff.interop.layers import Arrays, filled
from jaxdiff.interop.pipeline import INDEX
from jaxdiff.interop.weights import STEM
from jaxdiff.model import Model, describe, described, fingerprinted
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network
from jaxdiff.models.size import require_held
from jaxdiff.process import Prediction, Process
from jaxdiff.weight_file import configuration, named
from jaxdiff.writing import whole

CONFIG, SCHEDULER = "config.json", "scheduler_config.json"


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
        InputError: the folder is not empty or cannot be written, or UNet2DModel or the scheduler lack features of the model.
    """
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already exists and is not empty; use another folder")
    if not isinstance(model.config, UNetConfig):
        raise InputError("`model` must be a model of images in pixels, with a UNet of jaxdiff")
    settings, state = unet2d.exported(model.config, model.network)
    schedule = scheduler.written(model.process, model.prediction, model.config.timesteps)
    files = {f"unet/{CONFIG}": settings, f"scheduler/{SCHEDULER}": schedule}
    if not model.conditions.attributes:
        parts = {"unet": ["diffusers", unet2d_config.CLASS], "scheduler": ["diffusers", schedule["_class_name"]]}
        files[INDEX] = {"_class_name": "DDIMPipeline", **parts}
    metadata = {"format": "pt", "jaxdiff": json.dumps(_metadata(model, model.config.timesteps, settings, state))}
    with whole(folder, folder=True) as partial:
        for file, content in files.items():
            (partial / file).parent.mkdir(exist_ok=True)
            (partial / file).write_text(json.dumps(content, indent=2) + "\n")
        safetensors.numpy.save_file(state, partial / "unet" / f"{STEM}.safetensors", metadata=metadata)


def _metadata(model: Model, timesteps: int, settings: dict[str, Any], state: Arrays) -> dict[str, Any]:
    """What the format cannot store, JSON-ready: the description of the model, and its weights that `exported` changed."""
    config = unet2d_config.read(settings, timesteps=timesteps)
    back = named(unet2d.imported(config, state).weights)
    own = {name: np.ascontiguousarray(leaf) for name, leaf in named(model.network.weights).items()}
    changed = {name: array for name, array in own.items() if np.asarray(back[name]).tobytes() != array.tobytes()}
    kept = {name: base64.b64encode(array.tobytes()).decode() for name, array in changed.items()}
    return {"model": describe(model), "weights": kept, "fingerprint": fingerprinted(model).fingerprint}


def restored(
    settings: dict[str, Any],
    state: Arrays,
    metadata: dict[str, Any],
    file: Path,
    scheduled: tuple[Process, Prediction] | None,
) -> Model | None:
    """The model that `save` wrote into a folder; None if the folder has been changed since.

    Arguments:
        settings: the network's `config.json`.
        state: its arrays by name.
        metadata: what `save` wrote into the header of the weights.
        file: the path of the weights, for errors.
        scheduled: process and prediction of the scheduler, if there is one.

    Raises:
        InputError: the metadata are damaged.
    """
    header = f"{file}: the jaxdiff metadata in its header"
    with reading(header):
        description, kept = metadata["model"], metadata["weights"]
        own_config = configuration(UNetConfig, description)
        timesteps = own_config.timesteps
    config = unet2d_config.read(settings, timesteps=timesteps, name=CONFIG)
    network = unet2d.imported(config, state, file.name)
    with reading(header):
        fingerprint = metadata["fingerprint"]
        kept = {name: np.frombuffer(base64.b64decode(text), np.float32) for name, text in kept.items()}
        arrays = {name: np.asarray(leaf) for name, leaf in named(network.weights).items()}
        fill = lambda wanted: {name: kept.get(name, arrays[name]).reshape(wanted[name].shape) for name in wanted}  # noqa: E731

        def network_of(config: UNetConfig) -> Network:
            require_held(config, sum(array.size for array in arrays.values()), str(file))
            return filled(config, fill)

        model = fingerprinted(described(description, network_of, ""))
        same = model.fingerprint == fingerprint
        own_settings, own_state = unet2d.exported(own_config, model.network)
        written = scheduler.read(scheduler.written(model.process, model.prediction, timesteps))
    same = same and unet2d_config.read(own_settings, timesteps=timesteps) == config and own_state.keys() == state.keys()
    same = same and all(own_state[name].tobytes() == array.tobytes() for name, array in state.items())
    if scheduled is not None:
        same = same and (written[0].config(), written[1]) == (scheduled[0].config(), scheduled[1])
    return model if same else None
