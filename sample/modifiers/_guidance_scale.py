"""The scale that all forms of classifier-free guidance take."""

from dataclasses import dataclass
from typing import ClassVar

from ..registry import Modifier, Slot, at_least


@dataclass(frozen=True, kw_only=True)
class GuidanceScale(Modifier):
    """A form of classifier-free guidance."""

    slot: ClassVar[Slot] = "guidance"

    guidance_scale: float = 1.0
    """Scale of classifier-free guidance; 1 is none."""

    def __post_init__(self):
        at_least("guidance_scale", self.guidance_scale, 0)

    @property
    def needs_null(self) -> bool:
        """Yes: the condition is set against the null one."""
        return True
