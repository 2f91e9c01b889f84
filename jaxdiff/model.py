"""A trained model: one file with the weights and all that is needed to use them."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from jaxdiff import conditions as encoders
from jaxdiff import process as processes
from jaxdiff import shipped, spaces, weight_file
from jaxdiff.boundary import reading
from jaxdiff.bounds import shortened
from jaxdiff.choices import BRIDGE_PREDICTIONS, PREDICTIONS, PREDICTIONS_WITHOUT_END
from jaxdiff.conditions import ConditionEncoder, SeriesConditions
from jaxdiff.data.attributes import Attribute, attribute_of
from jaxdiff.denoiser import NetworkDenoiser
from jaxdiff.errors import InputError
from jaxdiff.guidance import ClippingPolicy, ExactConditions
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, abstract, series_transformer, unet
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.process import Bridge, Prediction, Process
from jaxdiff.spaces import Pixels, Series, Space

IMAGES, SERIES = "unet", "series_transformer"
"""The networks of single-file models, as files name them."""
_MAKERS = {UNetConfig: unet, SeriesConfig: series_transformer}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A trained network with all that is needed to use it.

    Attributes:
        config: the network's shape; a `ConditionUNetConfig` of text-to-image models, a `SeriesConfig` of series.
        network: the network with its averaged weights.
        process: the forward process that it was trained on.
        prediction: what the network predicts.
        space: the space of the data, which encodes and decodes samples.
        conditions: the condition encoder.
        training: how it was trained (steps, data, preset ...), for provenance.
        fingerprint: the first 16 hexadecimal digits of the SHA-256 of weights and configuration.
        grids: arguments of solvers by their names, where the files of the model say where samplers place their timesteps.
    """

    config: UNetConfig | ConditionUNetConfig | SeriesConfig
    network: Network
    process: Process
    prediction: Prediction
    space: Space
    conditions: ConditionEncoder
    training: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    grids: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one encoded sample; (H, W, C) for pixels."""
        return self.space.shape

    @property
    def averages_end(self) -> bool:
        """Whether it is a bridge whose network does not see x_T: its posterior mean is the average over x_T."""
        return isinstance(self.process, Bridge) and isinstance(self.config, SeriesConfig) and not self.config.end_input

    @property
    def policy(self) -> ClippingPolicy:
        """The clipping policy of the space; for a bridge with a hard condition, the policy that makes it hold."""
        if isinstance(self.process, Bridge) and self.process.prior_of_end.exact:
            return ExactConditions(self.process.prior_of_end)
        return self.space.policy

    @property
    def denoise(self) -> Callable:
        """The denoiser: the network's posterior mean under the clipping policy."""
        return self.denoiser()

    def denoiser(self, policy: ClippingPolicy | None = None) -> Callable:
        """The network's posterior mean.

        Arguments:
            policy: the clipping policy, by default that of the model.
        """
        policy = self.policy if policy is None else policy
        return policy.network(NetworkDenoiser(self.network, self.process, self.prediction))


def image_model(
    config: UNetConfig,
    network: Network,
    process: Process,
    prediction: Prediction,
    attributes: Sequence[Attribute] = (),
    training: dict[str, Any] | None = None,
) -> Model:
    """A model of images in pixels, conditioned on labels; unconditional without attributes.

    Arguments:
        config, network, process, prediction, training: see `Model`.
        attributes: the attributes of the labels, in the order of the configuration's `values`.

    Raises:
        InputError: the attributes do not match the label embeddings of the network.
    """
    values = tuple(len(attribute.values) for attribute in attributes)
    if values != tuple(config.values):
        raise InputError(f"`attributes` must have {config.values} values, like the network's labels, got {values}")
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


def series_model(
    config: SeriesConfig,
    network: Network,
    process: Process,
    prediction: Prediction,
    space: Series,
    attributes: Sequence[Attribute] = (),
    training: dict[str, Any] | None = None,
) -> Model:
    """A model of time series, conditioned on labels; without attributes on none.

    Arguments:
        config, network, process, prediction, space, training: see `Model`.
        attributes: the attributes of the labels, in the order of the configuration's `values`.

    Raises:
        InputError: attributes or space do not match the network, or a bridge's network has no x_T as input where it must.
    """
    values = tuple(len(attribute.values) for attribute in attributes)
    if values != tuple(config.values):
        raise InputError(f"`attributes` must have {config.values} values, like the network's labels, got {values}")
    if space.shape != config.shape:
        raise InputError(f"`space` must be of the shape {config.shape} of the network's windows, got {space.shape}")
    require_end_input(config, process, prediction)
    return Model(
        config=config,
        network=network,
        process=process,
        prediction=prediction,
        space=space,
        conditions=SeriesConditions(encoders.of_attributes(attributes, config.null_label)),
        training=training or {},
    )


