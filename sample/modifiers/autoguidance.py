"""Autoguidance (Karras et al. 2024): guidance away from a weaker checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from jaxdiff.bounds import NonNegative
from jaxdiff.errors import InputError

from ..registry import Modifier, Ready, Slot


@dataclass(frozen=True, kw_only=True)
class Autoguidance(Modifier):
    """See `about`. Each step evaluates both networks."""

    name: ClassVar[str] = "autoguidance"
    about: ClassVar[str] = "--guide: guidance away from a weaker version of the model (Karras et al. 2024)"
    slot: ClassVar[Slot] = "guide"
    enabled_by: ClassVar[str] = "guide"

    guide: Path | None = None
    """Weaker model to guide away from: a smaller network or an earlier checkpoint with the same space, process and
    conditions."""
    guide_scale: NonNegative = 2.0
    """Guidance scale, at least 0: 1 is the model alone, larger values extrapolate away from the weaker model."""

    def ready(self, chosen: Any) -> Ready:
        """Loads the guide, and places its weights on the model's devices.

        Raises:
            InputError: there is no model, or its space, process or conditions differ.
        """
        from jaxdiff import guidance
        from jaxdiff.model import load

        guide = load(self.guide)
        for what in ("space", "process", "conditions"):
            own, other = getattr(chosen.model, what).config(), getattr(guide, what).config()
            if own != other:
                raise InputError(f"--guide {self.guide} must have the model's {what}: got {other}, and the model has {own}")
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
