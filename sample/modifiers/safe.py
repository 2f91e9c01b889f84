"""The training-free safe denoiser (Kim et al. 2025) for any method."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from jaxdiff.bounds import Bounds, Positive, shortened
from jaxdiff.errors import InputError

from ..registry import Place
from ._anchored import Anchored
from ._guard import ImageGuard
from ._weighted import Weighted

NAMED = (None, "root", "dimension")
"""Temperatures with a name."""


@dataclass(frozen=True, kw_only=True)
class Safe(ImageGuard, Weighted, Anchored):
    """See `about`."""

    name: ClassVar[str] = "safe"
    about: ClassVar[str] = "safe denoiser: away from the posterior mean of the --unsafe images (Kim et al. 2025)"
    omitted: ClassVar[tuple[str, ...]] = tuple({*ImageGuard.omitted, *Weighted.omitted})
    weight_options: ClassVar[tuple[str, ...]] = (*Weighted.weight_options, "known_safe")
    default_strength: ClassVar[float] = 1.0
    default_weight: ClassVar[str] = "constant"

    known_safe: str | None = None
    """Safe images, in the same forms as --unsafe: weight by the exact odds between the unsafe and these images, which together
    must be all of the data."""
    temperature: str | None = None
    """Temperature of the weights of unsafe images: a number (1: exact posterior weights), or `root` or `dimension`: the square
    root of the number of pixels, or that number. Default: 1, or `dimension` with --guard-weight density."""
    bandwidth: Positive | None = None
    """Weight unsafe images with a Laplace kernel of this width around the posterior mean, as the authors' code does."""
    deviation: Annotated[float, Bounds(infinite=True)] = math.inf
    """Act only on images whose squared distance to the nearest unsafe image exceeds its mean under noise by at most this many
    standard deviations; 3 is near."""

    def __post_init__(self):
        super().__post_init__()
        if self.temperature not in NAMED:
            try:
                wrong = Bounds(above=0).fault(float(self.temperature))
            except ValueError:
                wrong = True
            if wrong:
                raise InputError(f"--temperature takes a number above 0, root or dimension, got {shortened(self.temperature)}")

    @classmethod
    def enabled(cls, options: Mapping[str, Any]) -> bool:
        """Whether --guard selects it, or --unsafe is given without --guard."""
        return super().enabled(options) or (options["guard"] is None and options["unsafe"] is not None)

    @property
    def weight_kind(self) -> str:
        """The kind of weight that --strength multiplies."""
        return "odds" if self.known_safe else super().weight_kind

    @property
    def gated(self) -> bool:
        """Whether a threshold or a deviation can exclude images."""
        return self.threshold > 0 or self.deviation < math.inf

    def around(self, chosen: Any, unsafe: Any) -> tuple[Callable[[Callable, Place], Callable], dict[str, Any]]:
        """See `ImageGuard.around`."""
        from jaxdiff import guidance

        process = chosen.model.process
        weight, more = self._weight(chosen, unsafe)
        options = {
            "weight": weight, "threshold": self.threshold, "deviation": self.deviation, "cap": self.cap,
            **self._kernel(), **self.common,
        }  # fmt: skip

        def guarded(denoise: Callable, place: Place) -> Callable:
            denoise, given = self.anchored(chosen, denoise, place)
            return guidance.safe(denoise, process, unsafe, **given, **options)

        return guarded, more

    def _weight(self, chosen: Any, unsafe: Any) -> tuple[Any, dict[str, Any]]:
        """The library's weight, and further settings for provenance."""
        from jaxdiff import guidance

        match self.weight_kind:
            case "tracked":
                return guidance.tracked(), {}
            case "classifier":
                weight, fingerprint = self.classifier_weight(chosen.model.process)
                return weight, {"classifier": fingerprint}
            case "odds":
                known = self.encoded(self.known_safe, chosen)
                return guidance.odds(known, unsafe, limits=chosen.model.space.limits), {}
        return self.weight_kind, {}

    def _kernel(self) -> dict[str, Any]:
        """The arguments that set the weights of unsafe images."""
        if self.bandwidth is not None:
            return {"kernel": "laplace", "bandwidth": self.bandwidth}
        return {"temperature": self.temperature if self.temperature in NAMED else float(self.temperature)}
