"""`jaxdiff sample draw --dry-run`: memory and compute of a batch per device, from the compiled program; nothing is run."""

import json
from typing import Any

import jax
from rich import box
from rich.table import Table

from jaxdiff import parallel
from jaxdiff._console.dry_run import mib, show, simulate_devices
from jaxdiff._console.terminal import console, working
from jaxdiff.conditions import Prompts
from jaxdiff.model import Model
from jaxdiff.program_report import ProgramReport, program_report
from jaxdiff.spaces import Latents

from .batch import images_at_once, report
from .drawing import Drawing
from .gating import gating
from .options import Draw
from .setting import setting


def dry_run(options: Draw) -> ProgramReport:
    """Prints the resolved options, the parameters of each part, the operations of a step and the report of a batch."""
    if options.devices is not None:
        simulate_devices(options.devices)
    method = options.method.example()
    chosen = setting(
        options.model, options.attribute, options.values, options, method=method, start=method.start, abstract=True
    )  # fmt: skip
    if options.batch_size is not None:
        parallel.check_divides(chosen.mesh, options.batch_size, "--batch-size")
    drawing = Drawing(chosen, method, options.seed)
    batch = options.batch_size or images_at_once(drawing, options.count)
    about = {**drawing.settings(), **gating(options, chosen).settings(), "count": options.count, "batch_size": batch}
    console.print_json(json.dumps({**about, "mesh": dict(chosen.mesh.shape)}, default=str))
    _show_parts(chosen.model)
    with working("compiling"):
        whole = report(drawing, batch)
        decoding = _decoding(chosen.model.space)
    step = whole.flops * chosen.mesh.size / (batch * chosen.solver.steps)
    console.print(f"{step / 1e9:,.3f} GFLOP an image and step, in matrix products and convolutions", highlight=False)
    batches = -(-options.count // batch)
    show(whole, f"a batch of {batch}", batches, chosen.model.config.dtype)
    if decoding is not None:
        count, each = decoding
        console.print(f"decoding, {count} at once: {mib(each.memory)} of memory on each device", highlight=False)
    return whole


def _show_parts(model: Model) -> None:
    """Prints the number of parameters, and for a model of several networks that of each with its memory."""
    networks: dict[str, list[Any]] = {"network": [model.network]}
    if isinstance(model.space, Latents) and isinstance(model.conditions, Prompts):
        networks["autoencoder"] = [model.space.encoder, model.space.decoder]
        names = ("text encoder", "text encoder 2")
        networks |= {name: [each.network] for name, each in zip(names, model.conditions.encoders, strict=False)}
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("part", "parameters", "memory"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for name, held in networks.items():
        leaves = jax.tree.leaves(held)
        count, size = sum(leaf.size for leaf in leaves), sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
        table.add_row(name, f"{count:,}", mib(size))
    console.print(table)


def _decoding(space: Any) -> tuple[int, ProgramReport] | None:
    """How many latents a device decodes at once, and what that takes; None for a space without a decoder."""
    return (space.at_once, program_report(space.lower(space.at_once).compile())) if isinstance(space, Latents) else None
