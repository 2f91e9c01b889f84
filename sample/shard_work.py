"""What is still to be drawn of a shard, and what the gates decide of each image that is."""

from collections import deque
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from .drawing import Drawing
from .gating import Gating
from .shard import Shard, decoded


class ShardWork:
    """The images of a shard that are still to be drawn; those that are drawn again come first.

    Arguments:
        drawing: what is drawn.
        gates: the gates.
        shard: the shard; None in a process without one, which draws along with the others.
        indices: of the images that are not in parts.
        unsafe: whether the prompt of each image of the set is unsafe.

    Attributes:
        pending: the index of each image to draw, and how many times it was drawn before.
    """

    def __init__(self, drawing: Drawing, gates: Gating, shard: Shard | None, indices: range, unsafe: Bool[np.ndarray, " n"]):
        self._drawing, self._gates, self._shard, self._unsafe = drawing, gates, shard, unsafe
        self._space = drawing.chosen.model.space
        skipped = unsafe if gates.policy != "mark" else np.zeros_like(unsafe)
        self._skipped = np.array([index for index in indices if skipped[index]], np.int32)
        self.pending = deque((index, 0) for index in indices if not skipped[index])
        self._taken = np.empty((0, 2), np.int32)

    def skip(self) -> int:
        """Refuses the images of unsafe prompts, which are not drawn; returns their number."""
        if self._shard is not None and len(self._skipped):
            count = len(self._skipped)
            refused, caught = np.ones(count, bool), np.zeros(count, np.int32)
            notes = {**self._drawing.undrawn(count), **self._gates.notes(refused, caught, refused)}
            self._shard.add(self._skipped, self._black(count), notes)
        return len(self._skipped)

    def take(self, rows: int, other: int) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " r"]]:
        """The next images, at most `rows`, filled up so that one program serves all: their indices, and how many times each
        was drawn before.

        Arguments:
            rows: images of a batch in this process.
            other: an image to repeat if there is none.
        """
        taken = [self.pending.popleft() for _ in range(min(rows, len(self.pending)))]
        self._taken = np.array(taken, np.int32).reshape(-1, 2)
        filled = [*taken, *[taken[-1] if taken else (other, 0)] * (rows - len(taken))]
        indices, redraws = np.array(filled, np.int32).T
        return indices, redraws

    def add(self, drawn: Float[np.ndarray, "r ..."], notes: Mapping[str, np.ndarray]) -> int:
        """Decodes and classifies what was taken, now drawn; returns the number of images that are finished.

        Raises:
            InputError: a sample is not finite, a gate fails, or a part cannot be written.
        """
        if self._shard is None or not len(self._taken):
            return 0
        indices, redraws = self._taken.T
        # the gate is asked of whole batches, so that one program serves all
        images = decoded(self._space, drawn, indices)
        caught = self._gates.caught(np.resize(images, (len(drawn), *images.shape[1:])))[: len(images)]
        again = caught & (redraws < self._gates.redraws)
        refused = caught & ~again & (self._gates.policy != "mark")
        images = np.where(refused.reshape(-1, *(1,) * (images.ndim - 1)), 0, images).astype(images.dtype)
        given = {name: values[: len(images)] for name, values in notes.items()}
        given |= self._gates.notes(refused, redraws + caught, self._unsafe[indices])
        kept = ~again
        self._shard.add(indices[kept], images[kept], {name: values[kept] for name, values in given.items()})
        self.pending.extendleft((int(index), int(redraw) + 1) for index, redraw in self._taken[again][::-1])
        self._shard.keep()
        return int(kept.sum())

    def _black(self, count: int) -> np.ndarray:
        shown = self._space.shown
        return np.zeros((count, *shown.shape), shown.dtype)
