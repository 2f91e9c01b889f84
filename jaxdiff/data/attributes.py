"""Attributes: named labels of appearance, each with named values."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError

PROMPT = "prompt"
"""The attribute whose values are prompts."""


@dataclass(frozen=True)
class Attribute:
    """A label of appearance that every image carries, e.g. `Attribute("gender", ("male", "female"))`.

    Labels are integers: `i` stands for `values[i]`. Attributes are annotations of how a face looks; they say
    nothing about anyone's identity.

    Arguments:
        name: the attribute's name.
        values: the names of its values, distinct and at least one, in the order of their labels.
    """

    name: str
    values: tuple[str, ...]

    def __post_init__(self):
        if any(not _is_text(name) for name in (self.name, *self.values)):
            raise InputError(f"the name and the `values` of attribute {self.name!r} must be Unicode text, got {self.values!r}")
        if not self.values or len(set(self.values)) != len(self.values):
            raise InputError(f"`values` of attribute {self.name!r} must be one or more distinct names, got {self.values}")

    def index(self, value: str) -> int:
        """The label of a value name. Raises `InputError` for a name that is not one of `values`."""
        if value not in self.values:
            raise InputError(f"attribute {self.name!r} has no value {value!r}; it takes one of {', '.join(self.values)}")
        return self.values.index(value)


def attribute_of(described: Any) -> Attribute:
    """The attribute in a description: [name, [value, ...]].

    Raises:
        InputError: it is something else.
    """
    match described:
        case [str(name), [*values]] if all(isinstance(value, str) for value in values):
            return Attribute(name, tuple(values))
    raise InputError(f"an attribute must be a name and the names of its values, got {shortened(described)}")


def _is_text(name: str) -> bool:
    """Whether a name can be written; those of folders may have bytes that are no text."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def find(attributes: Sequence[Attribute], name: str) -> int:
    """The position of the attribute called `name`. Raises `InputError` listing the known names."""
    names = [attribute.name for attribute in attributes]
    if name not in names:
        raise InputError(f"unknown attribute {name!r}; known attributes: {', '.join(names) or 'none'}")
    return names.index(name)


def product_of(attributes: Sequence[Attribute]) -> Attribute:
    """The product attribute: its values are the combinations of these attributes' values, joined by +, the last fastest."""
    names = ("+".join(parts) for parts in product(*(attribute.values for attribute in attributes)))
    return Attribute("+".join(attribute.name for attribute in attributes), tuple(names))
