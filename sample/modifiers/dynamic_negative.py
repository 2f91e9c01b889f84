"""Dynamic negative guidance round any method."""

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
        "the same, weighed by the odds of unsafe: of --classifier, or tracked along the path of --solver ddpm"
    )
    unsaid: ClassVar[tuple[str, ...]] = Weighted.unsaid
    default_strength: ClassVar[float] = 5.0
    default_weight: ClassVar[str] = "tracked"

    @property
    def gated(self) -> bool:
        """Whether a threshold lets it act on some images only."""
        return self.threshold > 0

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        from jaxdiff import guidance

        process, unsafe = chosen.model.process, self.unsafe_condition(chosen)
        weight, more = self.weighing, {}
        if self.weighing == "tracked":
            weight = guidance.tracked()
        elif self.weighing == "classifier":
            weight, fingerprint = self.classifier_weight(process)
            more = {"classifier": fingerprint}
        options = {"weight": weight, "threshold": self.threshold, "cap": self.cap, **self.common}
        return Ready(
            self,
            lambda denoise, place: guidance.dynamic_negative(denoise, process, unsafe(place.condition), **options),
            {**self.said(), **more},
        )
