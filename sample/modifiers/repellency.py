"""Sparse repellency (SPELL) round any method."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from ..registry import Place
from ._guard import ImageGuard


@dataclass(frozen=True, kw_only=True)
class Repellency(ImageGuard):
    """See `about`."""

    name: ClassVar[str] = "repellency"
    about: ClassVar[str] = "SPELL: out of balls of --radius about the images of --unsafe"
    default_strength: ClassVar[float] = 1.6

    radius: float | None = None
    """Of the balls, in root mean squares over pixels of [-1, 1]; by default the images' own median distance to the nearest
    other."""

    @property
    def gated(self) -> bool:
        """Yes: it acts within the balls alone."""
        return True

    def around(self, chosen: Any, unsafe: Any) -> tuple[Callable[[Callable, Place], Callable], dict[str, Any]]:
        """See `ImageGuard.around`."""
        from jaxdiff import guidance

        size = math.sqrt(math.prod(chosen.model.shape))
        radius = guidance.radius_of(unsafe) if self.radius is None else self.radius * size
        process = chosen.model.process
        return lambda denoise, _: guidance.repellency(denoise, process, unsafe, radius=radius, **self.common), {}
