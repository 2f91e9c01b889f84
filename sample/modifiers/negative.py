"""Negative guidance for any method."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Ready
from ._guard import ConditionGuard


@dataclass(frozen=True, kw_only=True)
class Negative(ConditionGuard):
    """See `about`."""

    name: ClassVar[str] = "negative"
    about: ClassVar[str] = "negative guidance: away from the mean for --unsafe-concepts or --unsafe-label, at constant strength"
    default_strength: ClassVar[float] = 1.0

    def ready(self, chosen: Any) -> Ready | None:
        """See `Modifier.ready`."""
        from jaxdiff import guidance

        process, unsafe = chosen.model.process, self.unsafe_of(chosen)
        if unsafe is None:
            return None
        return Ready(
            self,
            lambda denoise, place: guidance.negative(denoise, process, unsafe.condition(place.condition), **self.common),
            {**self.provenance(), **unsafe.settings},
        )
