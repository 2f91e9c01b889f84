"""Selections: the images of a source whose attributes have given values."""

import numpy as np

from jaxdiff.data.attributes import find
from jaxdiff.data.source import Source
from jaxdiff.data.view import View
from jaxdiff.errors import InputError


def select(source: Source, wanted: dict[str, tuple[str, ...]]) -> Source:
    """The elements of a source that have one of the wanted values in every one of these attributes.

    Raises:
        InputError: an unknown attribute or value, or no such element.
    """
    kept = np.ones(len(source), bool)
    for name, values in wanted.items():
        column = find(source.attributes, name)
        attribute = source.attributes[column]
        kept &= np.isin(source.labels[:, column], [attribute.index(value) for value in values])
    told = "+".join(f"{name}={','.join(values)}" for name, values in wanted.items())
    if not kept.any():
        raise InputError(f"{source.name} has no image with {told}")
    return View(source, indices=np.flatnonzero(kept), name=f"{source.name}:{told}")
