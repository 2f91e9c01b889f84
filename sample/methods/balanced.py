"""Balanced labels: the other attributes of an image drawn from marginals, whatever its group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ._marginals import WithMarginals
from ._others import NeedsOthers

STREAM = 4_000
"""The first stream of random numbers; attribute k of the model has stream `STREAM` + k."""


@dataclass(frozen=True, kw_only=True)
class Balanced(WithMarginals, NeedsOthers):
    """See `about`. The values drawn are a function of seed and index of an image, and recorded as labels of the set."""

    name: ClassVar[str] = "balanced"
    about: ClassVar[str] = (
        "models of several attributes: the image's own label, with the others drawn from --marginals whatever it is"
    )
    labels_all: ClassVar[bool] = True

    def shares(self, chosen: Any) -> dict[str, tuple[float, ...]]:
        """The shares from which each of the other attributes is drawn, by name.

        Raises:
            InputError: there are no others, or --marginals does not fit them.
        """
        return self.completed({name: (1 / count,) * count for name, count in self.others(chosen).items()})

    def fits(self, chosen: Any) -> None:
        """Raises `InputError` as `shares`."""
        self.shares(chosen)

    def labels(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The label rows, with the drawn values of the other attributes."""
        import numpy as np

        from jaxdiff.data.embedded import uniform

        rows = plan.chosen.labels(ends)
        names = [each.name for each in plan.chosen.model.conditions.attributes]
        for name, shares in self.shares(plan.chosen).items():
            column = names.index(name)
            edges = np.cumsum(shares)[:-1]
            rows[:, column] = np.searchsorted(edges, uniform(indices, STREAM + column, plan.seed), side="right")
        return rows

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The condition of all labels of an image."""
        return plan.of_labels(self.labels(plan, indices, ends))

    def settings(self, plan: Any) -> dict[str, Any]:
        """The shares used."""
        return {"marginals": self.shares(plan.chosen)}

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return self.marginals or ("equal marginals",)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "$own throughout, other attributes drawn"
