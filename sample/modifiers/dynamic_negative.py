"""Dynamic negative guidance (Koulischer et al. 2025) for any method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Place, Ready
from ._anchored import Anchored
from ._guard import ConditionGuard
from ._weighted import Weighted


@dataclass(frozen=True, kw_only=True)
class DynamicNegative(ConditionGuard, Weighted, Anchored):
    """See `about`."""

    name: ClassVar[str] = "dynamic_negative"
    about: ClassVar[str] = (
        "dynamic negative guidance: negative, weighted by the odds that the image is unsafe (see --guard-weight)"
    )
    omitted: ClassVar[tuple[str, ...]] = tuple({*ConditionGuard.omitted, *Weighted.omitted})
    default_strength: ClassVar[float] = 5.0
    default_weight: ClassVar[str] = "tracked"

    @property
    def gated(self) -> bool:
        """Whether a threshold can exclude images."""
        return self.threshold > 0

    def ready(self, chosen: Any) -> Ready | None:
        """See `Modifier.ready`."""
        from jaxdiff import guidance

        process, unsafe = chosen.model.process, self.unsafe_of(chosen)
        if unsafe is None:
            return None
        weight, more = self.weight_kind, {}
        if self.weight_kind == "tracked":
            weight = guidance.tracked()
        elif self.weight_kind == "classifier":
            weight, fingerprint = self.classifier_weight(process)
            more = {"classifier": fingerprint}
        options = {"weight": weight, "threshold": self.threshold, "cap": self.cap, **self.common}

        def guarded(denoise: Callable, place: Place) -> Callable:
            denoise, given = self.anchored(chosen, denoise, place)
            return guidance.dynamic_negative(denoise, process, unsafe.condition(place.condition), **given, **options)

        return Ready(self, guarded, {**self.provenance(), **unsafe.settings, **more})
