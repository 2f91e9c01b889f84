"""Fair Diffusion (Friedrich et al. 2023): semantic guidance towards values assigned in target shares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from jaxdiff.bounds import Bounds, Finite

from ._shares import WithTarget


@dataclass(frozen=True, kw_only=True)
class FairDiffusion(WithTarget):
    """See `about`."""

    name: ClassVar[str] = "fair_diffusion"
    about: ClassVar[str] = "Fair Diffusion: null label with semantic guidance towards a value, assigned in the shares --target"
    extrapolates: ClassVar[bool] = True
    takes_scale: ClassVar[bool] = True

    assignment: Literal["balanced", "iid"] = "balanced"
    """balanced: values in exactly the shares of --target; iid: the value of each image drawn independently."""
    edit_scale: Finite = 4.0
    """Strength of the semantic guidance."""
    edit_start: Annotated[float, Bounds(above=0, most=1)] = 0.8
    """Time in (0, 1] from which the guidance acts, until t = 0 (data)."""

    @property
    def needs_null(self) -> bool:
        """True: semantic guidance is measured from the null condition."""
        return True

    def ends(self, plan: Any, count: int) -> Any:
        """Labels assigned in the target shares."""
        from jaxdiff.fairness.assignment import assign

        return assign(count, self.target_shares(plan), seed=plan.seed, mode=self.assignment)

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The null condition, and the concepts: the mean of the other values, and the image's own."""
        return plan.null(ends), (plan.others(ends), plan.own(ends))

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser with semantic guidance away from the other values and towards the image's own."""
        import numpy as np

        from jaxdiff import guidance

        strengths = self.edit_scale * np.array([-1.0, 1.0], np.float32)
        model, null = drawing.chosen.model, drawing.chosen.null
        return guidance.semantic(denoise, model.process, null, strengths=strengths, scale=drawing.scale, start=self.edit_start)

    def settings(self, plan: Any) -> dict[str, Any]:
        """The options, with the target shares used."""
        return {**super().settings(plan), "target": self.target_shares(plan)}

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"edit scale {self.edit_scale:g}",)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "null label, guided towards $own"
