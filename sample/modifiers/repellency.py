"""Sparse repellency (SPELL) for any method."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxdiff.bounds import NonNegative
from jaxdiff.errors import InputError

from ..registry import Place
from ._guard import ImageGuard


@dataclass(frozen=True, kw_only=True)
class Repellency(ImageGuard):
    """See `about`."""

    name: ClassVar[str] = "repellency"
    about: ClassVar[str] = "sparse repellency (SPELL): out of balls of --radius around the --unsafe images"
    default_strength: ClassVar[float] = 1.6

    radius: NonNegative | None = None
    """Radius of the balls, as root mean square over pixels in [-1, 1], or over latents; by default the median distance between
    an unsafe image and the nearest different one."""

    @property
    def gated(self) -> bool:
        """True: it acts only inside the balls."""
        return True

    def around(self, chosen: Any, unsafe: Any) -> tuple[Callable[[Callable, Place], Callable], dict[str, Any]]:
        """See `ImageGuard.around`."""
        from jaxdiff import guidance

        if self.radius is None and unsafe.distinct < 2:
            raise InputError(
                f"the default of --radius needs at least 2 different images, --unsafe {self.unsafe} has {unsafe.distinct}; "
                "give --radius"
            )
        size = math.sqrt(math.prod(chosen.model.shape))
        radius = guidance.radius_of(unsafe) if self.radius is None else self.radius * size
        process = chosen.model.process
        return lambda denoise, _: guidance.repellency(denoise, process, unsafe, radius=radius, **self.common), {}
