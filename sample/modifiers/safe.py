"""The training-free safe denoiser round any method."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from jaxdiff.errors import InputError

from ..registry import Place
from ._guard import ImageGuard
from ._weighted import Weighted

NAMED = (None, "root", "dimension")
"""Temperatures that have a name."""


@dataclass(frozen=True, kw_only=True)
class Safe(ImageGuard, Weighted):
    """See `about`."""

    name: ClassVar[str] = "safe"
    about: ClassVar[str] = "the safe denoiser: away from the posterior mean of the images of --unsafe"
    unsaid: ClassVar[tuple[str, ...]] = tuple({*ImageGuard.unsaid, *Weighted.unsaid})
    ways: ClassVar[tuple[str, ...]] = (*Weighted.ways, "known_safe")
    default_strength: ClassVar[float] = 1.0
    default_weight: ClassVar[str] = "constant"

    known_safe: str | None = None
    """Weigh by the exact odds between the images of --unsafe and these; for data that is wholly known."""
    temperature: str | None = None
    """How softly unsafe images are weighed: a number, 1 being exact, or `root` or `dimension` of the number of pixels. By
    default 1, but `dimension` with --guard-weight density."""
    bandwidth: float | None = None
    """Weighs unsafe images by a Laplace kernel of this width about the posterior mean instead, as the authors' code."""
    deviation: float = math.inf
    """Acts only on images as near to an unsafe one as this many standard deviations of its noise; 3 is near."""
    anchor: Literal["guided", "unconditional"] = "guided"
    """With --guidance-scale: what is moved, the guided mean or the unconditional one (the paper's order)."""

    def __post_init__(self):
        super().__post_init__()
        if self.temperature not in NAMED:
            try:
                float(self.temperature)
            except ValueError as error:
                raise InputError(f"--temperature takes a number, root or dimension, got {self.temperature!r}") from error

    @classmethod
    def asked(cls, options: Mapping[str, Any]) -> bool:
        """Whether --guard names it, or --unsafe is given without --guard."""
        return super().asked(options) or (options["guard"] is None and options["unsafe"] is not None)

    @property
    def weighing(self) -> str:
        """What --strength multiplies."""
        return "odds" if self.known_safe else super().weighing

    @property
    def gated(self) -> bool:
        """Whether a threshold or a deviation lets it act on some images only."""
        return self.threshold > 0 or self.deviation < math.inf

    @property
    def takes_scale(self) -> bool:
        """Where the unconditional mean is moved."""
        return self.anchor == "unconditional"

    @property
    def needs_null(self) -> bool:
        """Where the unconditional mean is moved."""
        return self.takes_scale

    def around(self, chosen: Any, unsafe: Any) -> tuple[Callable[[Callable, Place], Callable], dict[str, Any]]:
        """See `ImageGuard.around`."""
        import jax

        from jaxdiff import guidance

        process = chosen.model.process
        weight, more = self._weight(chosen, unsafe)
        options = {
            "weight": weight, "threshold": self.threshold, "deviation": self.deviation, "cap": self.cap,
            **self._kernel(), **self.common,
        }  # fmt: skip
        if not self.takes_scale:
            return lambda denoise, _: guidance.safe(denoise, process, unsafe, **options), more
        null, scale = chosen.null, chosen.scale

        def anchored(denoise: Callable, place: Place) -> Callable:
            # of the structure of what the method takes: a pair for a switched image
            alike = jax.tree.map(lambda _: null, place.condition)
            return guidance.safe(denoise, process, unsafe, null=alike, scale=scale, **options)

        return anchored, more

    def _weight(self, chosen: Any, unsafe: Any) -> tuple[Any, dict[str, Any]]:
        """The library's weight, and what it is, for provenance."""
        from jaxdiff import guidance
        from jaxdiff._console.unsafe import encoded

        match self.weighing:
            case "tracked":
                return guidance.tracked(), {}
            case "classifier":
                weight, fingerprint = self.classifier_weight(chosen.model.process)
                return weight, {"classifier": fingerprint}
            case "odds":
                known = encoded(self.known_safe, self.unsafe_split, chosen.model.space, None, self.value_names)
                return guidance.odds(known, unsafe), {}
        return self.weighing, {}

    def _kernel(self) -> dict[str, Any]:
        """How unsafe images are weighed."""
        if self.bandwidth is not None:
            return {"kernel": "laplace", "bandwidth": self.bandwidth}
        return {"temperature": self.temperature if self.temperature in NAMED else float(self.temperature)}
