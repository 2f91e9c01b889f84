"""Another kind of space, as a user of the protocol would write it: windows of a table, each column scaled by a factor."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from jaxdiff.guidance import Unbounded
from jaxdiff.spaces import Space


@dataclass(frozen=True)
class Series(Space):
    """Windows of `length` rows, float32, whose columns have the standard deviations `scales`."""

    length: int
    scales: tuple[float, ...]

    name: ClassVar[str] = "scaled series"
    array: ClassVar[str] = "windows"
    dtype: ClassVar[str] = "float32"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length, len(self.scales))

    @property
    def policy(self) -> Unbounded:
        return Unbounded()

    def encode(self, shown):
        self.check(shown)
        return shown / np.float32(self.scales)

    def decode(self, x):
        return np.asarray(x, np.float32) * np.float32(self.scales)

    def pictures(self, shown):
        """The windows as bars, a pixel for each entry: dark where it is low."""
        low, high = shown.min(), shown.max()
        levels = np.uint8(255 * (shown - low) / max(high - low, 1e-6))
        return np.repeat(levels[..., None], 3, axis=-1)

    def settings(self) -> dict[str, Any]:
        return {"length": self.length, "scales": list(self.scales)}


SERIES = Series(6, (2.0, 0.5, 8.0))
