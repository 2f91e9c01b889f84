"""Spectral switching: one transition point per frequency band."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from jaxdiff.bounds import Positive
from jaxdiff.errors import InputError

from ..registry import Method, Modifier
from ._switched import Switched


@dataclass(frozen=True, kw_only=True)
class Spectral(Switched):
    """See `about`. `at` holds the point of each band."""

    name: ClassVar[str] = "spectral"
    about: ClassVar[str] = "attribute switching with one --tau for each frequency band, separated by --edges"
    kind: ClassVar[str] = "spectral"
    extrapolates: ClassVar[bool] = True

    edges: tuple[Positive, ...] = ()
    """Edges of the frequency bands, as radii in half-cycles per image; one fewer than --tau. By default the search's."""

    def __post_init__(self):
        super().__post_init__()
        if self.tau and not len(self.tau) == len(self.edges) + 1 > 1:
            raise InputError(
                "--method spectral takes one --tau per band, one more than --edges, or neither to use the search's; "
                f"got --tau {self.tau}, --edges {self.edges}"
            )

    def refuses(self, modifier: Modifier) -> str | None:
        """Modifiers inside the switch that keep state between steps."""
        if modifier.stateful and modifier.slot != "guard":
            return "--method spectral does not support modifiers that keep state between steps"
        return None

    def sets(self, options: Any, chosen: Any) -> Iterator[tuple[Path, Method]]:
        """The set with the given points, or with the searched ones."""
        if not self.tau:
            yield from super().sets(options, chosen)
        else:
            yield options.out, self.placed(self.tau, taus=self.tau, edges=self.edges, search="given")

    def at_found(self, found: Any) -> Method:
        """The method with the points and edges of a search result."""
        edges = tuple(found.context["edges"])
        return replace(self.placed(found.taus, taus=found.taus, edges=edges, search=found.mode), edges=edges)

    def example(self) -> Method:
        """The method with arbitrary points."""
        from ..options import EDGES

        edges = self.edges or EDGES
        at = self.tau or (0.5,) * (len(edges) + 1)
        return replace(self.placed(at, tau=at), edges=edges)

    def around(self, denoise: Callable, drawing: Any, indices: Any = None, ends: Any = None) -> Callable:
        """The denoiser, switched band by band."""
        from jaxdiff import guidance
        from jaxdiff.bands import frequency_bands

        return guidance.spectral_switching(denoise, frequency_bands(drawing.chosen.model.shape, self.edges), self.at)

    @property
    def parts(self) -> Sequence[str]:
        """See `Entry.parts`."""
        return (f"τ = {', '.join(f'{tau:.3f}' for tau in self.at)} by band",)
