"""Exporting and importing models: `jaxdiff train export` and `jaxdiff train import`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import jax

from jaxdiff import interop
from jaxdiff import model as models
from jaxdiff import process as processes
from jaxdiff._console.arguments import image_size, value_names
from jaxdiff._console.output import claimed
from jaxdiff._console.terminal import console, working
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.interop import hub
from jaxdiff.model import Model
from jaxdiff.process import Process
from jaxdiff.weight_file import MODEL
from jaxdiff.writing import other_files

from .exchange_options import Export, Import


def export_model(options: Export) -> None:
    """Runs `jaxdiff train export`."""
    model = models.load(options.model)
    with claimed(options.out, whole=True):
        # the same command may have finished before
        if not _is_exported(model, options.out):
            with working("exporting"):
                interop.save(options.out, model)
    console.print(f"{_about(model)} as a UNet2DModel in {options.out}")


def _is_exported(model: Model, out: Path) -> bool:
    """Whether a folder contains this model, exported."""
    if not (out / "unet").is_dir():
        return False
    try:
        return interop.load(out).fingerprint == model.fingerprint
    except InputError:
        return False


def import_model(options: Import) -> None:
    """Runs `jaxdiff train import`."""
    with claimed(options.out):
        if other_files(options.out, MODEL.file) or options.out.resolve() == Path(options.source).resolve():
            raise InputError(f"--out {options.out} already exists and is not empty; choose another folder")
        with working("importing"):
            model = _read(options)
            if options.dtype is not None:
                model = replace(model, config=replace(model.config, dtype=options.dtype))
        if not (options.out / MODEL.file).exists():
            models.save(options.out, model)
        # the same command may have finished before
        elif models.load(options.out).fingerprint != models.fingerprinted(model).fingerprint:
            raise InputError(f"--out {options.out} already contains another model; choose another folder")
    if taken := model.training.get("weights"):
        console.print(f"weights: {taken}; --subfolder, --variant and --key choose others", highlight=False)
    console.print(f"{_about(model)}, in {options.out}")


def _read(options: Import) -> Model:
    """Reads the model from the source."""
    names = value_names(options.value_names) or {}
    if len(names) > 1:
        raise InputError(f"--value-names takes one attribute for the class labels, got {', '.join(names)}")
    attribute = None
    for name, values in names.items():
        if isinstance(values, Mapping):
            raise InputError(f"--value-names takes the names of a model's classes in their order, without codes, got {name}")
        attribute = Attribute(name, tuple(values))
    given = {
        "process": _process(options),
        "prediction": options.prediction,
        "attribute": attribute,
        "null_label": options.null_label,
        "size": image_size(options.size),
        "subfolder": options.subfolder,
        "variant": options.variant,
        "key": options.key,
        "head_channels": options.head_channels,
        "attention_order": options.attention_order,
    }
    source = f"{hub.SCHEME}{options.source}" if hub.may_be_reference(options.source) else options.source
    try:
        return interop.load(source, **given)
    except InputError as error:
        if source == options.source:
            raise
        raise InputError(f"{options.source} does not exist, and as a model of the Hugging Face hub: {error}") from error


def _process(options: Import) -> Process | None:
    """The forward process from the options; None if not given."""
    if options.process is None or not options.process.startswith("ddpm_"):
        if options.timesteps != Import.timesteps:
            raise InputError(f"--timesteps is for --process ddpm_*, got --process {options.process}")
        return None if options.process is None else processes.from_config({"name": options.process})
    return processes.from_config({"name": options.process, "timesteps": options.timesteps})


def _about(model: Model) -> str:
    """A one-line description of a model."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model.network.weights))
    named = [f"{attribute.name} ({len(attribute.values)} values)" for attribute in model.conditions.attributes]
    labels = ", ".join(named) or "no attributes"
    return (
        f"{parameters / 1e6:.2f} M parameters for {model.space} images, {labels}, {model.process.name} and {model.prediction}"
    )
