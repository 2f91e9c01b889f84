"""What attribute switching has in common, with one transition point and with one for each band."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from jaxdiff.errors import InputError

from ..registry import INTERNAL, Method


@dataclass(frozen=True, kw_only=True)
class Switched(Method):
    """A method that begins under one condition and ends under another.

    Attributes:
        at: the points that are used, when they are known.
        found: what the provenance says of them.
    """

    kind: ClassVar[str]
    """The kind of search that finds its points, as its file is named."""

    tau: tuple[float, ...] = ()
    """Transition points in [0, 1] instead of the search's. switching: a set for each; spectral: one for each band."""
    tau_file: Path | None = None
    """The search's file; by default tau-ATTRIBUTE.json, or spectral-ATTRIBUTE.json, in the model's folder."""
    start: Literal["other", "none"] = "other"
    """What an image starts under: another value of the attribute, or no label, which is at parity already."""
    at: tuple[Any, ...] = field(default=(), metadata=INTERNAL)
    found: Mapping[str, Any] = field(default_factory=dict, metadata=INTERNAL)

    def __post_init__(self):
        if self.tau and self.tau_file:
            raise InputError(f"--tau {self.tau} and --tau-file {self.tau_file} are two ways to give tau: take one")
        if any(not 0 <= tau <= 1 for tau in self.tau):
            raise InputError(f"--tau takes times in [0, 1], got {self.tau}")

    @property
    def needs_null(self) -> bool:
        """Where it starts under none."""
        return self.start == "none"

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """What an image starts under, and what it ends under."""
        return plan.nothing(ends) if self.start == "none" else plan.another(indices, ends), plan.own(ends)

    def sets(self, options: Any, chosen: Any) -> Iterator[tuple[Path, Method]]:
        """The set at the searched points; see `Method.sets`."""
        from ..transitions import searched

        yield options.out, self.at_found(searched(options, chosen, self))

    def at_found(self, found: Any) -> Method:
        """The method at the points that a search found."""
        raise NotImplementedError

    def settings(self, plan: Any) -> dict[str, Any]:
        """Nothing: the points are in `told`, and the start is in the context."""
        return {}

    def told(self, chosen: Any) -> dict[str, Any]:
        """The points, and the search that found them."""
        return dict(self.found)

    def placed(self, at: Sequence[Any], **found: Any) -> Method:
        """The method at these points, with what the provenance says of them."""
        return replace(self, at=tuple(at), found=found)