def require_end_input(config: SeriesConfig, process: Process, prediction: Prediction) -> None:
    """Raises `InputError` if a network of series does not see what its process or prediction is about."""
    if not isinstance(process, Bridge):
        if config.end_input or config.known_input:
            raise InputError(f"`end_input` and `known_input` are for bridges, and the process is {process.name}")
        if prediction == "edm_marginal":
            raise InputError(f"prediction edm_marginal is for bridges, and the process is {process.name}: use edm")
        return
    if prediction == "edm_marginal" and config.end_input:
        raise InputError("prediction edm_marginal is for networks that do not see x_T, and `end_input` is set: use edm")
    if not config.end_input and (process.prior_of_end.paired or prediction not in PREDICTIONS_WITHOUT_END):
        why = f"prior {process.prior_of_end.name}" if process.prior_of_end.paired else f"prediction {prediction}"
        raise InputError(f"`end_input` must be set with {why}: the network needs x_T")


def describe(model: Model) -> dict[str, Any]:
    """All that is needed to use a model except its weights, JSON-ready.

    A space of pixels and a label encoder are left out, since they follow from the network and the attributes, as in older
    files.

    Raises:
        InputError: it is a text-to-image model, which lies in a folder of several networks.
    """
    if isinstance(model.config, ConditionUNetConfig):
        raise InputError("a text-to-image model is no single file: write its folder with `jaxdiff.interop.save`")
    series = isinstance(model.config, SeriesConfig)
    described = {
        "network": model.config.settings(),
        "process": model.process.config(),
        "prediction": model.prediction,
        "attributes": [[attribute.name, list(attribute.values)] for attribute in model.conditions.attributes],
        "training": model.training,
    }
    if series:
        described["architecture"] = SERIES
    if series or model.space != Pixels(*model.config.shape):
        described["space"] = model.space.config()
    if series or model.conditions != encoders.of_attributes(model.conditions.attributes, model.config.null_label):
        described["conditions"] = model.conditions.config()
    return described


def described(
    description: dict[str, Any],
    network: Callable[[Any], Network],
    fingerprint: str,
    prior: Mapping[str, Any] | None = None,
) -> Model:
    """The model of a description by `describe`.

    Arguments:
        description: as returned by `describe`.
        network: the network as a function of its configuration.
        fingerprint: its fingerprint.
        prior: the arrays of the prior of a bridge, by name.
    """
    if (architecture := description.get("architecture", IMAGES)) not in (IMAGES, SERIES):
        raise InputError(f"its `architecture` must be {IMAGES} or {SERIES}, got {shortened(architecture)}")
    if architecture == SERIES:
        config = weight_file.configuration(SeriesConfig, description)
    else:
        config = weight_file.configuration(UNetConfig, description)
    space = spaces.from_config(description["space"]) if "space" in description else Pixels(*config.shape)
    if "conditions" in description:
        conditions = encoders.from_config(description["conditions"])
    else:
        attributes = [attribute_of(each) for each in description["attributes"]]
        conditions = encoders.of_attributes(attributes, config.null_label)
    values = tuple(len(attribute.values) for attribute in conditions.attributes)
    if values != tuple(config.values):
        raise InputError(f"its attributes have {values} values, and its network takes {config.values}")
    known = PREDICTIONS + (BRIDGE_PREDICTIONS if architecture == SERIES else ())
    if description["prediction"] not in known:
        given = shortened(description["prediction"])
        raise InputError(f"its `prediction` must be one of {', '.join(known)}, got {given}")
    if not isinstance(description["training"], dict):
        raise InputError(f"its `training` must be an object, got {shortened(description['training'])}")
    process = processes.from_config(description["process"], prior)
    if isinstance(config, SeriesConfig):
        require_end_input(config, process, description["prediction"])
    return Model(
        config=config,
        network=network(config),
        process=process,
        prediction=description["prediction"],
        space=space,
        conditions=conditions,
        training=description["training"],
        fingerprint=fingerprint,
    )


def fingerprinted(model: Model) -> Model:
    """A model with the fingerprint that its file will have."""
    return dataclasses.replace(model, fingerprint=_contents(model)[2])


def _contents(model: Model) -> tuple[Any, Any, str]:
    return weight_file.contents(weight_file.MODEL, model.network, describe(model), _prior(model))


def _prior(model: Model) -> dict[str, Any]:
    return model.process.prior_of_end.arrays() if isinstance(model.process, Bridge) else {}


def save(path: str | os.PathLike, model: Model) -> str:
    """Writes a model to `path`/model.safetensors atomically, and returns its fingerprint."""
    return weight_file.write(path, weight_file.MODEL, model.network, describe(model), _prior(model))


def load(path: str | os.PathLike) -> Model:
    """Reads a model from a run's folder or a model.safetensors.

    Arguments:
        path: the folder or the file; or, if no such path exists, `embedded` for the model of the embedded faces shipped with
            jaxdiff, or `embedded-series` for that of sines with gaps.

    Raises:
        InputError: the file does not exist, is truncated or damaged, is not a jaxdiff model, or its arrays do not match its
            network.
    """
    read = weight_file.read(shipped.place(path), weight_file.MODEL)
    with reading(read.file):
        fill = lambda config: read.fill(config, partial(abstract, _MAKERS[type(config)]))  # noqa: E731
        return described(read.description, fill, read.fingerprint, read.prior)
