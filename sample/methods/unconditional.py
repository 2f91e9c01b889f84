"""Sampling with the null label: the baseline that a fair method must beat."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Method


@dataclass(frozen=True, kw_only=True)
class Unconditional(Method):
    """See `about`."""

    name: ClassVar[str] = "unconditional"
    about: ClassVar[str] = (
        "the null label throughout; the recorded labels are random: the baseline that a fair method must beat"
    )

    @property
    def needs_null(self) -> bool:
        """True."""
        return True

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The null condition."""
        return plan.null(ends)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "null label throughout"
