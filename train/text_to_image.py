"""`jaxdiff train import` of text-to-image models."""

import math
from collections.abc import Collection
from dataclasses import MISSING, fields
from pathlib import Path

from jaxdiff import interop
from jaxdiff._console.output import claimed
from jaxdiff._console.saved import about, save_once
from jaxdiff._console.terminal import console, working
from jaxdiff.errors import InputError
from jaxdiff.interop.pipeline import PARTS

from .exchange_options import Import

OWN = (*PARTS, "single", "lora", "embedding")
"""The options that are for text-to-image models alone."""
SHARED = ("source", "out", "variant", "dtype")
"""Those that are for other models, too."""


def import_text_to_image(source: str, options: Import) -> None:
    """Writes a text-to-image model as a folder of diffusers.

    Arguments:
        source: its folder, or `hf://OWNER/NAME`.
        options: the options of the command.
    """
    others = [each.name for each in fields(options) if each.name not in (*OWN, *SHARED)]
    require_unset(options, others, f"is not for text-to-image models, as {options.source} is")
    changes = {
        "dtype": options.dtype,
        "variant": options.variant,
        "replaced": {part: given for part in PARTS if (given := getattr(options, part)) is not None},
        "single": options.single,
        "loras": [weighted(given) for given in options.lora],
        "embeddings": options.embedding,
    }
    if options.out.resolve() == Path(options.source).resolve():
        raise InputError(f"--out {options.out} is the source; choose another folder")
    with claimed(options.out, whole=True), working("importing"):
        model = interop.load_text_to_image(source, **changes)
        save_once(options.out, model)
    if taken := model.training.get("weights"):
        console.print(f"weights: {taken}; --variant chooses others", highlight=False)
    for part, name in model.training.get("replaced", {}).items():
        console.print(f"{part}: {name}", highlight=False)
    console.print(f"{about(model)}, in {options.out}")


def require_unset(options: Import, names: Collection[str], why: str) -> None:
    """Raises `InputError` if one of these options is not as by default, with the reason."""
    for each in fields(options):
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if each.name in names and getattr(options, each.name) != default:
            raise InputError(f"--{each.name.replace('_', '-')} {why}")


def weighted(given: str) -> tuple[Path, float]:
    """A file of LoRA and its weight, from FILE or FILE=WEIGHT."""
    name, equals, weight = given.rpartition("=")
    if not equals or Path(given).is_file():
        return Path(given), 1.0
    try:
        found = float(weight)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise InputError(f"--lora takes FILE or FILE=WEIGHT, as style.safetensors=0.8, got {given}")
    return Path(name), found
