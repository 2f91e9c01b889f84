"""Plain sampling: each image under its own label all along."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Method


@dataclass(frozen=True, kw_only=True)
class Vanilla(Method):
    """See `about`. Images of an unconditional model have no label."""

    name: ClassVar[str] = "vanilla"
    about: ClassVar[str] = "under the image's own label; of an unconditional model, under none"
    needs_labels: ClassVar[bool] = False

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The image's own condition."""
        return plan.own(ends)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "$own all along"
