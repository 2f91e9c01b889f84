"""Label plans: the conditions with which the images of a batch start and end."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, UInt32

from jaxdiff.conditions.projection import FairProjection
from jaxdiff.fairness.fair_prompts import FairPrompts

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
        return self.of_labels(self.chosen.labels(np.arange(self.count)))

    @property
    def fair(self) -> FairPrompts | None:
        """The prompts under the fair table; None without a table."""
        return self.chosen.fair

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

    def unlabelled(self, ends: Int[np.ndarray, " b"]) -> Any:
        """The image's condition without its value: of its neutral prompt with a fair table, or else the null condition."""
        return self.null(ends) if self.fair is None else jax.tree.map(lambda rows: rows[ends], self._neutral)

    def edits(self, ends: Int[np.ndarray, " b"]) -> tuple[Any, ...]:
        """The condition of each value of the fair table alone, each repeated for the batch."""
        rows = [jax.tree.map(lambda rows, place=place: rows[place], self._edits) for place in range(len(self.fair.values))]
        return tuple(jax.tree.map(lambda row: np.broadcast_to(row, (len(ends), *row.shape)), each) for each in rows)

    def projected(self, ends: Int[np.ndarray, " b"], injection: float) -> Any:
        """The image's neutral prompt, with the directions in which values differ replaced by `injection` times those of its own
        value; a prompt without a concept as it is."""
        fair, neutral = self.fair, self.unlabelled(ends)
        labels, valued = fair.rows[ends, 1:], fair.has_value(ends)
        moved = {
            name: np.where(valued.reshape(-1, *(1,) * (leaf.ndim - 1)), self._projections[name](leaf, labels, injection), leaf)
            for name, leaf in neutral.items()
            if name in self._projections
        }
        return {**neutral, **moved}

    def seeded(
        self, indices: Int[np.ndarray, " b"], ends: Int[np.ndarray, " b"]
    ) -> tuple[UInt32[np.ndarray, " b"], Int[np.ndarray, " b"]] | None:
        """The seed of each image's prompt, and its number among the images of the prompt; None if prompts have no seeds.

        Image n of a prompt with a seed is image n of a set of this prompt alone, drawn with this seed.
        """
        if self.chosen.seeds is None:
            return None
        prompts = self.chosen.labels(ends)[:, 0] if self.chosen.columns else np.zeros(len(ends), int)
        count = self.count if self.fair is None else len(self.fair.prompts)
        seeds = np.array([self.seed if own is None else own for own in self.chosen.seeds], np.uint32)
        return seeds[prompts], indices // count

    def of_labels(self, labels: Int[np.ndarray, "b a"]) -> Any:
        """The condition of rows of labels, with its filtered form under a filter of prompts."""
        condition = jax.tree.map(np.asarray, self.chosen.model.conditions.encode(labels))
        prompt = self.chosen.nest.in_slot("prompt")
        return condition if prompt is None or prompt.filtered is None else prompt.filtered(labels, condition)

    @cached_property
    def _neutral(self) -> Any:
        """The condition of the neutral prompt of each of the fair table's rows."""
        return self.of_labels(self.fair.neutral())

    @cached_property
    def _edits(self) -> Any:
        """The condition of each value of the fair table."""
        return jax.tree.map(np.asarray, self.chosen.model.conditions.encode_prompts(self.fair.edit_prompts()))

    @cached_property
    def _projections(self) -> dict[str, FairProjection]:
        """The projection of each part of the condition that is made of the prompt."""
        valued = self.fair.has_value(np.arange(len(self.fair.rows)))
        labels, counts = self.fair.rows[valued, 1:], [len(each.values) for each in self.fair.drawn]
        return {
            name: FairProjection.fit(rows[valued], labels, counts)
            for name, rows in self.rows.items()
            if name in ("text", "pooled")
        }

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
