"""A trained model: one file that holds the weights and says all that is needed to use them."""

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jaxdiff import process as processes
from jaxdiff import weight_file
from jaxdiff.data.attributes import Attribute, find
from jaxdiff.denoiser import NetworkDenoiser
from jaxdiff.guidance import Clipped, clipped
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.labels import check_labels, encode
from jaxdiff.models.network import Network, unet
from jaxdiff.process import Prediction, Process

SHIPPED = "embedded"
"""The name of the model that is shipped, see `load`."""
_SHIPPED_IN = Path("checkpoints", SHIPPED)

# one program for each number of labels, in place of one for each operation
_encode = jax.jit(encode, static_argnums=1)


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
            labels: (B,) for a model of one attribute or (B, A); -1 is the null label, where the model has one.
        """
        values = self.config.values
        check_labels(labels, values, self.config.null_label)
        return _encode(labels, tuple(values))


def describe(model: Model) -> dict[str, Any]:
    """All that is needed to use a model beside its weights, JSON-ready."""
    return {
        "network": model.config.settings(),
        "process": model.process.config(),
        "prediction": model.prediction,
        "attributes": [[attribute.name, list(attribute.values)] for attribute in model.attributes],
        "training": model.training,
    }


def described(description: dict[str, Any], network: Callable[[UNetConfig], Network], fingerprint: str) -> Model:
    """The model that `describe` described.

    Arguments:
        description: what `describe` returned.
        network: its network, as a function of its shape.
        fingerprint: its fingerprint.
    """
    config = UNetConfig(**weight_file.settings(description))
    return Model(
        config=config,
        network=network(config),
        process=processes.from_config(description["process"]),
        prediction=description["prediction"],
        attributes=tuple(Attribute(name, tuple(values)) for name, values in description["attributes"]),
        training=description["training"],
        fingerprint=fingerprint,
    )


def fingerprinted(model: Model) -> Model:
    """A model that was made otherwise than by `load`, with the fingerprint that its file will have."""
    return dataclasses.replace(model, fingerprint=weight_file.told(weight_file.MODEL, model.network, describe(model))[2])


def save(path: str | os.PathLike, model: Model) -> str:
    """Writes a model to `path`/model.safetensors, whole or not at all, and returns its fingerprint."""
    return weight_file.write(path, weight_file.MODEL, model.network, describe(model))


def load(path: str | os.PathLike) -> Model:
    """Reads a model from a run's folder or a model.safetensors.

    Arguments:
        path: the folder or the file; or `embedded`, where it is neither, for the model of the embedded faces that is shipped
            with jaxdiff.

    Raises:
        InputError: there is no such file, it is cut off or damaged, it is no jaxdiff model, or its arrays don't fit its
            network.
    """
    contents = weight_file.read(_place(path), weight_file.MODEL)
    return described(contents.description, lambda config: contents.fill(abstract(config)), contents.fingerprint)


def _place(path: str | os.PathLike) -> Path:
    """Where a model lies: the shipped one beside the library, in a checkout beside its package."""
    path = Path(path)
    if str(path) != SHIPPED or path.is_file() or (path / weight_file.MODEL.file).is_file():
        return path
    package = Path(__file__).parent
    return next((found for found in (package / _SHIPPED_IN, package.parent / _SHIPPED_IN) if found.is_dir()), path)


@cache
def abstract(config: UNetConfig) -> Network:
    """The network of a configuration, without weights."""
    return jax.eval_shape(partial(unet, config), jax.random.key(0))
