"""`jaxdiff sample draw --dry-run`: memory and compute of a batch per device, from the compiled program; nothing is run."""

import json
from dataclasses import replace

import jax

from jaxdiff import parallel
from jaxdiff._console.dry_run import show, simulate_devices
from jaxdiff._console.terminal import console, working
from jaxdiff.program_report import ProgramReport

from .batch import images_at_once, report
from .drawing import Drawing
from .options import Draw
from .setting import setting


def dry_run(options: Draw) -> ProgramReport:
    """Prints the resolved options, the number of parameters and the report of a batch."""
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
    about = {**drawing.settings(), "count": options.count, "batch_size": batch}
    console.print_json(json.dumps({**about, "mesh": dict(chosen.mesh.shape)}, default=str))
    sizes = [leaf.size for leaf in jax.tree.leaves(chosen.model.network.weights)]
    console.print(f"{sum(sizes):,} parameters", highlight=False)
    with working("compiling"):
        one_step = report(drawing, batch)
    # the operations before the loop over the steps are counted too, and are negligible
    whole = replace(one_step, flops=one_step.flops * chosen.solver.steps)
    batches = -(-options.count // batch)
    show(whole, f"a batch of {batch}", batches, chosen.model.config.dtype)
    return whole
