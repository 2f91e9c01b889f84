"""The classifier of noised images as a task of `jaxdiff train`."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from rich import box
from rich.table import Table

from jaxdiff import classifier as classifiers
from jaxdiff import parallel, weight_file
from jaxdiff._console import plots
from jaxdiff._console.terminal import console, working
from jaxdiff.calibration import Calibration, HeldOut, Level, evaluate_held_out, fit, measure
from jaxdiff.classifier import Classification
from jaxdiff.data import Source, load_arrays, require_two_values
from jaxdiff.errors import InputError
from jaxdiff.model import load
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.config import EncoderConfig
from jaxdiff.models.network import Network, noised_classifier
from jaxdiff.presets import preset
from jaxdiff.process import Process
from jaxdiff.spaces import require_pixels
from jaxdiff.training import Optimization, TrainState
from jaxdiff.writing import write_text

from .diffusion import image_size
from .folder import Folder
from .options import FEWEST, ClassifierOptions
from .task import ImageTask, forward_process

STEPS, BATCH_SIZE, LEARNING_RATE, EMA_DECAY = 3000, 64, 1e-3, 0.998


@dataclass(frozen=True)
class NoisedClassification(ImageTask):
    """A classifier of noised images.

    Attributes:
        held_out: the validation split, used to calibrate, and the test split, used to measure the calibration.
    """

    kind = weight_file.CLASSIFIER
    network: ClassifierConfig
    objective: Classification
    held_out: Mapping[str, Source]

    def fresh(self, key) -> Network:
        return jax.jit(noised_classifier, static_argnums=0)(self.network, key)

    def config(self, options: ClassifierOptions, attributes) -> dict[str, Any]:
        return {**super().config(options, attributes), "held_out": options.held_out}

    def save(self, options: ClassifierOptions, source: Source, state: TrainState, step: int, folder: Folder) -> None:
        """Saves the classifier; calibrates it at the last step only, since that takes too long for an interrupted run."""
        network = Network(state.ema, state.network.structure)
        calibration, training = Calibration.identity(self.network.values), self.provenance(options, step)
        if step == self.steps:
            calibration, before, after = self._calibrated(options, network, folder)
            training["held_out"] = [level.config() for level in after]
            table = {"step": step, "levels": training["held_out"], "uncalibrated": [level.config() for level in before]}
            folder.write("calibration.json", lambda: write_text(folder.path / "calibration.json", json.dumps(table) + "\n"))
        classifier = classifiers.NoisedClassifier(
            config=self.network,
            network=parallel.gather(network),
            process=self.process,
            attribute=source.attributes[0],
            shares=self.objective.shares,
            calibration=calibration,
            training=training,
        )
        folder.write(self.kind.file, lambda: classifiers.save(folder.path, classifier))

    def show(self, options: ClassifierOptions, source: Source, state: TrainState, step: int, folder: Folder) -> None:
        """Shows nothing; the calibration plot is written at the end."""

    def _calibrated(
        self, options: ClassifierOptions, network: Network, folder: Folder
    ) -> tuple[Calibration, tuple[Level, ...], tuple[Level, ...]]:
        """The calibration, and its measurements on the test split without and with it; prints and plots them."""
        with working("calibrating on held-out images"):
            validation, test = (self._ask(options, network, split) for split in ("validation", "test"))
        shares, none = np.array(self.objective.shares), Calibration.identity(self.network.values)
        calibration = fit(validation, shares)
        before, after = (measure(test, shares, each, self.process) for each in (none, calibration))
        console.print(_table(before, after))
        title = f"{options.attribute} in noised images of {options.data}"
        values = self.held_out["test"].attributes[0].values
        log_posterior = test.log_posterior(shares, calibration)
        picture = folder.path / "calibration.png"
        folder.write(picture.name, lambda: plots.calibration(picture, test, log_posterior, after, values, title))
        return calibration, before, after

    def _ask(self, options: ClassifierOptions, network: Network, split: str) -> HeldOut:
        source = self.held_out[split]
        images, labels = load_arrays(source, count=min(options.held_out, len(source)), seed=options.seed)
        key = jax.random.fold_in(jax.random.key(options.seed), {"validation": 3, "test": 4}[split])
        return evaluate_held_out(network, self.process, images, labels[:, 0].astype(np.int64), key)


def _table(before: tuple[Level, ...], after: tuple[Level, ...]) -> Table:
    """The table of noise levels for the terminal."""
    table = Table(
        title="held-out images by noise level (in brackets: before calibration)", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for name in ("t", "SNR", "accuracy", "log loss", "prior\nlog loss", "calibration\nerror", "expected\nby chance"):
        table.add_column(name, justify="right", no_wrap=True)
    for raw, level in zip(before, after, strict=True):
        table.add_row(
            f"{level.low:.2f}-{level.high:.2f}",
            f"{level.snr:.2g}",
            f"{level.accuracy:.3f}",
            f"{level.log_loss:.3f} ({raw.log_loss:.3f})",
            f"{level.prior_log_loss:.3f}",
            f"{level.calibration_error:.3f} ({raw.calibration_error:.3f})",
            f"{level.by_chance:.3f}",
        )
    return table


def context(options: ClassifierOptions) -> tuple[tuple[int, int], int | None, Process]:
    """Height and width of the images, channels (None: as in the data) and forward process: from --model if given, else
    from the options.

    Raises:
        InputError: the model is not a pixel-space model.
    """
    if options.model is not None:
        model = load(options.model)
        *size, channels = require_pixels(model.space, f"the model at {options.model}").shape
        return tuple(size), channels, model.process
    return image_size(options), options.channels, forward_process(options)


def resolve(
    options: ClassifierOptions, process: Process, source: Source, held_out: Mapping[str, Source]
) -> NoisedClassification:
    """Completes the options from the preset and the data.

    Arguments:
        options: the command-line options.
        process: the forward process, from `context`.
        source: the training split, with the classifier's attribute only.
        held_out: the validation and test splits.

    Raises:
        InputError: the attribute has a single value, a value has no training image, or a held-out split has too few images.
    """
    (attribute,) = source.attributes
    require_two_values(source, attribute.name)
    count = np.bincount(source.labels[:, 0], minlength=len(attribute.values))
    if not count.all():
        lacking = attribute.values[int(np.flatnonzero(count == 0)[0])]
        raise InputError(f"attribute {attribute.name!r} has no image of value {lacking!r} in {source.name}")
    for split in held_out.values():
        if len(split) < FEWEST:
            raise InputError(f"{split.name} has {len(split)} images; calibration needs at least {FEWEST}")
    base = preset(options.preset).network.resized(source.image(0).shape[:2], source.channels)
    encoder = {field.name: getattr(base, field.name) for field in dataclasses.fields(EncoderConfig)}
    network = ClassifierConfig(**{**encoder, "dtype": options.dtype or base.dtype, "remat": options.remat}, values=len(count))
    optimization = Optimization(
        learning_rate=options.learning_rate or LEARNING_RATE,
        warmup=options.warmup,
        weight_decay=options.weight_decay,
        ema_decay=EMA_DECAY if options.ema_decay is None else options.ema_decay,
    )
    return NoisedClassification(
        network=network,
        process=process,
        objective=Classification(tuple((count / count.sum()).tolist()), options.phases),
        optimization=optimization,
        steps=options.steps or STEPS,
        batch_size=options.batch_size or BATCH_SIZE,
        held_out=held_out,
    )
