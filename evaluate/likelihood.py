"""`python -m evaluate likelihood`: how well a model predicts images that it has not seen, in bits per dimension."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float, Int32, UInt8
from rich import box
from rich.table import Table

from jaxdiff._console import arguments
from jaxdiff._console.first import write_once
from jaxdiff._console.hosts import Processes
from jaxdiff._console.terminal import console, progress
from jaxdiff.batches import in_batches
from jaxdiff.data import Attribute, Source, load_arrays, open_data
from jaxdiff.errors import InputError
from jaxdiff.model import Model, load
from jaxdiff.probability_flow import STEPS, bits_per_dimension
from jaxdiff.spaces import require_pixels

from .conditions import conditions, require_condition, require_finite
from .provenance import provenance
from .writing import write_json


@dataclass(frozen=True)
class Likelihood(Processes):
    """Computes a model's bits per dimension of real images: the bits a byte in which its density would store them.

    The likelihood is that of the probability flow (Song et al. 2021), of images dequantised uniformly, which makes it a bound:
    the truth is no more. Lower is better; a group with more bits is one that the model has learnt less well, or whose images
    hold more detail. Prints the mean, in all and for each value of each attribute, and writes a JSON file.

    For example:

      python -m evaluate likelihood --model runs/faces --out likelihood.json

      python -m evaluate likelihood --model runs/faces --data ~/utkface --value-names gender=male,female --condition null
          --count 2048 --out likelihood.json

      python -m evaluate likelihood --model runs/faces --split train --steps 100 --probes 4 --out train.json
    """

    model: Path
    """Folder of a run, or a model.safetensors."""
    out: Path
    """The report, a JSON file; an older one is replaced."""
    data: str = "embedded"
    """Real images: `embedded`, a folder, .zip, .npz, tfds:NAME or a set of samples. They are brought to the model's size."""
    split: Literal["train", "validation", "test", "all"] = "test"
    """Its split."""
    value_names: tuple[str, ...] = ()
    """Names for integer labels of folders, .zip and .npz files, e.g. gender=male,female."""
    count: int = 512
    """Images, drawn by --seed; a larger count draws these and more."""
    condition: Literal["own", "null"] = "own"
    """own: the density under an image's own labels. null: under no label, for data with or without labels."""
    steps: int = STEPS
    """Steps of the integrator, of four evaluations each."""
    probes: int = 1
    """Probes of the divergence a step; more make an image's own value less noisy."""
    batch_size: int = 64
    """Images at once; the result does not depend on it, up to rounding."""
    seed: int = 0
    """Seed of everything: the images, their dequantisation, the probes."""

    def __post_init__(self):
        for name in ("count", "steps", "probes", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise InputError(f"--seed must be at least 0, got {self.seed}")
        if self.out.suffix != ".json" or self.out.is_dir():
            raise InputError(f"--out must be a .json file, got {self.out}")


def likelihood(options: Likelihood) -> dict[str, Any]:
    """Computes the bits per dimension, prints the table and writes the report."""
    start = time.monotonic()
    model = load(options.model)
    source = _open(options, model)
    images, labels = load_arrays(source, count=options.count, seed=options.seed)
    bits = _bits(options, model, images, conditions(model, source, labels, own=options.condition == "own"))
    told = {
        "bits_per_dimension": _summary(bits),
        "by_value": _by_value(bits, source.attributes, labels),
        "data": source.name,
        "model": model.fingerprint,
        "model_training": model.training,
        "process": model.process.config(),
        **provenance(options),
        "seconds": round(time.monotonic() - start, 1),
        "images": bits.tolist(),
    }
    _show(told)
    write_once(options.out, lambda: write_json(options.out, told))
    console.print(f"wrote {options.out}", highlight=False)
    return told


def _open(options: Likelihood, model: Model) -> Source:
    """The images, with the model's attributes if they are its condition and else with their own."""
    height, width, channels = require_pixels(model.space, f"the model at {options.model}").shape
    own = options.condition == "own"
    names = [attribute.name for attribute in model.conditions.attributes] if own else []
    given = arguments.value_names(options.value_names)
    source = open_data(
        options.data, split=options.split, size=(height, width), channels=channels, attributes=names or None, value_names=given
    )
    require_condition(model, source, own=own)
    return source


def _bits(
    options: Likelihood, model: Model, images: UInt8[np.ndarray, "n h w c"], given: np.ndarray | None
) -> Float[np.ndarray, " n"]:
    key = jax.random.key(options.seed)

    def bits(rows):
        return bits_per_dimension(
            model.denoise, model.process, rows["images"], key=key, steps=options.steps, probes=options.probes,
            condition=rows.get("condition"), indices=rows["indices"],
        )  # fmt: skip

    rows = {"images": images, "indices": np.arange(len(images)), **({} if given is None else {"condition": given})}
    with progress("likelihood", len(images), unit="images") as advance:
        found = in_batches(bits, rows, options.batch_size, advance=advance)
    require_finite(found, "images")
    return found


def _summary(bits: Float[np.ndarray, " n"]) -> dict[str, Any]:
    """Mean, its standard error (null for one image), and the number of images."""
    error = float(bits.std(ddof=1) / len(bits) ** 0.5) if len(bits) > 1 else None
    return {"mean": float(bits.mean()), "standard_error": error, "count": len(bits)}


def _by_value(
    bits: Float[np.ndarray, " n"], attributes: tuple[Attribute, ...], labels: Int32[np.ndarray, "n a"]
) -> dict[str, dict[str, Any]]:
    """The summary of each attribute's values that occur."""
    return {
        attribute.name: {
            value: _summary(bits[column == code]) for code, value in enumerate(attribute.values) if (column == code).any()
        }
        for attribute, column in zip(attributes, labels.T, strict=True)
    }


def _show(told: dict[str, Any]) -> None:
    table = Table(title="bits per dimension", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("images", overflow="fold")
    for name in ("n", "mean", "± s.e."):
        table.add_column(name, justify="right", no_wrap=True)
    values = {f"{name}: {value}": each for name, found in told["by_value"].items() for value, each in found.items()}
    for name, each in {"all": told["bits_per_dimension"], **values}.items():
        error = each["standard_error"]
        table.add_row(name, str(each["count"]), f"{each['mean']:.4f}", "-" if error is None else f"{error:.4f}")
    console.print(table)
