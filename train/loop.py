"""The training run: one loop, readable from top to bottom."""

import fcntl
import json
import math
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from console import plots
from console.terminal import console, peak_memory, progress
from jaxdiff.checkpoint import Checkpoints
from jaxdiff.data import Source, batches
from jaxdiff.errors import InputError
from jaxdiff.phases import PHASES
from jaxdiff.training import initial_state, train_step
from train.options import RunOptions
from train.task import Task

STOPPED = 143  # exit status of a run that was asked to stop (128 + SIGTERM) and has saved


class _Stop:
    """Whether the process has been asked to stop: SIGTERM or Ctrl-C sets it, the loop reads it between steps."""

    def __enter__(self):
        self.asked = False
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _ask(self, *_):
        self.asked = True

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)


def train(options: RunOptions, task: Task, source: Source) -> int:
    """Trains, or goes on training, until `task.steps` steps are done; returns the exit status."""
    # --- the run's folder ------------------------------------------------------------------------------------------
    config = task.config(options, source.attributes)
    iterator = batches(source, batch_size=task.batch_size, seed=options.seed, flip=options.flip)
    _claim(options.out, config)
    with open(options.out / "config.json") as claimed:
        _lock(claimed)
        return _run(options, task, source, iterator)


def _run(options: RunOptions, task: Task, source: Source, iterator) -> int:
    """The run, in a folder that is its own."""
    out = options.out
    checkpoints = Checkpoints(out / "checkpoints")

    # --- state: from the newest checkpoint, else from the seed -------------------------------------------------------
    network = task.fresh(jax.random.fold_in(jax.random.key(options.seed), 1))
    state = initial_state(network, task.optimization)
    position: dict[str, Any] = {"step": 0}
    if (latest := checkpoints.latest()) is not None:
        state, position = checkpoints.restore(latest, state)
        iterator.set_state(position["data"])
    done = position["step"]
    parameters = sum(leaf.size for leaf in jax.tree.leaves(network.weights))
    console.print(
        f"{options.preset}: {parameters / 1e6:.2f} M parameters on {jax.devices()[0].device_kind}; "
        f"{len(source)} images of {source.name}; " + (f"going on from step {done}" if done else f"new run in {out}")
    )
    if done >= task.steps:
        console.print(f"{out} has {done} of {task.steps} steps: nothing to do; --steps takes it further")
        return 0

    # --- steps -------------------------------------------------------------------------------------------------------
    key = jax.random.fold_in(jax.random.key(options.seed), 2)
    pending, saved_at, logged_at, note = [], time.monotonic(), time.monotonic(), ""
    _forget_after(out / "metrics.jsonl", done)
    with (
        _Stop() as stop,
        closing(checkpoints),
        open(out / "metrics.jsonl", "a", buffering=1) as metrics,
        progress("training", task.steps, done=done, unit="steps") as advance,
    ):
        while done < task.steps and not stop.asked:
            batch = next(iterator)
            state, measured = train_step(
                state, task.process, batch, key, objective=task.objective, optimization=task.optimization
            )
            done += 1
            pending.append((done, measured))
            save_now = time.monotonic() - saved_at > 60 * options.save_minutes or done == task.steps
            if len(pending) >= options.log_every or save_now:
                # fetched only here, so that the device runs ahead of the host in between;
                # a checkpoint is never of a failed step
                line = _summary(pending, task.batch_size, logged_at, latest)
                metrics.write(json.dumps(line) + "\n")
                note = f"loss {line['loss']:.4f}, {line['images_per_second']:.0f} images/s, {line['peak_memory_gib']:.1f} GiB"
                pending, logged_at = [], time.monotonic()
            if save_now:
                latest, saved_at = done, time.monotonic()
                _save(checkpoints, options, task, source, state, done, iterator)
            task.show(options, source, state, done)
            advance(1, note)
        if stop.asked and latest != done:
            if pending:
                metrics.write(json.dumps(_summary(pending, task.batch_size, logged_at, latest)) + "\n")
            _save(checkpoints, options, task, source, state, done, iterator)

    # --- end ---------------------------------------------------------------------------------------------------------
    if done < task.steps:
        console.print(f"stopped at step {done} of {task.steps}, saved; the same command goes on from here")
        return STOPPED
    console.print(f"done: {out / task.kind.file}, pictures beside it")
    return 0


