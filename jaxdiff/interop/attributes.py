"""The class label of an imported network as an attribute."""

from collections.abc import Sequence

from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError


def class_attribute(values: Sequence[int], named: Attribute | None) -> tuple[Attribute, ...]:
    """The attributes of a network with at most one class label: by default `class` with the values 0, 1, ...

    Arguments:
        values: the number of values of each attribute of the network, as in its configuration.
        named: name and values.

    Raises:
        InputError: the number of names does not match the network.
    """
    if named is not None and tuple(values) != (len(named.values),):
        there = f"{values[0]} classes" if values else "no class label"
        raise InputError(f"`attribute` {named.name} has {len(named.values)} values, the network {there}")
    if named is not None or not values:
        return () if named is None else (named,)
    return (Attribute("class", tuple(map(str, range(values[0])))),)
