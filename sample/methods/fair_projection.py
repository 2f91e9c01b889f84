"""FairImagen (Fu et al. 2025): prompt embeddings without the directions in which values differ, plus a drawn value's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.bounds import NonNegative

from ._table import NeedsTable


@dataclass(frozen=True, kw_only=True)
class FairProjection(NeedsTable):
    """See `about`."""

    name: ClassVar[str] = "fair_projection"
    about: ClassVar[str] = "prompts that mention a concept of --fair-table are projected (FairImagen), towards a drawn value"

    injection: NonNegative = 1.0
    """Multiple of the drawn value's mean in the directions that the projection takes out; 0 is the projection alone, whose
    recorded values are random."""

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The projected condition of the neutral prompt."""
        return plan.projected(ends, self.injection)

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"injection {self.injection:g}",)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "projected prompt, towards $own"
