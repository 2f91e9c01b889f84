"""Fair instruction (Friedrich et al. 2023): the prompt of each image is given a drawn value."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ._table import NeedsTable


@dataclass(frozen=True, kw_only=True)
class FairInstruction(NeedsTable):
    """See `about`."""

    name: ClassVar[str] = "fair_instruction"
    about: ClassVar[str] = "prompts that mention a concept of --fair-table are given a value, drawn in the shares of the table"

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The condition of the prompt with its value."""
        return plan.own(ends)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "the prompt with $own throughout"
