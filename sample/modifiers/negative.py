"""Negative guidance for any method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Place, Ready
from ._anchored import Anchored
from ._guard import ConditionGuard


@dataclass(frozen=True, kw_only=True)
class Negative(ConditionGuard, Anchored):
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

        def guarded(denoise: Callable, place: Place) -> Callable:
            denoise, given = self.anchored(chosen, denoise, place)
            return guidance.negative(denoise, process, unsafe.condition(place.condition), **given, **self.common)

        return Ready(self, guarded, {**self.provenance(), **unsafe.settings})
