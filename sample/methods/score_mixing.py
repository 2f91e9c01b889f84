"""Score mixing: under no label, the posterior weights of the values turned from their shares in the data to wanted ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ._shares import WithTarget


@dataclass(frozen=True, kw_only=True)
class ScoreMixing(WithTarget):
    """See `about`."""

    name: ClassVar[str] = "score_mixing"
    about: ClassVar[str] = "under no label, its values weighted anew from --shares to --target; the label beside it is random"

    shares: tuple[float, ...] = ()
    """The shares of the values in the data; by default equal."""

    @property
    def needs_null(self) -> bool:
        """Yes: what is weighted anew is the unlabelled posterior mean."""
        return True

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The null condition, and that of every value."""
        return plan.nothing(ends), plan.every(ends)

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser with its values weighted anew."""
        from jaxdiff import guidance

        settings = self.settings(drawing.plan)
        return guidance.score_mixing(denoise, shares=settings["shares"], reference=settings["target"])

    def settings(self, plan: Any) -> dict[str, Any]:
        """The shares that are used."""
        return {"shares": self.shares or plan.equal, "target": self.wanted(plan)}

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "under no label, values weighted anew"
