"""Label plans: the conditions that the images of a batch start and end with."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from .setting import Setting


@dataclass(frozen=True)
class Plan:
    """The conditions of a setting's values, on the host: each process takes those of its own rows.

    Rows are of images, given by their indices (B,) and the positions of their labels in the setting's values (B,). Of an
    unconditional model every condition is None.

    Attributes:
        chosen: the setting.
        seed: of the draw of labels.
    """

    chosen: Setting
    seed: int = 0

    @cached_property
    def rows(self) -> Any:
        """The condition of each value, (K, ...)."""
        return jax.tree.map(np.asarray, self.chosen.conditions())

    @property
    def count(self) -> int:
        """K, the number of values; 1 for an unconditional model, whose images are all of a kind."""
        return max(1, len(self.chosen.values))

    @property
    def equal(self) -> tuple[float, ...]:
        """The same share for each value."""
        return (1 / self.count,) * self.count

    def in_turn(self, count: int) -> Int[np.ndarray, " n"]:
        """Labels of `count` images: the values in turn."""
        return np.arange(count) % self.count

    def own(self, ends: Int[np.ndarray, " b"]) -> Any:
        """The image's own condition."""
        return jax.tree.map(lambda rows: rows[ends], self.rows)

    def nothing(self, ends: Int[np.ndarray, " b"]) -> Any:
        """The null condition."""
        return jax.tree.map(lambda row: np.broadcast_to(row, (len(ends), *row.shape)), self.chosen.null)

    def others(self, ends: Int[np.ndarray, " b"]) -> Any:
        """The mean of all other values' conditions."""
        return jax.tree.map(lambda rows: (rows.sum(0) - rows[ends]) / (self.count - 1), self.rows)

    def another(self, indices: Int[np.ndarray, " b"], ends: Int[np.ndarray, " b"]) -> Any:
        """The condition of another value, each of the others in turn."""
        return self.own(self.starts(indices, ends))

    def every(self, ends: Int[np.ndarray, " b"]) -> tuple[Any, ...]:
        """The condition of each value, K conditions of the batch."""
        return tuple(self.own(np.full(len(ends), value)) for value in range(self.count))

    def starts(self, indices: Int[np.ndarray, " b"], ends: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
        """The value that each image starts under, another than it ends under: each of the others in turn."""
        return starts(indices, ends, self.count)


def starts(indices: Int[np.ndarray, " b"], ends: Int[np.ndarray, " b"], values: int) -> Int[np.ndarray, " b"]:
    """The value, of so many, that each image starts under; see `Plan.starts`."""
    return (ends + 1 + indices // values % (values - 1)) % values
