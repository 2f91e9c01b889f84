"""The interface of condition encoders."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from jaxtyping import Int

from jaxdiff.data.attributes import Attribute


class ConditionEncoder(ABC):
    """Converts labels to the condition of a denoiser. A new kind is a subclass.

    A condition is a pytree of arrays with leading axis B, or None for unconditional models.

    Fields:
        name: the name of this kind of encoder.
        attributes: the attributes that condition the model, in the order of the labels' columns; () if there are none.
        has_null: whether there is a null condition, that of the label -1 for every attribute.
    """

    name: ClassVar[str]
    attributes: tuple[Attribute, ...]
    has_null: bool

    @property
    def values(self) -> tuple[int, ...]:
        """The number of values of each attribute."""
        return tuple(len(attribute.values) for attribute in self.attributes)

    @property
    def separate(self) -> bool:
        """Whether the label -1 may be that of some attributes only."""
        return self.has_null

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
    def null(self) -> Any:
        """The null condition of one sample: as a condition, without a batch axis.

        Raises:
            InputError: there is none.
        """

    @abstractmethod
    def replacing(self, given: Sequence[tuple[str, str]]) -> Callable[[Any], Any]:
        """A function of a condition, or of a pytree of them such as a pair, which sets values of attributes for all samples.

        Other attributes stay.

        Arguments:
            given: the values, as (attribute, value).

        Raises:
            InputError: an attribute or a value is unknown, or others cannot stay.
        """

    @abstractmethod
    def attribute(self, name: str) -> tuple[int, Attribute]:
        """Position and description of an attribute. Raises `InputError` for one that the model was not trained on."""

    def context(self) -> dict[str, Any]:
        """What conditions follow from beside the model and the names of attributes and values, JSON-ready.

        A transition point holds for it alone.
        """
        return {}

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The argument of `jaxdiff.conditions.from_config`, JSON-ready."""
