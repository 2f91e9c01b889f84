"""Selections: the images of a source with given attribute values."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool

from jaxdiff.data.attributes import find
from jaxdiff.data.source import Source
from jaxdiff.data.spec import chosen_values
from jaxdiff.data.view import View
from jaxdiff.errors import InputError


def matches(source: Source, wanted: Mapping[str, str]) -> Bool[np.ndarray, " n"]:
    """Whether each element has, for each given attribute, one of the wanted values.

    Arguments:
        source: the elements.
        wanted: the text of the wanted values by attribute; see `jaxdiff.data.spec.chosen_values`.

    Raises:
        InputError: an attribute or a value is unknown.
    """
    kept = np.ones(len(source), bool)
    for name, text in wanted.items():
        column = find(source.attributes, name)
        attribute = source.attributes[column]
        values = chosen_values(text, attribute.values, name)
        kept &= np.isin(source.labels[:, column], [attribute.index(value) for value in values])
    return kept


def select(source: Source, wanted: Mapping[str, str]) -> Source:
    """The elements that `matches` the wanted values.

    Raises:
        InputError: an attribute or a value is unknown, or no element matches.
    """
    kept = matches(source, wanted)
    if not kept.any():
        raise InputError(f"{source.name} has no image with {description(wanted)}")
    return View(source, indices=np.flatnonzero(kept), name=f"{source.name}:{description(wanted)}")


def description(wanted: Mapping[str, str]) -> str:
    """The wanted values as a selection."""
    return "+".join(f"{name}={text}" for name, text in wanted.items())
