"""The work of `jaxdiff train` and `jaxdiff train classifier`: opens the data, completes the options and trains."""

import sys

from jax.sharding import Mesh

from jaxdiff import parallel
from jaxdiff._console.dry_run import simulate_devices
from jaxdiff._console.reading import show_data
from jaxdiff.data import Source, open_data, require_two_values, verify
from jaxdiff.data.view import Joined
from jaxdiff.errors import InputError

from . import classifier, diffusion, loop, series
from .dry_run import dry_run
from .options import ClassifierOptions, ImageOptions, Options, RunOptions
from .series_options import SeriesOptions
from .task import Task


def train_diffusion(options: Options) -> None:
    """Trains a diffusion model; exits with the status of the training."""
    names = options.attributes or (("group",) if options.data.startswith("embedded") else None)
    names = () if options.unconditional else names
    mesh = join(options)
    source = parallel.run_on_all(lambda: _open(options, diffusion.image_size(options), options.channels, names))
    show_data(source)
    if names is None and len(source.attributes) > 1:
        known = ", ".join(attribute.name for attribute in source.attributes)
        raise InputError(f"{source.name} has several attributes: choose one or more of {known} with --attributes")
    task = diffusion.resolve(options, source)
    for attribute in source.attributes:
        require_two_values(source, attribute.name)
    run_task(options, task, source, mesh)


def train_classifier(options: ClassifierOptions) -> None:
    """Trains a classifier of noised images; exits with the status of the training."""
    mesh = join(options)
    size, channels, process = parallel.run_on_all(lambda: classifier.context(options))
    names = tuple(options.attribute.split("+"))
    if len(set(names)) < len(names):
        raise InputError(f"--attribute joins different attributes by +, got {options.attribute}")
    source, *held_out = parallel.run_on_all(
        lambda: [_open_joined(options, size, channels, names, split) for split in ("train", "validation", "test")]
    )
    for each in (source, *held_out):
        show_data(each)
    held_out = dict(zip(("validation", "test"), held_out, strict=True))
    task = classifier.resolve(options, process, source, held_out)
    run_task(options, task, source, mesh)


def train_series(options: SeriesOptions) -> None:
    """Trains a model of time series; exits with the status of the training."""
    mesh = join(options)
    source = parallel.run_on_all(lambda: series.training_series(options))
    show_data(source)
    run_task(options, series.resolve(options, source), source, mesh)


def join(options: RunOptions) -> Mesh:
    """The mesh of the run's processes, or of the simulated devices of a dry run."""
    if options.devices is not None:
        simulate_devices(options.devices)
    return options.make_mesh()


def run_task(options: RunOptions, task: Task, source: Source, mesh: Mesh) -> None:
    """Trains, or with --dry-run prints what a step takes; exits with the status of the training."""
    if options.dry_run:
        dry_run(options, task, source, mesh)
        return
    parallel.run_on_all(lambda: verify(source))
    sys.exit(loop.train(options, task, parallel.run_on_all(source.cached), mesh))


def _open(
    options: ImageOptions, size: tuple[int, int], channels: int | None, names: tuple[str, ...] | None, split: str = "train"
) -> Source:
    """A split of the data with the attributes of these names (None: all)."""
    return open_data(options.data, split=split, size=size, channels=channels, attributes=names, **options.reading)


def _open_joined(
    options: ClassifierOptions, size: tuple[int, int], channels: int | None, names: tuple[str, ...], split: str
) -> Source:
    """A split of the data with one attribute, that of this name or the product of several."""
    source = _open(options, size, channels, names, split)
    return Joined(source) if len(names) > 1 else source
