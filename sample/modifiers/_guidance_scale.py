"""The option --guidance-scale, which all forms of classifier-free guidance have."""

from dataclasses import dataclass
from typing import ClassVar

from jaxdiff.bounds import NonNegative

from ..registry import Modifier, Slot


@dataclass(frozen=True, kw_only=True)
class GuidanceScale(Modifier):
    """A form of classifier-free guidance."""

    slot: ClassVar[Slot] = "guidance"

    guidance_scale: NonNegative = 1.0
    """Scale of classifier-free guidance, at least 0: 1 is no guidance, larger values follow the label more strongly."""

    @property
    def needs_null(self) -> bool:
        """True: the guidance direction is from the null condition to the image's own."""
        return True
