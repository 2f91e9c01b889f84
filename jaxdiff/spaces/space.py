"""The space of a model: the conversion between samples in the user's form and the arrays of the process."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from jaxdiff.errors import InputError
from jaxdiff.guidance import ClippingPolicy


class Space(ABC):
    """Encodes samples in the user's form for the process, and decodes them. A new kind is a subclass and a line in `SPACES`.

    Decoded samples have their own space, `shown`: this one for pixels and series; pixels for latents, which an autoencoder
    decodes to images. Sets of samples store decoded samples, as described by `array`, `dtype` and `shape` of `shown`.

    Fields:
        name: the name of this kind of space in files.
        array: the name of the samples in npz files and error messages.
        dtype: NumPy's name for the dtype of decoded samples.
        image_files: whether decoded samples can be written as image files.
        noun: what decoded samples are, in the plural.
        distance_unit: the unit of distances between `compared` samples, in words.
        mirrored: whether the mirror image of a sample, left to right, is a sample of the same kind.
        overlapping: whether samples of real data may share most of their values, as windows of one series do, so that near
            ones are no duplicates.
    """

    name: ClassVar[str]
    array: ClassVar[str]
    dtype: ClassVar[str]
    image_files: ClassVar[bool] = False
    noun: ClassVar[str] = "samples"
    distance_unit: ClassVar[str] = "root mean square"
    mirrored: ClassVar[bool] = False
    overlapping: ClassVar[bool] = False

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one encoded sample, without a batch axis."""

    @property
    @abstractmethod
    def policy(self) -> ClippingPolicy:
        """The clipping policy for posterior means that leave the range of the data."""

    @property
    def limits(self) -> tuple[float, float] | None:
        """The range of encoded samples; None where they have none."""
        return None

    @property
    def shown(self) -> "Space":
        """The space of decoded samples."""
        return self

    @property
    def decoding(self) -> Callable | None:
        """A pytree that maps samples of the process to what is seen of them, for jit; None if they are that themselves."""
        return None

    @property
    def decoded_by(self) -> dict[str, Any]:
        """What a set records of the way in which its samples are decoded, JSON-ready; empty where there is no choice."""
        return {}

    @property
    def described(self) -> dict[str, list[str]]:
        """The arrays of names that an npz file of decoded samples has beside them."""
        return {}

    def compared(self, shown: Shaped[np.ndarray, "b ..."]) -> Shaped[np.ndarray, "b ..."]:
        """The arrays between which distances of decoded samples are measured: the samples themselves."""
        return shown

    @abstractmethod
    def encode(self, shown: Shaped[Any, "b ..."]) -> Float[Any, "b ..."]:
        """The encoded samples, float32 (B, *shape).

        Arguments:
            shown: samples in the user's form, (B, *shown.shape), a NumPy or JAX array; the result is of the same kind.

        Raises:
            InputError: the shape or dtype does not match.
        """

    @abstractmethod
    def decode(self, x: Float[Array, "b ..."] | Float[np.ndarray, "b ..."]) -> Shaped[np.ndarray, "b ..."]:
        """The decoded samples, on the host: (B, *shown.shape) of `shown.dtype`.

        Arguments:
            x: samples of the process, finite, (B, *shape).
        """

    @abstractmethod
    def pictures(self, shown: Shaped[np.ndarray, "b ..."]) -> UInt8[np.ndarray, "b height width 3"]:
        """A small RGB picture of each sample, for previews.

        Arguments:
            shown: decoded samples, (B, *shown.shape).
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The arguments of this space, JSON-ready."""

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Space":
        """The space with these `settings`, as read from JSON; numbers with bounds have been checked.

        Raises:
            InputError: they are invalid.
            TypeError: a setting is unknown or lacking.
        """
        return cls(**settings)

    def config(self) -> dict[str, Any]:
        """The argument of `jaxdiff.spaces.from_config`, JSON-ready."""
        return {"name": self.name, **self.settings()}

    def check(self, samples: Shaped[Any, "b ..."]) -> None:
        """Raises `InputError` unless decoded samples have the shape and dtype of this space."""
        if samples.shape[1:] != self.shape or samples.dtype != self.dtype:
            wanted = f"{self.dtype} (B, {', '.join(map(str, self.shape))})"
            raise InputError(f"`{self.array}` must be {wanted}, got {samples.dtype} {tuple(samples.shape)}")
