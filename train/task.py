"""The interface between the training loop and what it trains."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from jaxdiff import process as processes
from jaxdiff.data import Attribute, Source
from jaxdiff.models.config import EncoderConfig
from jaxdiff.models.network import Network
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.process import Process
from jaxdiff.spaces import Pixels, Space
from jaxdiff.training import Losses, Optimization, TrainState
from jaxdiff.weight_file import Kind

from .folder import Folder
from .options import ImageOptions, RunOptions


@dataclass(frozen=True)
class Task(ABC):
    """The training settings, completed from the preset and the data. Subclasses define the network and what is saved.

    Attributes:
        kind: the kind of weight file that the run writes.
        network: configuration of the network.
        process: the forward process.
        objective: the loss.
        optimization: settings of the optimiser.
        steps: total number of training steps.
        batch_size: images per step.
    """

    kind: ClassVar[Kind]
    network: EncoderConfig | SeriesConfig
    process: Process
    objective: Losses
    optimization: Optimization
    steps: int
    batch_size: int

    @property
    @abstractmethod
    def space(self) -> Space:
        """The data space of the process."""

    @abstractmethod
    def fresh(self, key) -> Network:
        """The network with initial weights, created on the device."""

    @abstractmethod
    def save(self, options: RunOptions, source: Source, state: TrainState, step: int, folder: Folder) -> None:
        """Writes the averaged weights and everything needed to use them to the run's folder. Every process calls it."""

    @abstractmethod
    def show(self, options: RunOptions, source: Source, state: TrainState, step: int, folder: Folder) -> None:
        """Called after each step by every process, to write previews."""

    def config(self, options: RunOptions, attributes: tuple[Attribute, ...]) -> dict[str, Any]:
        """The configuration that must match to resume a run, JSON-ready.

        It excludes the number of steps, logging options, and how work is divided among devices.
        """
        return {
            "data": options.data,
            "attributes": [[attribute.name, list(attribute.values)] for attribute in attributes],
            "preset": options.preset,
            "network": self.network.settings(),
            "process": self.process.config(),
            "objective": _plain(self.objective),
            "optimization": _plain(self.optimization),
            "batch_size": self.batch_size,
            **options.identity,
            "seed": options.seed,
        }

    def provenance(self, options: RunOptions, step: int) -> dict[str, Any]:
        """Provenance of the weights at a step, JSON-ready."""
        return {
            "step": step,
            "images": step * self.batch_size,
            "data": options.data,
            **options.provenance,
            "preset": options.preset,
            "seed": options.seed,
            "jax": jax.__version__,
        }


def forward_process(options: ImageOptions) -> Process:
    """The forward process from the options."""
    table = {"zero_terminal_snr": True} if options.zero_terminal_snr else {}
    return processes.from_config({"name": options.process_name, **table})


def _plain(config) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(config).items()}


class ImageTask(Task):
    """A task on images."""

    network: EncoderConfig

    @property
    def space(self) -> Pixels:
        """See `Task.space`."""
        return Pixels(*self.network.shape)
