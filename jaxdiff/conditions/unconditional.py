"""The condition encoder of unconditional models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Int

from jaxdiff.conditions.encoder import ConditionEncoder
from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError

_WHY = "the model is unconditional and has no attributes"


@dataclass(frozen=True)
class Unconditional(ConditionEncoder):
    """No conditions: every condition is None, which has no leaves."""

    name: ClassVar[str] = "unconditional"
    attributes: ClassVar[tuple[Attribute, ...]] = ()
    has_null: ClassVar[bool] = False

    def encode(self, labels: Int[Any, "b a"]) -> None:
        """None, for the empty labels (B, 0); see `ConditionEncoder.encode`."""
        if labels.ndim != 2 or labels.shape[1]:
            raise InputError(f"`labels` must have shape (B, 0), got {tuple(labels.shape)}: {_WHY}")

    @property
    def null(self) -> None:
        """None."""

    def replacing(self, given: Sequence[tuple[str, str]]) -> Callable[[Any], Any]:
        """Raises `InputError` for any value: there is no attribute."""
        for name, _ in given:
            self.attribute(name)
        return lambda conditions: conditions

    def attribute(self, name: str) -> tuple[int, Attribute]:
        """Raises `InputError`: there is no attribute."""
        raise InputError(f"unknown attribute {name!r}: {_WHY}")

    def config(self) -> dict[str, Any]:
        return {"name": self.name}
