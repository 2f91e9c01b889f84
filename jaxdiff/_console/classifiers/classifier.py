"""What a classifier of images does, of whatever kind."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int, UInt8


@runtime_checkable
class Classifier(Protocol):
    """A classifier from outside of any kind."""

    @property
    def about(self) -> dict[str, Any]:
        """`file`, `sha256`, `input` and `classes` as text for reports."""
        ...

    @property
    def option(self) -> str:
        """The option that names its values."""
        ...

    @property
    def check(self) -> str:
        """What can be wrong if it is mostly wrong."""
        ...

    @property
    def values(self) -> tuple[str, ...]:
        """The names of its classes, in order."""
        ...

    @property
    def identity(self) -> tuple[Any, ...]:
        """Everything that its answers depend on beside the images, for keys."""
        ...

    def predict(
        self, images: UInt8[np.ndarray, "n h w c"], *, advance: Callable[[int], Any] | None = None
    ) -> Int[np.ndarray, " n"]:
        """The class of each image; `advance` is called with the number of images done since the last call."""
        ...

    def above(self, images: UInt8[np.ndarray, "n h w c"], chosen: Sequence[int], threshold: float) -> Bool[np.ndarray, " n"]:
        """Whether the score of one of the chosen classes is above a threshold, for each image."""
        ...

    def tried(self, image: UInt8[np.ndarray, "h w c"]) -> "Classifier":
        """The classifier, as it is to be used, tried on an image."""
        ...
