"""`python -m sample draw --dry-run`: what a batch takes on each device, from its compiled form; nothing is run."""

import json
from dataclasses import replace
from typing import Any

import jax

from jaxdiff import parallel
from jaxdiff._console.dry_run import pretend, show
from jaxdiff._console.terminal import console, working
from jaxdiff.program_report import ProgramReport

from . import safety
from .batch import images_at_once, report
from .common import setting
from .draw import Draw, make_method, provenance_of
from .search import EDGES


def dry_run(options: Draw) -> ProgramReport:
    """Prints the resolved options, the parameters, and the report of a batch."""
    if options.devices is not None:
        pretend(options.devices)
    chosen = setting(options.model, options.attribute, options.values, options, abstract=True)
    if options.batch_size is not None:
        parallel.check_divides(chosen.mesh, options.batch_size, "--batch-size")
    guard = safety.Guard(options, chosen) if options.guarded else None
    points = some_points(options)
    method = make_method(options, chosen, guard, points)
    told = {"tau": points["tau"]} if points else {}
    batch = options.batch_size or images_at_once(chosen, method, options.count)
    about = {**provenance_of(options, chosen, guard, method, told), "count": options.count, "batch_size": batch}
    console.print_json(json.dumps({**about, "mesh": dict(chosen.mesh.shape)}, default=str))
    sizes = [leaf.size for leaf in jax.tree.leaves(chosen.model.network.weights)]
    console.print(f"{sum(sizes):,} parameters", highlight=False)
    with working("compiling"):
        one_step = report(chosen, method, batch)
    # what is done before the loop over the steps, and counted with them, is next to nothing
    whole = replace(one_step, flops=one_step.flops * chosen.solver.steps)
    batches = -(-options.count // batch)
    show(whole, f"a batch of {batch}", batches, chosen.model.config.dtype)
    return whole


def some_points(options: Draw) -> dict[str, Any]:
    """Transition points as given, or any: the program is the same at all of them, and a dry run searches none."""
    match options.method:
        case "switching":
            return {"tau": options.tau[:1] or (0.5,)}
        case "spectral":
            edges = options.edges or EDGES
            return {"tau": options.tau or (0.5,) * (len(edges) + 1), "edges": edges}
    return {}
