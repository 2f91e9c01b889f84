"""Mixing: a fixed mixture of the label embeddings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Method, within


@dataclass(frozen=True, kw_only=True)
class Mixing(Method):
    """See `about`."""

    name: ClassVar[str] = "mixing"
    about: ClassVar[str] = "under a fixed mixture of the label embeddings, --mixing of its own"

    mixing: float = 0.6
    """The weight of an image's own label, in [0, 1]; the others share the rest."""

    def __post_init__(self):
        within("mixing", self.mixing, 0, 1)

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The mean of the other labels' conditions, and the image's own."""
        return plan.others(ends), plan.own(ends)

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser under the mixture."""
        from jaxdiff import guidance

        return guidance.mixing(denoise, self.mixing)

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"weight {self.mixing:g}",)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return f"{self.mixing:g} $own, {1 - self.mixing:g} $others all along"