def _claim(out: Path, config: dict[str, Any]) -> None:
    """Makes the folder this run's, or makes sure that it is."""
    path = out / "config.json"
    if path.exists():
        try:
            there, config = _flat(json.loads(path.read_text())), _flat(config)
        except (ValueError, AttributeError) as error:
            raise InputError(f"--out {out} holds a run whose config.json is damaged: {error}; take another folder") from error
        differing = sorted(name for name in config.keys() | there.keys() if config.get(name) != there.get(name))
        if differing:
            name = differing[0]
            raise InputError(
                f"--out {out} holds a run with another {name}: {there.get(name)} there, {config.get(name)} now; "
                "take another folder"
            )
        return
    if out.exists() and any(out.iterdir()):
        raise InputError(f"--out {out} is not empty and holds no run (no config.json); take another folder")
    out.mkdir(parents=True, exist_ok=True)
    partial_file = path.with_suffix(".partial")
    partial_file.write_text(json.dumps(config, indent=2) + "\n")
    os.replace(partial_file, path)


def _lock(claimed) -> None:
    """Makes sure that no other process trains in the folder whose config.json this is, until the file is closed.

    Raises:
        InputError: another one does.
    """
    try:
        fcntl.flock(claimed, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"--out {Path(claimed.name).parent} is being trained by another process; wait, or stop that"
        ) from error


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """The settings by name, those of a part of the configuration as part.name."""
    parts = {name: value if isinstance(value, dict) else {"": value} for name, value in config.items()}
    return {f"{part}.{name}".rstrip("."): value for part, values in parts.items() for name, value in values.items()}


def _forget_after(path: Path, step: int) -> None:
    """Drops the lines of steps that the resumed run will do again."""
    if path.exists():
        kept = [line for line in path.read_text().splitlines() if line.endswith("}") and json.loads(line)["step"] <= step]
        path.write_text("".join(line + "\n" for line in kept))


def _summary(pending, batch_size: int, since: float, latest: int | None) -> dict[str, Any]:
    """One line of metrics; raises `InputError` at the first step whose loss is not finite."""
    values = jax.device_get([measured for _, measured in pending])
    seconds = time.monotonic() - since
    for (step, _), value in zip(pending, values, strict=True):
        if not (math.isfinite(value["loss"]) and math.isfinite(value["gradient_norm"])):
            kept = "no checkpoint was written yet" if latest is None else f"the checkpoint of step {latest} is kept"
            raise InputError(
                f"the loss of step {step} is {value['loss']}, its gradient norm {value['gradient_norm']}; {kept}. "
                "A lower --learning-rate, or float32, usually helps"
            )
    totals, counts = (np.sum([value[name] for value in values], axis=0) for name in ("phase_loss", "phase_count"))
    return {
        "step": pending[-1][0],
        "loss": float(np.mean([value["loss"] for value in values])),
        **{f"loss_{phase}": float(total / count) for phase, total, count in zip(PHASES, totals, counts, strict=True) if count},
        "gradient_norm": float(np.mean([value["gradient_norm"] for value in values])),
        "images_per_second": len(pending) * batch_size / seconds,
        "peak_memory_gib": peak_memory(),
    }


def _save(checkpoints, options, task, source, state, step, iterator) -> None:
    # the weights first: a run that is killed in between then does some steps again, but never lacks its last weights
    task.save(options, source, state, step)
    checkpoints.save(step, state, {"step": step, "data": iterator.get_state()})
    rows = [json.loads(line) for line in (options.out / "metrics.jsonl").read_text().splitlines()]
    plots.training(options.out / "loss.png", rows, f"{options.preset} on {options.data}")
