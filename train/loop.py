"""The training loop, readable from top to bottom. Every process of a run executes all of it, in lockstep."""

import math
import signal
import time
from collections import deque
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdiff import parallel
from jaxdiff._console.interrupts import deferred
from jaxdiff._console.terminal import console, device_memory, peak_memory, progress
from jaxdiff.checkpoint import Checkpoints
from jaxdiff.choices import PHASES
from jaxdiff.data import Source, batches
from jaxdiff.errors import InputError
from jaxdiff.training import TrainState, initial_state, train_step
from jaxdiff.writing import require_room

from .folder import Folder, claimed
from .options import RunOptions
from .task import Task

STOPPED = 128 + signal.SIGTERM  # exit status of a run that has saved because another of its processes was interrupted
NOTHING, SAVE, STOP = range(3)  # requests of a process; all processes act on the largest, at the same step
_AHEAD = 2  # steps after which requests are read, so that the device never waits for the host


def train(options: RunOptions, task: Task, source: Source, mesh: Mesh) -> int:
    """Trains, or resumes training, until `task.steps` steps are done; returns the exit status."""
    check_divides(options, task, mesh)
    rows = parallel.process_rows(mesh, task.batch_size)
    each = rows.stop - rows.start
    shard = (rows.start // each, task.batch_size // each)
    iterator = batches(source, task.space, batch_size=task.batch_size, seed=options.seed, flip=options.mirrored, shard=shard)
    with jax.set_mesh(mesh), claimed(options.out, task.config(options, source.attributes)) as folder:
        return _run(options, task, source, mesh, iterator, folder)


def check_divides(options: RunOptions, task: Task, mesh: Mesh) -> None:
    """Raises `InputError` unless the batch size is a multiple of the number of devices and --accumulate."""
    parallel.check_divides(mesh, task.batch_size, "--batch-size")
    if task.batch_size % (mesh.size * options.accumulate):
        raise InputError(
            f"--batch-size {task.batch_size} over {mesh.size} devices is {task.batch_size // mesh.size} on each, "
            f"which is not divisible by --accumulate {options.accumulate}"
        )


def fresh_state(task: Task, key) -> TrainState:
    """The state before the first step. Under jit."""
    return initial_state(task.fresh(key), task.optimization)


def _run(options: RunOptions, task: Task, source: Source, mesh: Mesh, iterator, folder: Folder) -> int:
    """The run, in its locked folder."""
    checkpoints = Checkpoints(folder.path / "checkpoints")

    # --- state: from the newest checkpoint, else from the seed -------------------------------------------------------
    make = partial(fresh_state, task)
    key = jax.random.fold_in(jax.random.key(options.seed), 1)
    shapes = jax.eval_shape(make, key)
    position: dict[str, Any] = {"step": 0}
    if (latest := checkpoints.latest()) is None:
        state = jax.jit(make, out_shardings=parallel.parameter_shardings(mesh, shapes))(key)
    else:
        state, position = checkpoints.restore(latest, parallel.abstract_parameters(mesh, shapes))
        iterator.set_state(position["data"])
    done = position["step"]
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes.network.weights))
    console.print(
        f"{options.preset}: {parameters / 1e6:.2f} M parameters on {mesh.size} x {jax.devices()[0].device_kind}; "
        f"{len(source)} {source.noun} of {source.name}, {task.space}; "
        + (f"resuming from step {done}" if done else f"new run in {folder.path}")
    )
    if done >= task.steps:
        # a run may have ended before it was shown
        task.show(options, source, state, done, folder)
        console.print(f"{folder.path} has {done} of {task.steps} steps: nothing to do; increase --steps to train further")
        return 0

    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
    parallel.run_on_first(lambda: require_room(folder.path, size, f"a checkpoint of {options.preset}"))

    # --- steps -------------------------------------------------------------------------------------------------------
    step_of = partial(train_step, objective=task.objective, optimization=task.optimization, parts=options.accumulate)
    key = jax.random.fold_in(jax.random.key(options.seed), 2)
    pending, requested, saved_at, logged_at, note = [], deque(), time.monotonic(), time.monotonic(), ""
    folder.forget_after(done)
    with (
        deferred() as interrupts,
        checkpoints,
        progress("training", task.steps, done=done, unit="steps") as advance,
    ):
        agreed = NOTHING
        while done < task.steps and agreed != STOP:
            overdue = parallel.is_first() and time.monotonic() - saved_at > 60 * options.save_minutes
            request = STOP if interrupts.first else SAVE if overdue else NOTHING
            batch, requests = parallel.shard_rows(mesh, (next(iterator), _on_each_device(mesh, request)))
            state, measured = step_of(state, task.process, batch, key, requests)
            done += 1
            pending.append((done, measured))
            requested.append(measured["request"])
            agreed = int(requested.popleft()) if len(requested) > _AHEAD else NOTHING
            save_now = agreed != NOTHING or done == task.steps
            if done % options.log_every == 0 or save_now:
                # fetched only here, so that the device runs ahead of the host in between;
                # a checkpoint is never of a failed step
                line = _summary(pending, task.batch_size, logged_at, latest)
                checkpoints.check()
                folder.log(line)
                speed = f"{line['images_per_second']:.0f} {source.noun}/s"
                note = f"loss {line['loss']:.4f}, {speed}, {line['peak_memory_gib']:.1f} GiB"
                pending, logged_at = [], time.monotonic()
            if save_now:
                _save(checkpoints, options, task, source, state, done, iterator, folder)
                # earlier requests are fulfilled; a process that still wants to stop repeats its request
                latest, saved_at = done, time.monotonic()
                requested.clear()
            task.show(options, source, state, done, folder)
            advance(1, note)

    # --- end ---------------------------------------------------------------------------------------------------------
    if done < task.steps:
        console.print(f"stopped at step {done} of {task.steps} and saved; run the same command again to resume")
        return interrupts.first.status if interrupts.first else STOPPED
    console.print(f"done: {folder.path / task.kind.file}, with plots in the same folder")
    return 0


