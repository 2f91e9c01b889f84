"""A trained model: one file that holds the weights and says all that is needed to use them."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax

from jaxdiff import conditions as encoders
from jaxdiff import process as processes
from jaxdiff import spaces, weight_file
from jaxdiff.conditions import ConditionEncoder
from jaxdiff.data.attributes import Attribute
from jaxdiff.denoiser import NetworkDenoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance import ClippingPolicy
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, unet
from jaxdiff.process import Prediction, Process
from jaxdiff.spaces import Pixels, Space

SHIPPED = "embedded"
"""The name of the model that is shipped, see `load`."""
_SHIPPED_IN = Path("checkpoints", SHIPPED)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained network with all that is needed to use it.

    Attributes:
        config: the network's shape.
        network: the network with its averaged weights.
        process: the forward process that it was trained on.
        prediction: what the network predicts.
        space: what the process runs on, and what a user sees of it.
        conditions: what turns what a user says, labels or nothing, into a condition.
        training: how it was trained (steps, data, preset ...), for provenance.
        fingerprint: the first 16 hexadecimal digits of the SHA-256 of weights and configuration.
    """

    config: UNetConfig
    network: Network
    process: Process
    prediction: Prediction
    space: Space
    conditions: ConditionEncoder
    training: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample as the process sees it: of pixels (H, W, C)."""
        return self.space.shape

    @property
    def denoise(self) -> Callable:
        """The denoiser: the network's posterior mean under the clipping policy of the space."""
        return self.denoiser()

    def denoiser(self, policy: ClippingPolicy | None = None) -> Callable:
        """The network's posterior mean.

        Arguments:
            policy: what is done to a mean that leaves the range of the data, by default the policy of the space.
        """
        policy = self.space.policy if policy is None else policy
        return policy.network(NetworkDenoiser(self.network, self.process, self.prediction))


def image_model(
    config: UNetConfig,
    network: Network,
    process: Process,
    prediction: Prediction,
    attributes: Sequence[Attribute] = (),
    training: dict[str, Any] | None = None,
) -> Model:
    """A model of the images that its network reads, conditioned on labels; of no attributes an unconditional one.

    Arguments:
        config, network, process, prediction, training: see `Model`.
        attributes: what the labels are of, in the order of the configuration's `values`.

    Raises:
        InputError: the attributes are not those that the network has embeddings for.
    """
    values = tuple(len(attribute.values) for attribute in attributes)
    if values != tuple(config.values):
        raise InputError(f"`attributes` must have {config.values} values, as the network's labels, got {values}")
    conditions = encoders.of_attributes(attributes, config.null_label)
    return Model(
        config=config,
        network=network,
        process=process,
        prediction=prediction,
        space=Pixels(*config.shape),
        conditions=conditions,
        training=training or {},
    )


def describe(model: Model) -> dict[str, Any]:
    """All that is needed to use a model beside its weights, JSON-ready.

    A space of pixels goes unsaid, and labels are said by their attributes, as in files from before there were others.
    """
    described = {
        "network": model.config.settings(),
        "process": model.process.config(),
        "prediction": model.prediction,
        "attributes": [[attribute.name, list(attribute.values)] for attribute in model.conditions.attributes],
        "training": model.training,
    }
    if model.space != Pixels(*model.config.shape):
        described["space"] = model.space.config()
    if model.conditions != encoders.of_attributes(model.conditions.attributes, model.config.null_label):
        described["conditions"] = model.conditions.config()
    return described


def described(description: dict[str, Any], network: Callable[[UNetConfig], Network], fingerprint: str) -> Model:
    """The model that `describe` described.

    Arguments:
        description: what `describe` returned.
        network: its network, as a function of its shape.
        fingerprint: its fingerprint.
    """
    config = UNetConfig(**weight_file.settings(description))
    space = spaces.from_config(description["space"]) if "space" in description else Pixels(*config.shape)
    if "conditions" in description:
        conditions = encoders.from_config(description["conditions"])
    else:
        attributes = [Attribute(name, tuple(values)) for name, values in description["attributes"]]
        conditions = encoders.of_attributes(attributes, config.null_label)
    return Model(
        config=config,
        network=network(config),
        process=processes.from_config(description["process"]),
        prediction=description["prediction"],
        space=space,
        conditions=conditions,
        training=description["training"],
        fingerprint=fingerprint,
    )


def fingerprinted(model: Model) -> Model:
    """A model that was made otherwise than by `load`, with the fingerprint that its file will have."""
    return dataclasses.replace(model, fingerprint=weight_file.contents(weight_file.MODEL, model.network, describe(model))[2])


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
    read = weight_file.read(_place(path), weight_file.MODEL)
    return described(read.description, lambda config: read.fill(abstract(config)), read.fingerprint)


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
