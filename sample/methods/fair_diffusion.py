"""Fair Diffusion: semantic guidance towards a value that is drawn in wanted shares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ._shares import WithTarget


@dataclass(frozen=True, kw_only=True)
class FairDiffusion(WithTarget):
    """See `about`."""

    name: ClassVar[str] = "fair_diffusion"
    about: ClassVar[str] = "under no label, led by semantic guidance towards a value drawn in the shares --target"
    extrapolates: ClassVar[bool] = True
    takes_scale: ClassVar[bool] = True

    assignment: Literal["balanced", "iid"] = "balanced"
    """Values in exactly the shares of --target, or each image's drawn on its own."""
    edit_scale: float = 4.0
    """Strength of the semantic guidance."""
    edit_start: float = 0.8
    """The time from which on it acts, in (0, 1]."""

    @property
    def needs_null(self) -> bool:
        """Yes: the prompt that is led away from is the null condition."""
        return True

    def ends(self, plan: Any, count: int) -> Any:
        """Labels drawn in the wanted shares."""
        from jaxdiff.fairness.assignment import assign

        return assign(count, self.wanted(plan), seed=plan.seed, mode=self.assignment)

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The null condition, and the concepts: the other values, and the image's own."""
        return plan.nothing(ends), (plan.others(ends), plan.own(ends))

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser led away from the other values and towards the image's own."""
        import numpy as np

        from jaxdiff import guidance

        strengths = self.edit_scale * np.array([-1.0, 1.0], np.float32)
        model, null = drawing.chosen.model, drawing.chosen.null
        return guidance.semantic(denoise, model.process, null, strengths=strengths, scale=drawing.scale, start=self.edit_start)

    def settings(self, plan: Any) -> dict[str, Any]:
        """The options, with the shares that are used."""
        return {**super().settings(plan), "target": self.wanted(plan)}

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"edit scale {self.edit_scale:g}",)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "under no label, led to $own"
