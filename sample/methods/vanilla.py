"""Plain sampling: each image with its own label throughout."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Method


@dataclass(frozen=True, kw_only=True)
class Vanilla(Method):
    """See `about`. Images of an unconditional model have no label."""

    name: ClassVar[str] = "vanilla"
    about: ClassVar[str] = "the image's own label throughout; an unconditional model is sampled without labels"
    needs_labels: ClassVar[bool] = False

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The image's own condition."""
        return plan.own(ends)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return "$own throughout"
