"""Attribute switching: another label until the transition point, then the image's own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from jaxdiff.errors import InputError

from ..registry import Method
from ._switched import Switched
from ._table import NO_SEARCH, WithTable


@dataclass(frozen=True, kw_only=True)
class Switching(WithTable, Switched):
    """See `about`. `at` holds one point, or a row of points for each value that sampling starts with.

    With a fair table an image starts with its neutral prompt, and ends with a drawn value in it.
    """

    name: ClassVar[str] = "switching"
    about: ClassVar[str] = "attribute switching: another label (or none: --start none) until --tau, then the image's own"
    kind: ClassVar[str] = "tau"

    def check(self, sampling: Any) -> None:
        """Raises `InputError` if the time grid has no inner node to switch at, or two points have a folder of one name."""
        if sampling.steps < 2:
            raise InputError(f"--steps must be at least 2 for --method switching, got {sampling.steps}")
        if self.fair_table is None and self.assignment != "balanced":
            raise InputError("--assignment of --method switching needs --fair-table, whose values are assigned")
        if self.fair_table is not None and (self.start != "none" or not self.tau):
            raise InputError(
                "--method switching with --fair-table goes from no value to a drawn one: give --start none and --tau; "
                f"{NO_SEARCH}"
            )
        if distinct(self.tau) < len(self.tau):
            given = " ".join(map(str, self.tau))
            raise InputError(f"--tau takes times in [0, 1] that differ in the first three decimals, got {given}")

    def sets(self, options: Any, chosen: Any) -> Iterator[tuple[Path, Method]]:
        """One set for each given point, or one for the searched point."""
        if not self.tau:
            yield from super().sets(options, chosen)
        check_on_grid(self.tau, chosen)
        for tau in self.tau:
            folder = options.out / set_name(tau) if len(self.tau) > 1 else options.out
            yield folder, self.at_point(chosen.model.process, tau)

    def at_point(self, process: Any, tau: float) -> Method:
        """The method with a given point."""
        from jaxdiff.fairness.transition import time_fields

        return self.placed([tau], **time_fields(process, tau), search="given")

    def at_found(self, found: Any) -> Method:
        """The method with one point for all values, or one for each pair."""
        if isinstance(found.tau, tuple):
            return self.placed(found.tau, taus=found.tau, search=found.mode)
        return self.placed([found.tau], tau=found.tau, timestep=found.timestep, snr=found.snr, search=found.mode)

    def example(self) -> Method:
        """The method with an arbitrary point."""
        return self.placed(self.tau[:1] or [0.5], tau=self.tau[:1] or (0.5,))

    @property
    def by_pair(self) -> bool:
        """Whether each pair of values has its own point."""
        return isinstance(self.at[0], tuple)

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser with its condition switched."""
        import numpy as np

        from jaxdiff import guidance

        if (fair := drawing.plan.fair) is not None and ends is not None:
            # at 1 a prompt without a concept has no breakpoint
            at = np.where(fair.has_value(ends), self.at[0], 1.0).astype(np.float32)
            return guidance.switching(denoise, drawing.over_devices(at))
        if not self.by_pair:
            return guidance.switching(denoise, self.at[0])
        if indices is None:
            # a single point, which costs the same
            return guidance.switching(denoise, 0.5)
        table = np.array(self.at, np.float32)
        return guidance.switching(denoise, drawing.over_devices(table[drawing.plan.starts(indices, ends), ends]))

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        if not self.by_pair:
            return (f"τ = {self.at[0]:.3f}",)
        of_pairs = [tau for i, row in enumerate(self.at) for tau in row[:i]]
        return (f"τ = {min(of_pairs):.3f} to {max(of_pairs):.3f} by pair",)

    @property
    def caption(self) -> str | None:
        """See `Method.caption`."""
        first = "$others" if self.start == "other" else "no label" if self.fair_table is None else "no value"
        return None if self.by_pair else f"{first} until τ = {self.at[0]:.3f}, then $own"


def check_on_grid(taus: Sequence[float], chosen: Any) -> None:
    """Raises `InputError` for a point above the first node of the solver's grid, before any of the sets is drawn."""
    import numpy as np

    first = np.asarray(chosen.solver.times(chosen.model.process), np.float32)[0]
    if above := [tau for tau in taus if first < np.float32(tau) < 1]:
        raise InputError(
            f"--tau must be 1 or at most {first:.6g}, where the grid of {chosen.solver.steps} steps starts, got "
            f"{' '.join(map(str, above))}; use a --spacing that starts at 1 (uniform, trailing)"
        )


def set_name(tau: float) -> str:
    """The name of the folder of a set, of several at different points."""
    return f"tau-{tau:.3f}"


def distinct(taus: Sequence[float]) -> int:
    """The number of points whose sets have folders of different names."""
    return len(set(map(set_name, taus)))
