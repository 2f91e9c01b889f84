"""The interface of condition encoders."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from jaxtyping import Array, Float, Int

from jaxdiff.data.attributes import Attribute


class ConditionEncoder(ABC):
    """Converts labels to the condition of a denoiser. A new kind is a subclass.

    A condition is a pytree of arrays with leading axis B, or None for unconditional models.

    Fields:
        name: the name of this kind of encoder.
        attributes: the attributes that condition the model, in the order of the labels' columns; () if there are none.
    """

    name: ClassVar[str]
    attributes: tuple[Attribute, ...]

    @abstractmethod
    def encode(self, labels: Int[Any, " b"] | Int[Any, "b a"]) -> Any:
        """The condition of B samples with these labels.

        Arguments:
            labels: (B, A), or (B,) for a model of one attribute; -1 is the null label, if the model has one.

        Raises:
            InputError: labels are out of range, or there is not one per attribute.
        """

    @property
    @abstractmethod
    def null(self) -> Float[Array, " w"] | None:
        """The null condition of one sample, without a batch axis.

        Raises:
            InputError: the model has no null label.
        """

    @abstractmethod
    def attribute(self, name: str) -> tuple[int, Attribute]:
        """Position and description of an attribute. Raises `InputError` for one that the model was not trained on."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The argument of `jaxdiff.conditions.from_config`, JSON-ready."""
