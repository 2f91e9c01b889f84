"""Labels of attributes as conditions: rows of label weights, see `jaxdiff.models.labels`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxdiff.conditions.encoder import ConditionEncoder
from jaxdiff.data.attributes import Attribute, find
from jaxdiff.errors import InputError
from jaxdiff.models.labels import NULL, encode

# jitted: one program per number of labels instead of one per operation
_encode = jax.jit(encode, static_argnums=1)


@dataclass(frozen=True)
class Labels(ConditionEncoder):
    """Integer labels, one per attribute, as weights: floating-point conditions, which can be mixed.

    Arguments:
        attributes: one or more, in the order of the labels' columns.
        has_null: whether the model has the null label -1, which leaves an attribute unspecified.
    """

    attributes: tuple[Attribute, ...]
    has_null: bool = True

    name: ClassVar[str] = "labels"

    def __post_init__(self):
        if not self.attributes:
            raise InputError("`attributes` must be one or more; for none use `Unconditional()`")

    def encode(self, labels: Int[Any, " b"] | Int[Any, "b a"]) -> Float[Array, "b w"]:
        """Labels as one-hot weights; see `ConditionEncoder.encode`."""
        check_labels(labels, self.values, self.has_null)
        return _encode(np.asarray(labels), self.values)

    @property
    def null(self) -> Float[Array, " w"]:
        """The weights of the null label of every attribute; see `ConditionEncoder.null`."""
        return self.encode(np.full((1, len(self.attributes)), NULL, np.int32))[0]

    def replacing(self, given: Sequence[tuple[str, str]]) -> Callable[[Any], Any]:
        """A function that sets labels in a condition; see `ConditionEncoder.replacing`."""
        starts = np.cumsum([0, *(count + 1 for count in self.values)])
        row, replaced = np.zeros(starts[-1], np.float32), np.zeros(starts[-1], bool)
        for name, value in given:
            column, attribute = self.attribute(name)
            replaced[starts[column] : starts[column + 1]] = True
            row[starts[column] + attribute.index(value)] = 1
        return lambda conditions: jax.tree.map(lambda condition: jnp.where(replaced, row, condition), conditions)

    def weights_of(self, columns: Sequence[int]) -> "LabelWeights":
        """A function that gives, of a condition, the weights of the combinations of the attributes at these positions."""
        starts = np.cumsum([0, *(count + 1 for count in self.values)])
        return LabelWeights(tuple((int(starts[column]), self.values[column]) for column in columns))

    def attribute(self, name: str) -> tuple[int, Attribute]:
        """Position and description of an attribute; see `ConditionEncoder.attribute`."""
        position = find(self.attributes, name)
        return position, self.attributes[position]

    def config(self) -> dict[str, Any]:
        named = [[attribute.name, list(attribute.values)] for attribute in self.attributes]
        return {"name": self.name, "attributes": named, "has_null": self.has_null}


@dataclass(frozen=True)
class LabelWeights:
    """The weights of the combinations of some attributes in a condition, see `Labels.weights_of`.

    Attributes:
        places: the first column of each attribute in the condition, and its number of values.
    """

    places: tuple[tuple[int, int], ...]

    def __call__(self, condition: Float[Array, "b w"]) -> Float[Array, "b g"]:
        """The product of the weights of the values, (B, K_1 K_2 ...), the last attribute's fastest; 0 under the null label."""
        found = jnp.ones((len(condition), 1), condition.dtype)
        for start, count in self.places:
            weights = condition[:, start : start + count]
            found = (found[:, :, None] * weights[:, None]).reshape(len(condition), -1)
        return found


def check_labels(labels: Any, values: Sequence[int], null: bool = True) -> None:
    """Raises `InputError` if an integer label is neither -1 (null) nor below the number of its attribute's values.

    Arguments:
        labels: (B,) for one attribute or (B, A).
        values: the number of values of each attribute.
        null: whether the null label is allowed.
    """
    array = np.asarray(labels)
    table = array[:, None] if array.ndim == 1 else array
    if table.ndim != 2 or table.shape[1] != len(values):
        raise InputError(f"`labels` must have shape (B,) or (B, {len(values)}), got shape {array.shape}")
    if not null and (table == NULL).any():
        raise InputError("the model has no null label: it was trained with the label of every image")
    for column, count in enumerate(values):
        if table.size and (table[:, column].min() < NULL or table[:, column].max() >= count):
            raise InputError(
                f"labels of attribute {column} must lie in -1 (null) .. {count - 1}, got {np.unique(table[:, column])}"
            )