def _on_each_device(mesh: Mesh, request: int) -> np.ndarray:
    """A process's request, repeated for each of its devices."""
    rows = parallel.process_rows(mesh, mesh.size)
    return np.full(rows.stop - rows.start, request, np.int32)


def _summary(pending, batch_size: int, since: float, latest: int | None) -> dict[str, Any]:
    """One line of metrics; raises `InputError` at the first step whose loss is not finite."""
    values = jax.device_get([measured for _, measured in pending])
    seconds = time.monotonic() - since
    for (step, _), value in zip(pending, values, strict=True):
        if not (math.isfinite(value["loss"]) and math.isfinite(value["gradient_norm"])):
            kept = "no checkpoint was written yet" if latest is None else f"the last checkpoint is that of step {latest}"
            raise InputError(
                f"the loss of step {step} is {value['loss']}, its gradient norm {value['gradient_norm']}; {kept}. "
                "A lower --learning-rate, or float32, usually helps"
            )
    totals, counts = (np.sum([value[name] for value in values], axis=0) for name in ("phase_loss", "phase_count"))
    on_device = device_memory()
    return {
        "step": pending[-1][0],
        "loss": float(np.mean([value["loss"] for value in values])),
        **{f"loss_{phase}": float(total / count) for phase, total, count in zip(PHASES, totals, counts, strict=True) if count},
        "gradient_norm": float(np.mean([value["gradient_norm"] for value in values])),
        "images_per_second": len(pending) * batch_size / seconds,
        "peak_memory_gib": peak_memory(),
        **({} if on_device is None else {"peak_device_memory_gib": on_device}),
    }


def _save(checkpoints, options, task, source, state, step, iterator, folder) -> None:
    # the checkpoint last: a run killed in between repeats some steps, but never misses its last weights and plot
    task.save(options, source, state, step, folder)
    folder.plot(f"{options.preset} on {source.name}")
    checkpoints.save(step, state, {"step": step, "data": iterator.get_state()})
