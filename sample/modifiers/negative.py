"""Negative guidance for any method."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Ready
from ._guard import LabelGuard


@dataclass(frozen=True, kw_only=True)
class Negative(LabelGuard):
    """See `about`."""

    name: ClassVar[str] = "negative"
    about: ClassVar[str] = "negative guidance: away from the model's prediction for --unsafe-label, at constant strength"
    default_strength: ClassVar[float] = 1.0

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        from jaxdiff import guidance

        process, unsafe = chosen.model.process, self.unsafe_condition(chosen)
        return Ready(
            self,
            lambda denoise, place: guidance.negative(denoise, process, unsafe(place.condition), **self.common),
            self.provenance(),
        )
