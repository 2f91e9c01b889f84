"""Negative guidance round any method."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Ready
from ._guard import LabelGuard


@dataclass(frozen=True, kw_only=True)
class Negative(LabelGuard):
    """See `about`."""

    name: ClassVar[str] = "negative"
    about: ClassVar[str] = "away from the model's own mean under --unsafe-label, at a fixed strength"
    default_strength: ClassVar[float] = 1.0

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        from jaxdiff import guidance

        process, unsafe = chosen.model.process, self.unsafe_condition(chosen)
        return Ready(
            self,
            lambda denoise, place: guidance.negative(denoise, process, unsafe(place.condition), **self.common),
            self.said(),
        )
