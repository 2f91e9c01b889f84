"""`jaxdiff evaluate likelihood`: bits per dimension of held-out images under a model."""

import json
import time
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int32, UInt8
from rich import box
from rich.table import Table

from jaxdiff._console.first import write_once
from jaxdiff._console.parts import kept_parts
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console, reported
from jaxdiff.data import Attribute, Source, load_arrays
from jaxdiff.finished import Finished, run_all
from jaxdiff.model import Model, load
from jaxdiff.probability_flow import bits_per_dimension
from jaxdiff.spaces import require_pixels

from .blocks import blocks
from .conditions import conditions, require_condition, require_finite
from .options.likelihood import Likelihood
from .provenance import provenance
from .writing import write_json


def likelihood(options: Likelihood) -> dict[str, Any]:
    """Computes the bits per dimension, writes the report and prints the table."""
    options.join()
    with kept_parts(options.out) as finished:
        return evaluate(options, finished)


def evaluate(options: Likelihood, finished: Finished) -> dict[str, Any]:
    """As `likelihood`; keeps what is finished."""
    start = time.monotonic()
    model = load(options.model)
    source = _open(options, model)
    images, labels = load_arrays(source, count=options.count, seed=options.seed)
    bits = _bits(options, model, images, conditions(model, source, labels, own=options.condition == "own"), finished)
    report = {
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
    write_once(options.out, lambda: write_json(options.out, report))
    _show(report)
    console.print(f"wrote {options.out}", highlight=False)
    return report


def _open(options: Likelihood, model: Model) -> Source:
    """The images, with the attributes of the model if their labels are the condition, or else with their own attributes."""
    height, width, channels = require_pixels(model.space, f"the model at {options.model}").shape
    own = options.condition == "own"
    names = [attribute.name for attribute in model.conditions.attributes] if own else []
    fitting = {"split": options.split, "size": (height, width), "channels": channels}
    fitting["value_names"] = options.reading["value_names"]
    data = options.opened(options.data)
    source = data.take(attributes=names, **fitting) if names else data.take_with((), **fitting)
    show_data(source)
    require_condition(model, source, own=own)
    return source


def _bits(
    options: Likelihood, model: Model, images: UInt8[np.ndarray, "n h w c"], given: np.ndarray | None, finished: Finished
) -> Float[np.ndarray, " n"]:
    key = jax.random.key(options.seed)

    def bits(rows):
        return bits_per_dimension(
            model.denoise, model.process, rows["images"], key=key, steps=options.steps, probes=options.probes,
            condition=rows.get("condition"), indices=rows["indices"],
        )  # fmt: skip

    rows = {"images": images, "indices": np.arange(len(images)), **({} if given is None else {"condition": given})}
    about = (model.fingerprint, json.dumps(model.process.config()), options.seed, options.steps, options.probes)
    with reported("likelihood", unit="blocks") as report:
        parts = list(blocks(finished, "bits", about, bits, rows, options.batch_size))
        found = np.concatenate(run_all(finished, parts, report))
    require_finite(found, "images")
    return found


def _summary(bits: Float[np.ndarray, " n"]) -> dict[str, Any]:
    """Mean, its standard error (null for one image), and the number of images."""
    error = float(bits.std(ddof=1) / len(bits) ** 0.5) if len(bits) > 1 else None
    return {"mean": float(bits.mean()), "standard_error": error, "count": len(bits)}


def _by_value(
    bits: Float[np.ndarray, " n"], attributes: tuple[Attribute, ...], labels: Int32[np.ndarray, "n a"]
) -> dict[str, dict[str, Any]]:
    """The summary for each value of each attribute that occurs."""
    return {
        attribute.name: {
            value: _summary(bits[column == code]) for code, value in enumerate(attribute.values) if (column == code).any()
        }
        for attribute, column in zip(attributes, labels.T, strict=True)
    }


def _show(report: dict[str, Any]) -> None:
    table = Table(title="bits per dimension", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("images", overflow="fold")
    for name in ("n", "mean", "± s.e."):
        table.add_column(name, justify="right", no_wrap=True)
    values = {f"{name}: {value}": each for name, found in report["by_value"].items() for value, each in found.items()}
    for name, each in {"all": report["bits_per_dimension"], **values}.items():
        error = each["standard_error"]
        table.add_row(name, str(each["count"]), f"{each['mean']:.4f}", "-" if error is None else f"{error:.4f}")
    console.print(table)
