"""Adaptive projected guidance (Sadat et al. 2024): classifier-free guidance with less oversaturation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from jaxdiff.bounds import Bounds, Finite, Unlimited
from jaxdiff.defaults import PROJECTED_ETA, PROJECTED_MOMENTUM, PROJECTED_RADIUS
from jaxdiff.errors import InputError

from ..registry import Ready
from ._guidance_scale import GuidanceScale


@dataclass(frozen=True, kw_only=True)
class AdaptiveProjected(GuidanceScale):
    """See `about`."""

    name: ClassVar[str] = "adaptive_projected"
    about: ClassVar[str] = "--adaptive-projected: classifier-free guidance with less oversaturation (Sadat et al. 2024)"
    enabled_by: ClassVar[str] = "adaptive_projected"
    stateful: ClassVar[bool] = True

    adaptive_projected: bool = False
    """Use adaptive projected guidance: project and rescale the guidance update, with momentum. Needs --guidance-scale."""
    projected_eta: Finite = PROJECTED_ETA
    """Weight of the update's component parallel to the posterior mean, which causes oversaturation; 1 keeps it in full."""
    projected_radius: Unlimited = PROJECTED_RADIUS
    """Maximum norm of the update before scaling; suitable values grow with the square root of the number of pixels."""
    projected_momentum: Annotated[float, Bounds(above=-1, below=1)] = PROJECTED_MOMENTUM
    """Momentum of the update, in (-1, 1); negative values, as in the paper, subtract past updates."""

    def __post_init__(self):
        super().__post_init__()
        if self.guidance_scale == 1:
            raise InputError("--adaptive-projected needs classifier-free guidance: also give a --guidance-scale other than 1")

    def ready(self, chosen: Any) -> Ready:
        """See `Modifier.ready`."""
        from jaxdiff import guidance

        null, scale = chosen.null, self.guidance_scale
        numbers = {"eta": self.projected_eta, "radius": self.projected_radius, "momentum": self.projected_momentum}
        settings = {name: "inf" if number == math.inf else number for name, number in numbers.items()}
        return Ready(self, lambda denoise, _: guidance.adaptive_projected(denoise, null, scale, **numbers), settings)

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        return (f"projected guidance, scale {self.guidance_scale:g}",)
