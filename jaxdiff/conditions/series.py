"""The condition encoder of series models: labels within a `BridgeCondition`, whose x_T is drawn or given later."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
from jaxtyping import Int

from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.conditions.encoder import ConditionEncoder
from jaxdiff.data.attributes import Attribute


@dataclass(frozen=True)
class SeriesConditions(ConditionEncoder):
    """Conditions of series models.

    Arguments:
        inner: the encoder of the labels; `Unconditional` for a model without attributes.
    """

    inner: ConditionEncoder
    attributes: tuple[Attribute, ...] = field(init=False)
    has_null: bool = field(init=False)

    name: ClassVar[str] = "series"

    def __post_init__(self):
        object.__setattr__(self, "attributes", self.inner.attributes)
        object.__setattr__(self, "has_null", self.inner.has_null)

    def encode(self, labels: Int[Any, " b"] | Int[Any, "b a"]) -> BridgeCondition:
        """The condition without x_T; see `ConditionEncoder.encode`."""
        return BridgeCondition(labels=self.inner.encode(labels))

    @property
    def null(self) -> BridgeCondition:
        """See `ConditionEncoder.null`."""
        return BridgeCondition(labels=self.inner.null)

    def replacing(self, given: Sequence[tuple[str, str]]) -> Callable[[Any], Any]:
        """A function that sets labels and keeps x_T; see `ConditionEncoder.replacing`."""
        replace = self.inner.replacing(given)

        def one(condition: Any) -> Any:
            if not isinstance(condition, BridgeCondition):
                return condition
            return condition._replace(labels=replace(condition.labels))

        return lambda conditions: jax.tree.map(one, conditions, is_leaf=lambda each: isinstance(each, BridgeCondition))

    def attribute(self, name: str) -> tuple[int, Attribute]:
        """See `ConditionEncoder.attribute`."""
        return self.inner.attribute(name)

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "labels": self.inner.config()}
