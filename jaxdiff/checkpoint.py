"""Checkpoints of a training run, by Orbax, which no other module uses. Every process of a run must call every function."""

import errno
import json
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
from jaxdiff.finished import checksum
from jaxdiff.writing import require_room

_INCOMPLETE = ".orbax-checkpoint-tmp"  # part of the name of the folder that Orbax writes into until it is complete
_POLL = 0.05  # seconds


def _remove(folder: Path, tries: int = 20) -> None:
    """Removes a folder, also while a writer that has failed in another process still adds a last file to it."""
    for left in reversed(range(tries)):
        try:
            return shutil.rmtree(folder)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or not left:
                raise
            time.sleep(0.1)


class Checkpoints:
    """The checkpoints in a run's folder. Incomplete ones, interrupted while written, are ignored and deleted.

    As a context manager it waits on exit until all checkpoints are written.

    Arguments:
        folder: the folder, shared by all processes; created if absent.
        keep: the number of newest checkpoints to keep.
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
            for incomplete in self._folder.glob(f"*{_INCOMPLETE}*"):
                _remove(incomplete)
        except OSError as error:
            raise InputError(f"cannot write to {self._folder}: {error.strerror or error}") from error

    def _steps(self) -> list[int]:
        return sorted(int(entry.name) for entry in self._folder.iterdir() if entry.name.isdecimal() and entry.is_dir())

    def latest(self) -> int | None:
        """The step of the newest complete checkpoint, or None."""
        return parallel.run_on_first(lambda: max(self._steps(), default=None))

    def save(self, step: int, state: Any, position: dict[str, Any]) -> None:
        """Starts writing a checkpoint asynchronously.

        Arguments:
            step: the training step.
            state: a pytree of arrays.
            position: the position in the data, JSON-serialisable.

        Raises:
            InputError: in every process, where the disk is full, or the previous checkpoint could not be written.
        """
        self.finish()
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        parallel.run_on_first(lambda: require_room(self._folder, size, f"checkpoint {step}", self._kept()))
        position = {**position, "digest": int(_digest(state)), "checksum": _checksum(position)}
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(position))
        self._writer.save(self._folder / str(step), args=items)
        self._written = threading.Thread(target=self._wait, args=(step,), daemon=True)
        self._written.start()

    def _kept(self) -> str:
        steps = self._steps()
        return f"the checkpoint of step {steps[-1]} is kept" if steps else "no checkpoint was written yet"

    def _wait(self, step: int) -> None:
        try:
            self._writer.wait_until_finished()
        # `check` raises the error in every process
        except Exception as error:
            self._failure = InputError(f"checkpoint {step} could not be written to {self._folder}: {_line(error)}")

    def check(self) -> bool:
        """Whether the last checkpoint is written completely, in every process.

        Raises:
            InputError: in every process, where a process could not write its part.
        """
        return all(parallel.gather_results(self._done))

    def _done(self) -> bool:
        if self._failure is not None:
            raise InputError(f"{self._failure}; {self._kept()}")
        return self._written is None or not self._written.is_alive()

    def finish(self) -> None:
        """Waits until the last checkpoint is written, and deletes old ones; errors as in `check`."""
        while not self.check():
            time.sleep(_POLL)
        parallel.run_on_first(self._delete_old)

    def _delete_old(self) -> None:
        try:
            for step in self._steps()[: -self._keep]:
                # renamed first, so that an interrupted deletion does not leave a seemingly complete checkpoint
                renamed = self._folder / f"{step}{_INCOMPLETE}"
                os.replace(self._folder / str(step), renamed)
                shutil.rmtree(renamed)
        except OSError as error:
            raise InputError(f"cannot write to {self._folder}: {error.strerror or error}") from error

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """Reads the state and position of checkpoint `step`.

        Arguments:
            step: the training step.
            like: a pytree of arrays or shapes with the shapes, types and shardings of the result; the shardings may differ from
                those it was saved with.

        Raises:
            InputError: in every process, where the checkpoint is damaged, or of another network than `like`.
        """
        where = f"checkpoint {step} in {self._folder}"
        remedy = f"delete {self._folder / str(step)} to continue from the previous one, if there is one"

        def read():
            try:
                state, position = _read(self._folder / str(step), like)
                return state, position.pop("digest"), position.pop("checksum"), position
            except Exception as error:
                raise InputError(f"{where} is damaged or of another network: {_line(error)}; {remedy}") from error

        state, digest, saved, position = parallel.run_on_all(read)
        if digest != int(_digest(state)):
            raise InputError(f"{where} is damaged: its values differ from those that were saved; {remedy}")
        if saved != _checksum(position):
            raise InputError(f"{where} is damaged: its position in the data differs from the one that was saved; {remedy}")
        return state, position

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # after an error in this process alone the others continue and cannot take part in a collective
        in_every_process = kind is None or (issubclass(kind, InputError) and not issubclass(kind, LostProcess))
        if in_every_process or jax.process_count() == 1:
            self.finish()
            self._writer.close()


def _read(folder: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """Reads a process's own part of a checkpoint, without waiting for other processes, so that an error in one hangs none."""
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me}, barrier_sync_key_prefix=str(me))
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)

    def part(name, handler, arguments):
        with ocp.Checkpointer(handler(multiprocessing_options=alone), multiprocessing_options=alone) as reader:
            return reader.restore(folder / name, args=arguments)

    position = part("position", ocp.JsonCheckpointHandler, ocp.args.JsonRestore())
    return part("state", ocp.StandardCheckpointHandler, ocp.args.StandardRestore(abstract)), position


def _checksum(position: dict[str, Any]) -> str:
    return checksum(json.dumps(position, sort_keys=True))


@jax.jit
def _digest(tree: Any) -> UInt32[Array, ""]:
    """A checksum of all bits of a tree, independent of its sharding: a sum over words, modulo 2^32, with odd factors."""
    total = jnp.uint32(0)
    for number, leaf in enumerate(jax.tree.leaves(tree)):
        words = jax.lax.bitcast_convert_type(leaf, jnp.uint32) if leaf.dtype.itemsize >= 4 else leaf.astype(jnp.uint32)
        place = jnp.uint32(2 * number + 1)
        for axis, size in enumerate(words.shape):
            place = place * jnp.uint32(size) + 2 * jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
        total += (words * (place * jnp.uint32(2654435761) | jnp.uint32(1))).sum(dtype=jnp.uint32)
    return total


def _line(error: Exception) -> str:
    """The beginning and the end of the first line of an error message; those of Orbax and TensorStore may fill pages."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0].partition(" See full TensorStore details")[0]
    return line if len(line) <= 300 else f"{line[:100]} ... {line[-200:]}"
