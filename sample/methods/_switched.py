"""The base class of attribute switching, with one transition point or one per frequency band."""

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from jaxdiff.bounds import Share
from jaxdiff.errors import InputError

from ..registry import INTERNAL, Method


@dataclass(frozen=True, kw_only=True)
class Switched(Method):
    """A method that switches the condition during sampling.

    Attributes:
        at: the transition points, once known.
        found: their provenance.
    """

    kind: ClassVar[str]
    """The kind of search that finds its points, as in the name of its file."""

    tau: tuple[Share, ...] = ()
    """Transition points in [0, 1] (0 = data, 1 = noise) to use instead of a search's. switching: draws one set for each;
    spectral: one for each band."""
    tau_file: Path | None = None
    """File written by `jaxdiff sample search`; by default tau-ATTRIBUTE.json, or spectral-ATTRIBUTE.json, in the model's
    folder."""
    start: Literal["other", "none"] = "other"
    """The condition that sampling starts with: another attribute value, or the null label; with --fair-table no value."""
    at: tuple[Any, ...] = field(default=(), metadata=INTERNAL)
    found: Mapping[str, Any] = field(default_factory=dict, metadata=INTERNAL)

    def __post_init__(self):
        super().__post_init__()
        if self.tau and self.tau_file:
            raise InputError(f"--tau {self.tau} and --tau-file {self.tau_file} both give tau: use one of them")

    @property
    def needs_null(self) -> bool:
        """True with --start none."""
        return self.start == "none"

    def condition(self, plan: Any, indices: Any, ends: Any) -> Any:
        """The condition that sampling starts with, and the image's own."""
        return plan.unlabelled(ends) if self.start == "none" else plan.another(indices, ends), plan.own(ends)

    def sets(self, options: Any, chosen: Any) -> Iterator[tuple[Path, Method]]:
        """The set at the searched points; see `Method.sets`."""
        from ..transitions import searched

        yield options.out, self.at_found(searched(options, chosen, self))

    @abc.abstractmethod
    def at_found(self, found: Any) -> Method:
        """The method with the points of a search result."""

    def settings(self, plan: Any) -> dict[str, Any]:
        """Nothing: the points are in `provenance`, and the start is in the context."""
        return {}

    def provenance(self, chosen: Any) -> dict[str, Any]:
        """The points, and the search that found them."""
        return dict(self.found)

    def placed(self, at: Sequence[Any], **found: Any) -> Method:
        """The method with these points and their provenance."""
        return replace(self, at=tuple(at), found=found)
