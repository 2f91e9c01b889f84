"""A trained model: one file that holds the weights and says all that is needed to use them."""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Array, Float, Int

from jaxdiff import process as processes
from jaxdiff.data.attributes import Attribute, find
from jaxdiff.denoiser import NetworkDenoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance import Clipped, clipped
from jaxdiff.models.labels import check_labels, encode
from jaxdiff.models.network import Network, unet
from jaxdiff.models.unet import UNetConfig
from jaxdiff.process import Prediction, Process

FILE = "model.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class Model:
    """A trained network with its process and the attributes that condition it.

    Attributes:
        config: the network's shape.
        network: the network with its averaged weights.
        process: the forward process that it was trained on.
        prediction: what the network predicts.
        attributes: the attributes that condition it, in the order of the labels' columns.
        training: how it was trained (steps, data, preset ...), for provenance.
        fingerprint: the first 16 hexadecimal digits of the SHA-256 of weights and configuration.
    """

    config: UNetConfig
    network: Network
    process: Process
    prediction: Prediction
    attributes: tuple[Attribute, ...]
    training: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image, (H, W, C)."""
        return (self.config.size, self.config.size, self.config.channels)

    @property
    def denoise(self) -> Clipped:
        """The denoiser: the network's posterior mean, clipped to [-1, 1], where the mean of images must lie."""
        return clipped(NetworkDenoiser(self.network, self.process, self.prediction))

    def attribute(self, name: str) -> tuple[int, Attribute]:
        """Position and description of an attribute. Raises `InputError` for one that the model was not trained on."""
        position = find(self.attributes, name)
        return position, self.attributes[position]

    def encode(
        self, labels: Int[Array, " b"] | Int[Array, "b a"] | Int[np.ndarray, " b"] | Int[np.ndarray, "b a"]
    ) -> Float[Array, "b w"]:
        """Labels as weights, the floating form of a condition, which may be mixed.

        Arguments:
            labels: (B,) for a model of one attribute or (B, A); -1 is the null label.
        """
        values = self.config.values
        check_labels(labels, values)
        return encode(jnp.asarray(labels), values)


def save(path: str | os.PathLike, model: Model) -> str:
    """Writes a model to `path`/model.safetensors, whole or not at all, and returns its fingerprint."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in _named(model.network.weights).items()}
    description = {
        "format": FORMAT,
        "network": dataclasses.asdict(model.config),
        "process": model.process.config(),
        "prediction": model.prediction,
        "attributes": [[attribute.name, list(attribute.values)] for attribute in model.attributes],
        "training": model.training,
    }
    fingerprint = _fingerprint(arrays, description)
    partial_file = folder / (FILE + ".partial")
    safetensors.numpy.save_file(arrays, partial_file, metadata={"jaxdiff": json.dumps(description), "fingerprint": fingerprint})
    os.replace(partial_file, folder / FILE)
    return fingerprint


def load(path: str | os.PathLike) -> Model:
    """Reads a model from a run's folder or a model.safetensors.

    Raises:
        InputError: there is no such file, it is cut off or damaged, it is no jaxdiff model, or its arrays don't fit its
            network.
    """
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise InputError(f"no model at {path}: {file} does not exist; `python -m train --out {path}` makes one")
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    except safetensors.SafetensorError as error:
        raise InputError(f"{file} is damaged or only half written: {error}") from error
    if "jaxdiff" not in metadata:
        raise InputError(f"{file} holds arrays but no jaxdiff model")
    try:
        description, fingerprint = json.loads(metadata["jaxdiff"]), metadata["fingerprint"]
        version = description["format"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged: {error}") from error
    if version != FORMAT:
        raise InputError(f"{file} is of format {version}, this version of jaxdiff reads format {FORMAT}")
    if _fingerprint(arrays, description) != fingerprint:
        raise InputError(f"{file} is damaged: its content does not match its fingerprint {fingerprint}")
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in description["network"].items()}
    config = UNetConfig(**settings)
    return Model(
        config=config,
        network=_filled(_abstract(config), arrays, file),
        process=processes.from_config(description["process"]),
        prediction=description["prediction"],
        attributes=tuple(Attribute(name, tuple(values)) for name, values in description["attributes"]),
        training=description["training"],
        fingerprint=fingerprint,
    )


def _named(weights) -> dict[str, Any]:
    """The leaves of a network's weights by their path, e.g. `down/0/residual/conv_in/kernel`."""
    flat, _ = jax.tree_util.tree_flatten_with_path(weights)
    return {jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value"): leaf for path, leaf in flat}


@cache
def _abstract(config: UNetConfig) -> Network:
    """The network of a configuration, without weights."""
    return jax.eval_shape(partial(unet, config), jax.random.key(0))


def _filled(abstract: Network, arrays: dict[str, np.ndarray], file: Path) -> Network:
    wanted = _named(abstract.weights)
    if lacking := sorted(wanted.keys() - arrays.keys()):
        raise InputError(f"{file} lacks {len(lacking)} arrays of its network: {', '.join(lacking[:5])} ...")
    if foreign := sorted(arrays.keys() - wanted.keys()):
        raise InputError(f"{file} has {len(foreign)} arrays that its network lacks: {', '.join(foreign[:5])} ...")
    for name, leaf in wanted.items():
        if arrays[name].shape != leaf.shape or arrays[name].dtype != leaf.dtype:
            got = f"{arrays[name].dtype} {arrays[name].shape}"
            raise InputError(f"{file}: {name} is {got}, its network takes {leaf.dtype} {leaf.shape}")
    leaves = [jnp.asarray(arrays[name]) for name in wanted]
    return Network(jax.tree.unflatten(jax.tree.structure(abstract.weights), leaves), abstract.structure)


def _fingerprint(arrays: dict[str, np.ndarray], description: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:16]
