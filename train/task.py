"""What a run trains, as the loop sees it."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from jaxdiff import process as processes
from jaxdiff.data import Attribute, Source
from jaxdiff.models.config import EncoderConfig
from jaxdiff.models.network import Network
from jaxdiff.process import Process
from jaxdiff.spaces import Pixels
from jaxdiff.training import Losses, Optimization, TrainState
from jaxdiff.weight_file import Kind

from .folder import Folder
from .options import RunOptions


@dataclass(frozen=True)
class Task(ABC):
    """The options with all that the preset and the data fill in. Subclasses say what network is trained, and what is kept.

    Attributes:
        kind: what the run leaves.
        network: the network's shape.
        process: the forward process.
        objective: what is minimised.
        optimization: how.
        steps: training steps in all.
        batch_size: images a step.
    """

    kind: ClassVar[Kind]
    network: EncoderConfig
    process: Process
    objective: Losses
    optimization: Optimization
    steps: int
    batch_size: int

    @property
    def space(self) -> Pixels:
        """What the process runs on."""
        return Pixels(*self.network.shape)

    @abstractmethod
    def fresh(self, key) -> Network:
        """The network with fresh weights, made on the device."""

    @abstractmethod
    def save(self, options: RunOptions, source: Source, state: TrainState, step: int, folder: Folder) -> None:
        """Writes the averaged weights into the run's folder, with all that is needed to use them. Every process calls it."""

    @abstractmethod
    def show(self, options: RunOptions, source: Source, state: TrainState, step: int, folder: Folder) -> None:
        """Called after each step, by every process, for pictures now and then."""

    def config(self, options: RunOptions, attributes: tuple[Attribute, ...]) -> dict[str, Any]:
        """What makes two runs the same run, JSON-ready.

        Left out are the number of steps, what is only told on the way, and how work is divided among devices.
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
            "flip": options.flip,
            "seed": options.seed,
        }

    def provenance(self, options: RunOptions, step: int) -> dict[str, Any]:
        """How the weights of a step came about, JSON-ready."""
        return {
            "step": step,
            "images": step * self.batch_size,
            "data": options.data,
            "value_names": list(options.value_names),
            "preset": options.preset,
            "seed": options.seed,
            "jax": jax.__version__,
        }


def forward_process(options: RunOptions) -> Process:
    """The forward process of the options."""
    table = {"zero_terminal_snr": True} if options.zero_terminal_snr else {}
    return processes.from_config({"name": options.process_name, **table})


def _plain(config) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(config).items()}
