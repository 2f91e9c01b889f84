"""Dynamic negative guidance (Koulischer et al. 2025) for any method."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Ready
from ._guard import LabelGuard
from ._weighted import Weighted


@dataclass(frozen=True, kw_only=True)
class DynamicNegative(LabelGuard, Weighted):
    """See `about`."""

    name: ClassVar[str] = "dynamic_negative"
    about: ClassVar[str] = (
        "dynamic negative guidance: negative, weighted by the odds that the image is unsafe (see --guard-weight)"
    )
    omitted: ClassVar[tuple[str, ...]] = Weighted.omitted
    default_strength: ClassVar[float] = 5.0
    default_weight: ClassVar[str] = "tracked"

    @property
    def gated(self) -> bool:
        """Whether a threshold can exclude images."""
        return self.threshold > 0

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        from jaxdiff import guidance

        process, unsafe = chosen.model.process, self.unsafe_condition(chosen)
        weight, more = self.weight_kind, {}
        if self.weight_kind == "tracked":
            weight = guidance.tracked()
        elif self.weight_kind == "classifier":
            weight, fingerprint = self.classifier_weight(process)
            more = {"classifier": fingerprint}
        options = {"weight": weight, "threshold": self.threshold, "cap": self.cap, **self.common}
        return Ready(
            self,
            lambda denoise, place: guidance.dynamic_negative(denoise, process, unsafe(place.condition), **options),
            {**self.provenance(), **more},
        )
