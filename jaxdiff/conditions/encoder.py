"""The condition encoder of a model: what a user says, and the condition that the denoiser is given."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from jaxtyping import Array, Float, Int

from jaxdiff.data.attributes import Attribute


class ConditionEncoder(ABC):
    """What a user says of samples, and the condition that a denoiser is given. A new kind is a subclass.

    A condition is a pytree of arrays with leading axis B, or None where a model takes none.

    Fields:
        name: of this kind of encoder.
        attributes: the attributes that condition the model, in the order of the labels' columns; () where it takes no labels.
    """

    name: ClassVar[str]
    attributes: tuple[Attribute, ...]

    @abstractmethod
    def encode(self, labels: Int[Any, " b"] | Int[Any, "b a"]) -> Any:
        """The condition of B samples with these labels.

        Arguments:
            labels: (B, A), or (B,) for a model of one attribute; -1 is the null label, where the model has one.

        Raises:
            InputError: labels out of range, or not one for each attribute.
        """

    @property
    @abstractmethod
    def null(self) -> Float[Array, " w"] | None:
        """The condition of one sample of which nothing is said, without a batch axis.

        Raises:
            InputError: the model has no null label.
        """

    @abstractmethod
    def attribute(self, name: str) -> tuple[int, Attribute]:
        """Position and description of an attribute. Raises `InputError` for one that the model was not trained on."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What it is, JSON-ready."""
