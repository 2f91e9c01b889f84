"""Label plans: the conditions with which the images of a batch start and end."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from .setting import Setting


@dataclass(frozen=True)
class Plan:
    """The conditions of a setting's values, on the host: each process computes them for its own rows.

    Images are given by their indices (B,) and by the positions of their labels in the setting's values (B,). For an
    unconditional model every condition is None.

    Attributes:
        chosen: the setting.
        seed: seed of random labels.
    """

    chosen: Setting
    seed: int = 0

    @cached_property
    def rows(self) -> Any:
        """The condition of each value, (K, ...)."""
        return jax.tree.map(np.asarray, self.chosen.conditions())

    @property
    def count(self) -> int:
        """K, the number of values; 1 for an unconditional model."""
        return max(1, len(self.chosen.values))

    @property
    def equal(self) -> tuple[float, ...]:
        """Equal shares of the values."""
        return (1 / self.count,) * self.count

    def in_turn(self, count: int) -> Int[np.ndarray, " n"]:
        """Labels of `count` images, cycling through the values."""
        return np.arange(count) % self.count

    def own(self, ends: Int[np.ndarray, " b"]) -> Any:
        """The image's own condition."""
        return jax.tree.map(lambda rows: rows[ends], self.rows)

    def null(self, ends: Int[np.ndarray, " b"]) -> Any:
        """The null condition."""
        return jax.tree.map(lambda row: np.broadcast_to(row, (len(ends), *row.shape)), self.chosen.null)

    def others(self, ends: Int[np.ndarray, " b"]) -> Any:
        """The mean condition of all other values."""
        return jax.tree.map(lambda rows: (rows.sum(0) - rows[ends]) / (self.count - 1), self.rows)

    def another(self, indices: Int[np.ndarray, " b"], ends: Int[np.ndarray, " b"]) -> Any:
        """The condition of another value, cycling through the others."""
        return self.own(self.starts(indices, ends))

    def every(self, ends: Int[np.ndarray, " b"]) -> tuple[Any, ...]:
        """The condition of each value, each repeated for the batch: K conditions."""
        return tuple(self.own(np.full(len(ends), value)) for value in range(self.count))

    def starts(self, indices: Int[np.ndarray, " b"], ends: Int[np.ndarray, " b"]) -> Int[np.ndarray, " b"]:
        """The value that sampling starts with, for each image: one of the other values, cycling through them."""
        return starts(indices, ends, self.count)


def starts(indices: Int[np.ndarray, " b"], ends: Int[np.ndarray, " b"], values: int) -> Int[np.ndarray, " b"]:
    """The value, of `values` many, that sampling starts with, for each image; see `Plan.starts`."""
    return (ends + 1 + indices // values % (values - 1)) % values
