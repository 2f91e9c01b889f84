"""Autoguidance: away from a weaker checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from jaxdiff.errors import InputError

from ..registry import Modifier, Ready, Slot, at_least


@dataclass(frozen=True, kw_only=True)
class Autoguidance(Modifier):
    """See `about`. Plain sampling with it costs an evaluation of either network a step."""

    name: ClassVar[str] = "autoguidance"
    about: ClassVar[str] = "--guide: away from the mean of a weaker checkpoint (Karras et al. 2024)"
    slot: ClassVar[Slot] = "guide"
    lead: ClassVar[str] = "guide"

    guide: Path | None = None
    """A weaker model of the same space, process and conditions: a smaller network, or one that was trained for less long."""
    guide_scale: float = 2.0
    """How far to go from the weaker model's posterior mean through the model's own; 1 is the model alone."""

    def __post_init__(self):
        at_least("guide_scale", self.guide_scale, 0)

    def ready(self, chosen: Any) -> Ready:
        """Reads the guide, and puts its weights where the model's are.

        Raises:
            InputError: there is no model, or one of another space, process or conditions.
        """
        from jaxdiff import guidance
        from jaxdiff.model import load

        guide = load(self.guide)
        for what in ("space", "process", "conditions"):
            own, other = getattr(chosen.model, what).config(), getattr(guide, what).config()
            if own != other:
                raise InputError(f"--guide {self.guide} has another {what} than the model: {other}, and the model's is {own}")
        weak = chosen.placed(guide).denoiser(chosen.policy)
        return Ready(
            self,
            lambda denoise, _: guidance.autoguidance(denoise, weak, self.guide_scale),
            {"guide": guide.fingerprint, "scale": self.guide_scale},
        )

    @property
    def parts(self) -> Sequence[str]:
        """See `Modifier.parts`."""
        return (f"autoguidance scale {self.guide_scale:g}",)
