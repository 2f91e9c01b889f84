"""Exporting and importing models: `jaxdiff train export` and `jaxdiff train import`."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from jaxdiff import interop
from jaxdiff import model as models
from jaxdiff import process as processes
from jaxdiff._console.arguments import image_size, value_names
from jaxdiff._console.output import claimed
from jaxdiff._console.saved import about, save_once
from jaxdiff._console.terminal import console, working
from jaxdiff.conditions import Prompts
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.interop import hub
from jaxdiff.interop.pipeline import class_of
from jaxdiff.loading import load
from jaxdiff.model import Model
from jaxdiff.process import Process
from jaxdiff.weight_file import MODEL
from jaxdiff.writing import other_files

from .exchange_options import Export, Import
from .text_to_image import OWN, import_text_to_image, require_unset


def export_model(options: Export) -> None:
    """Runs `jaxdiff train export`."""
    model = load(options.model)
    with claimed(options.out, whole=True), working("exporting"):
        save_once(options.out, model)
    kind = class_of(len(model.conditions.encoders)) if isinstance(model.conditions, Prompts) else "UNet2DModel"
    console.print(f"{about(model)} as a {kind} in {options.out}")


def import_model(options: Import) -> None:
    """Runs `jaxdiff train import`."""
    source = f"{hub.SCHEME}{options.source}" if hub.may_be_reference(options.source) else options.source
    with _of_hub(options.source, source):
        if interop.is_text_to_image(source):
            import_text_to_image(source, options)
            return
    require_unset(options, OWN, f"is for text-to-image models, and {options.source} is none")
    with claimed(options.out):
        if other_files(options.out, MODEL.file) or options.out.resolve() == Path(options.source).resolve():
            raise InputError(f"--out {options.out} already exists and is not empty; choose another folder")
        with working("importing"):
            model = _read(source, options)
            if options.dtype is not None:
                model = replace(model, config=replace(model.config, dtype=options.dtype))
        if not (options.out / MODEL.file).exists():
            models.save(options.out, model)
        # the same command may have finished before
        elif models.load(options.out).fingerprint != models.fingerprinted(model).fingerprint:
            raise InputError(f"--out {options.out} already contains another model; choose another folder")
    if taken := model.training.get("weights"):
        console.print(f"weights: {taken}; --subfolder, --variant and --key choose others", highlight=False)
    console.print(f"{about(model)}, in {options.out}")


def _read(source: str, options: Import) -> Model:
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
    with _of_hub(options.source, source):
        return interop.load(source, **given)


@contextmanager
def _of_hub(given: str, source: str) -> Generator[None, None, None]:
    """Within, errors about a source that is taken for a model on the hub say that it does not exist here."""
    try:
        yield
    except InputError as error:
        if source == given:
            raise
        raise InputError(f"{given} does not exist, and as a model of the Hugging Face hub: {error}") from error


def _process(options: Import) -> Process | None:
    """The forward process from the options; None if not given."""
    if options.process is None or not options.process.startswith("ddpm_"):
        if options.timesteps != Import.timesteps:
            raise InputError(f"--timesteps is for --process ddpm_*, got --process {options.process}")
        return None if options.process is None else processes.from_config({"name": options.process})
    return processes.from_config({"name": options.process, "timesteps": options.timesteps})
