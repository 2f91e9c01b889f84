"""Selections: the images of a source with given attribute values."""

import numpy as np

from jaxdiff.data.attributes import find
from jaxdiff.data.source import Source
from jaxdiff.data.view import View
from jaxdiff.errors import InputError


def select(source: Source, wanted: dict[str, tuple[str, ...]]) -> Source:
    """The elements of a source that have, for each given attribute, one of the wanted values.

    Raises:
        InputError: an attribute or a value is unknown, or no element matches.
    """
    kept = np.ones(len(source), bool)
    for name, values in wanted.items():
        column = find(source.attributes, name)
        attribute = source.attributes[column]
        kept &= np.isin(source.labels[:, column], [attribute.index(value) for value in values])
    description = "+".join(f"{name}={','.join(values)}" for name, values in wanted.items())
    if not kept.any():
        raise InputError(f"{source.name} has no image with {description}")
    return View(source, indices=np.flatnonzero(kept), name=f"{source.name}:{description}")
