"""The space of a model: what a user sees, what the process runs on, and the way between the two."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from jaxdiff.errors import InputError
from jaxdiff.guidance import ClippingPolicy


class Space(ABC):
    """What a user sees, what the process runs on, and the way between. A new kind is a subclass and a line in `SPACES`.

    What a user sees has a space of its own, `shown`: of pixels and of series this very one; of latents, which an autoencoder
    turns into images, pixels. A set of samples holds what is seen, and `array`, `dtype` and `shape` of `shown` say how.

    Fields:
        name: of this kind of space, in files.
        array: what the samples are called: the name of their array in npz files, and in errors.
        dtype: NumPy's name for the type of what a user sees.
        image_files: whether what a user sees can be written as image files.
    """

    name: ClassVar[str]
    array: ClassVar[str]
    dtype: ClassVar[str]
    image_files: ClassVar[bool] = False

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample as the process sees it, without a batch axis."""

    @property
    @abstractmethod
    def policy(self) -> ClippingPolicy:
        """What is done to posterior means that leave the range of the data: the only place where that is decided."""

    @property
    def shown(self) -> "Space":
        """The space of what a user sees."""
        return self

    @abstractmethod
    def encode(self, shown: Shaped[Any, "b ..."]) -> Float[Any, "b ..."]:
        """What the process runs on, float32 (B, *shape).

        Arguments:
            shown: what a user sees, (B, *shown.shape), of NumPy or of JAX; the answer is of the same.

        Raises:
            InputError: another shape or type.
        """

    @abstractmethod
    def decode(self, x: Float[Array, "b ..."] | Float[np.ndarray, "b ..."]) -> Shaped[np.ndarray, "b ..."]:
        """What a user sees of samples, on the host: (B, *shown.shape) of `shown.dtype`.

        Arguments:
            x: samples of the process, finite, (B, *shape).
        """

    @abstractmethod
    def pictures(self, shown: Shaped[np.ndarray, "b ..."]) -> UInt8[np.ndarray, "b height width 3"]:
        """A small RGB picture of each sample, for previews.

        Arguments:
            shown: what a user sees, (B, *shown.shape).
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The arguments that make this space again, JSON-ready."""

    def config(self) -> dict[str, Any]:
        """What `jaxdiff.spaces.from_config` takes, JSON-ready."""
        return {"name": self.name, **self.settings()}

    def check(self, samples: Shaped[Any, "b ..."]) -> None:
        """Raises `InputError` unless samples are as a user sees them in this space, of the right shape and type."""
        if samples.shape[1:] != self.shape or samples.dtype != self.dtype:
            wanted = f"{self.dtype} (B, {', '.join(map(str, self.shape))})"
            raise InputError(f"`{self.array}` must be {wanted}, got {samples.dtype} {tuple(samples.shape)}")
