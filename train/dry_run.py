"""`jaxdiff train --dry-run`: memory and compute of a training step per device, from the compiled step; nothing is run."""

import json
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxdiff import parallel
from jaxdiff._console.dry_run import show
from jaxdiff._console.terminal import console, working
from jaxdiff.data import Source
from jaxdiff.program_report import ProgramReport, program_report
from jaxdiff.training import train_step

from .loop import check_divides, fresh_state
from .options import RunOptions
from .task import Task


def dry_run(options: RunOptions, task: Task, source: Source, mesh: Mesh) -> None:
    """Prints the resolved configuration, the number of parameters and the report of a step."""
    check_divides(options, task, mesh)
    console.print_json(json.dumps({**task.config(options, source.attributes), "steps": task.steps, "mesh": dict(mesh.shape)}))
    with working("compiling"):
        parameters, report = compiled_step(options, task, len(source.attributes), mesh)
    console.print(f"{parameters:,} parameters; the state holds four copies: weights, moving average and two Adam moments")
    show(report, "a training step", task.steps, task.network.dtype)


def compiled_step(options: RunOptions, task: Task, attributes: int, mesh: Mesh) -> tuple[int, ProgramReport]:
    """The number of parameters, and the report of the training step on a mesh."""
    key = jax.eval_shape(jax.random.key, 0)
    shapes = jax.eval_shape(partial(fresh_state, task), key)
    at = lambda shape, dtype, sharding: jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)  # noqa: E731
    state = parallel.abstract_parameters(mesh, shapes)
    sharded, network, count = parallel.batch_sharding(mesh), task.network, task.batch_size
    batch = {
        "x0": at((count, *network.shape), jnp.float32, sharded),
        "labels": at((count, attributes), jnp.int32, sharded),
    }
    requests = at((mesh.size,), jnp.int32, sharded)
    with jax.set_mesh(mesh):
        lowered = train_step.lower(
            state, task.process, batch, key, requests,
            objective=task.objective, optimization=task.optimization, parts=options.accumulate,
        )  # fmt: skip
        report = program_report(lowered.compile())
    return sum(leaf.size for leaf in jax.tree.leaves(shapes.network.weights)), report
