"""Minimal guidance: no label, until an image is about to lose its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.bounds import Share, Unlimited
from jaxdiff.errors import InputError

from ..registry import Method


@dataclass(frozen=True, kw_only=True)
class Minimal(Method):
    """See `about`. The record of each image tells whether it was conditioned, and from which SNR on."""

    name: ClassVar[str] = "minimal"
    about: ClassVar[str] = "no label, until the posterior of an image's own falls below --least-posterior, then the own label"
    records: ClassVar[bool] = True

    least_posterior: Share = 0.45
    """Posterior of the own label below which an image is conditioned on it; 0 is no label, 1 the own label throughout."""
    posterior_window: tuple[Unlimited, Unlimited] = (0.1, 100.0)
    """Range of SNR, alpha² / sigma², in which posteriors are looked at, low and high. A step in it evaluates the null label and
    every value, a step outside it one condition."""

    def __post_init__(self):
        super().__post_init__()
        if not self.posterior_window[0] <= self.posterior_window[1]:
            raise InputError(f"--posterior-window takes two SNR values, 0 <= low <= high, got {self.posterior_window}")

    @property
    def needs_null(self) -> bool:
        """True: images start with the null condition."""
        return True

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The null condition, and the condition of every value, the image's own first."""
        return plan.null(ends), tuple(plan.own((ends + place) % plan.count) for place in range(plan.count))

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser with minimal guidance."""
        from jaxdiff import guidance

        process, count = drawing.chosen.model.process, drawing.plan.count
        return guidance.minimal(denoise, process, target=self.least_posterior, values=count, window=self.posterior_window)

    def settings(self, plan: Any) -> dict[str, Any]:
        """The options; infinity as text."""
        edges = [str(edge) if edge == float("inf") else edge for edge in self.posterior_window]
        return {**super().settings(plan), "posterior_window": edges}

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"posterior at least {self.least_posterior:g}",)

    @property
    def caption(self) -> str:
        """See `Method.caption`."""
        return f"no label until p($own) < {self.least_posterior:g}, then $own"
