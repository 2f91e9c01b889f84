"""Checkpoints of a training: the one module that knows Orbax. Every process of a run calls all of it."""

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jaxtyping import Array, UInt32

from jaxdiff import parallel
from jaxdiff.errors import InputError, LostProcess

_HALF = ".orbax-checkpoint-tmp"  # within the name of what Orbax writes into until it is complete
_POLL = 0.05  # seconds


class Checkpoints:
    """The checkpoints in a run's folder. Only complete ones count: one that was cut off while written is ignored, and dropped.

    As a context it waits at its end until all is written.

    Arguments:
        folder: where they lie, for all processes; made if absent.
        keep: how many of the newest to keep.
    """

    def __init__(self, folder: Path, keep: int = 2):
        self._folder, self._keep = Path(folder).absolute(), keep
        parallel.run_on_first(self._prepare)
        self._writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler("state", "position"))
        self._written: threading.Thread | None = None
        self._failure: Exception | None = None

    def _prepare(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for half in self._folder.glob(f"*{_HALF}*"):
                shutil.rmtree(half)
        except OSError as error:
            raise InputError(f"cannot write to {self._folder}: {error.strerror or error}") from error

    def _steps(self) -> list[int]:
        return sorted(int(entry.name) for entry in self._folder.iterdir() if entry.name.isdecimal() and entry.is_dir())

    def latest(self) -> int | None:
        """The step of the newest complete checkpoint, or None."""
        return parallel.run_on_first(lambda: max(self._steps(), default=None))

    def save(self, step: int, state: Any, position: dict[str, Any]) -> None:
        """Starts writing `state` (a pytree of arrays) and `position` (JSON) as checkpoint `step`; does not wait for its end.

        Raises:
            InputError: in every process, where the disk is full, or the checkpoint before this one could not be written.
        """
        self.finish()
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        parallel.run_on_first(lambda: self._require_room(step, size))
        position = {**position, "digest": int(_digest(state))}
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(position))
        self._writer.save(self._folder / str(step), args=items)
        self._written = threading.Thread(target=self._wait, args=(step,), daemon=True)
        self._written.start()

    def _require_room(self, step: int, size: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < size:
            raise InputError(f"checkpoint {step} takes {size} bytes, {self._folder} has {free} left; {self._kept()}")

    def _kept(self) -> str:
        steps = self._steps()
        return f"the checkpoint of step {steps[-1]} is kept" if steps else "no checkpoint was written yet"

    def _wait(self, step: int) -> None:
        try:
            self._writer.wait_until_finished()
        # whatever went wrong is told by `check`, in every process
        except Exception as error:
            self._failure = InputError(f"checkpoint {step} could not be written to {self._folder}: {_line(error)}")

    def check(self) -> bool:
        """Whether all that was begun is written, in every process.

        Raises:
            InputError: in every process, where some process could not write its part.
        """
        return all(parallel.gather_results(self._done))

    def _done(self) -> bool:
        if self._failure is not None:
            raise InputError(f"{self._failure}; {self._kept()}")
        return self._written is None or not self._written.is_alive()

    def finish(self) -> None:
        """Waits until all is written, and drops the checkpoints that are not to be kept; errors as of `check`."""
        while not self.check():
            time.sleep(_POLL)
        parallel.run_on_first(self._drop_old)

    def _drop_old(self) -> None:
        for step in self._steps()[: -self._keep]:
            # by another name first, so that it is never taken for a whole one
            half = self._folder / f"{step}{_HALF}"
            os.replace(self._folder / str(step), half)
            shutil.rmtree(half)

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """The state and position of checkpoint `step`, onto the shapes, types and shardings of `like`, whichever they were
        saved from.

        Raises:
            InputError: in every process: the checkpoint is damaged, or of another network than `like`.
        """
        where = f"checkpoint {step} in {self._folder}"
        remedy = f"delete {self._folder / str(step)} to go on from the one before, if there is any"

        def read():
            try:
                return _read(self._folder / str(step), like)
            except Exception as error:
                raise InputError(f"{where} is damaged or of another network: {_line(error)}; {remedy}") from error

        state, position = parallel.run_on_all(read)
        digest = position.pop("digest", None)
        if digest is not None and digest != int(_digest(state)):
            raise InputError(f"{where} is damaged: its numbers are not those that were saved; {remedy}")
        return state, position

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, *_) -> None:
        # an error that is not told by all processes leaves the others at work: nothing can be asked of them
        told = kind is None or (issubclass(kind, InputError) and not issubclass(kind, LostProcess))
        if told or jax.process_count() == 1:
            self.finish()
            self._writer.close()


def _read(folder: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """A process's own part of a checkpoint. It waits for no other, so that an error of one is not the others' hanging."""
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me}, barrier_sync_key_prefix=str(me))
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)

    def part(name, handler, arguments):
        with ocp.Checkpointer(handler(multiprocessing_options=alone), multiprocessing_options=alone) as reader:
            return reader.restore(folder / name, args=arguments)

    position = part("position", ocp.JsonCheckpointHandler, ocp.args.JsonRestore())
    return part("state", ocp.StandardCheckpointHandler, ocp.args.StandardRestore(abstract)), position


@jax.jit
def _digest(tree: Any) -> UInt32[Array, ""]:
    """A checksum of all bits of a tree, the same however it is laid out: sums over words, modulo 2^32, with odd factors."""
    total = jnp.uint32(0)
    for number, leaf in enumerate(jax.tree.leaves(tree)):
        words = jax.lax.bitcast_convert_type(leaf, jnp.uint32) if leaf.dtype.itemsize >= 4 else leaf.astype(jnp.uint32)
        place = jnp.uint32(2 * number + 1)
        for axis, size in enumerate(words.shape):
            place = place * jnp.uint32(size) + 2 * jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        total += (words * (place * jnp.uint32(2654435761) | jnp.uint32(1))).sum(dtype=jnp.uint32)
    return total


def _line(error: Exception) -> str:
    """The beginning and the end of an error's first line, of those that Orbax and TensorStore fill pages with."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0].partition(" See full TensorStore details")[0]
    return line if len(line) <= 300 else f"{line[:100]} ... {line[-200:]}"
