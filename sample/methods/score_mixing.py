"""Score mixing: the unlabelled posterior mean, reweighted from the values' shares in the data to target shares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.bounds import Share

from ._shares import WithTarget


@dataclass(frozen=True, kw_only=True)
class ScoreMixing(WithTarget):
    """See `about`."""

    name: ClassVar[str] = "score_mixing"
    about: ClassVar[str] = "null label, with the values reweighted from the shares --shares to --target; labels are random"

    shares: tuple[Share, ...] = ()
    """Share of each value in the training data; by default equal."""

    @property
    def needs_null(self) -> bool:
        """True: the unlabelled posterior mean is reweighted."""
        return True

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The null condition, and the condition of every value."""
        return plan.null(ends), plan.every(ends)

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser with reweighted values."""
        from jaxdiff import guidance

        settings = self.settings(drawing.plan)
        return guidance.score_mixing(denoise, shares=settings["shares"], reference=settings["target"])

    def settings(self, plan: Any) -> dict[str, Any]:
        """The shares used."""
        return {"shares": self.shares or plan.equal, "target": self.target_shares(plan)}

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "null label, values reweighted"
