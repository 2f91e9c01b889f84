"""Checkpoints of a training: the one module that knows Orbax."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxdiff.errors import InputError


class Checkpoints:
    """The checkpoints in a run's folder. Only complete ones count: one that was cut off while written is ignored.

    Arguments:
        folder: where they lie; made if absent.
        keep: how many of the newest to keep.
    """

    def __init__(self, folder: Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(Path(folder).absolute(), options=options)

    def latest(self) -> int | None:
        """The step of the newest complete checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, position: dict[str, Any]) -> None:
        """Starts writing `state` (a pytree of arrays) and `position` (JSON) as checkpoint `step`; does not wait."""
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), position=ocp.args.JsonSave(position))
        self._manager.save(step, args=items)

    def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
        """The state and position of checkpoint `step`, onto the shapes, types and shardings of `like`.

        Raises:
            InputError: the checkpoint is damaged, or of another network than `like`.
        """
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), position=ocp.args.JsonRestore())
        try:
            restored = self._manager.restore(step, args=items)
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise InputError(
                f"checkpoint {step} in {self._manager.directory} is damaged or of another network: {error}"
            ) from error
        return restored["state"], restored["position"]

    def close(self) -> None:
        """Waits until all is written."""
        self._manager.wait_until_finished()
        self._manager.close()
