"""Adaptive projected guidance: classifier-free guidance without the part that saturates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.errors import InputError

from ..registry import Ready, at_least
from ._guidance_scale import GuidanceScale


@dataclass(frozen=True, kw_only=True)
class AdaptiveProjected(GuidanceScale):
    """See `about`."""

    name: ClassVar[str] = "adaptive_projected"
    about: ClassVar[str] = "--adaptive-projected: classifier-free guidance that does not saturate (Sadat et al. 2024)"
    lead: ClassVar[str] = "adaptive_projected"
    remembers: ClassVar[bool] = True

    adaptive_projected: bool = False
    """Project, rescale and remember the update of classifier-free guidance."""
    projected_eta: float = 0.0
    """Weight of the part of the update along the posterior mean, which saturates; 1 keeps it."""
    projected_radius: float = math.inf
    """The largest norm of the update before it is scaled; it grows with the square root of the number of pixels."""
    projected_momentum: float = -0.5
    """Momentum of the update, in (-1, 1); below 0 what was added before is taken off."""

    def __post_init__(self):
        super().__post_init__()
        at_least("projected_radius", self.projected_radius, 0)
        if not -1 < self.projected_momentum < 1:
            raise InputError(f"--projected-momentum must lie in (-1, 1), got {self.projected_momentum}")
        if self.guidance_scale == 1:
            raise InputError("--adaptive-projected is for classifier-free guidance: give --guidance-scale other than 1, too")

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        from jaxdiff import guidance

        null, scale = chosen.null, self.guidance_scale
        numbers = {"eta": self.projected_eta, "radius": self.projected_radius, "momentum": self.projected_momentum}
        said = {name: "inf" if number == math.inf else number for name, number in numbers.items()}
        return Ready(self, lambda denoise, _: guidance.adaptive_projected(denoise, null, scale, **numbers), said)

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        return (f"projected guidance, scale {self.guidance_scale:g}",)
