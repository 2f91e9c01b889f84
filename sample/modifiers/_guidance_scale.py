"""The option --guidance-scale, which all forms of classifier-free guidance have."""

from dataclasses import dataclass
from typing import ClassVar

from ..registry import Modifier, Slot, check_at_least


@dataclass(frozen=True, kw_only=True)
class GuidanceScale(Modifier):
    """A form of classifier-free guidance."""

    slot: ClassVar[Slot] = "guidance"

    guidance_scale: float = 1.0
    """Scale of classifier-free guidance, at least 0: 1 is no guidance, larger values follow the label more strongly."""

    def __post_init__(self):
        check_at_least("guidance_scale", self.guidance_scale, 0)

    @property
    def needs_null(self) -> bool:
        """True: the guidance direction is from the null condition to the image's own."""
        return True
