"""Mixing: a fixed mixture of the label embeddings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.bounds import Share

from ..registry import Method


@dataclass(frozen=True, kw_only=True)
class Mixing(Method):
    """See `about`."""

    name: ClassVar[str] = "mixing"
    about: ClassVar[str] = "a fixed mixture of the label embeddings, with weight --mixing on the image's own label"

    mixing: Share = 0.6
    """Weight of the image's own label, in [0, 1]; the other labels share the rest equally."""

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The mean condition of the other labels, and the image's own."""
        return plan.others(ends), plan.own(ends)

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser with the mixed condition."""
        from jaxdiff import guidance

        return guidance.mixing(denoise, self.mixing)

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"weight {self.mixing:g}",)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return f"{self.mixing:g} $own, {1 - self.mixing:g} $others throughout"
