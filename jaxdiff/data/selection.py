"""Selections: the images of a source whose attributes have given values."""

import re

import numpy as np

from jaxdiff.data.attributes import find
from jaxdiff.data.source import Source
from jaxdiff.data.view import View
from jaxdiff.errors import InputError

_PART = r"[^=:+?&/,]+=[^=:+?&/,]+(?:,[^=:+?&/,]+)*"
_SELECTION = re.compile(rf"(?P<spec>.+):(?P<parts>{_PART}(?:\+{_PART})*)")


def split_spec(spec: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """A data set's name without its selection, and the values that are selected of each attribute.

    `embedded:glasses=yes` has the images with glasses, `~/utkface:race=Asian,Indian+young=yes` those that are both young and of
    either race.
    """
    found = _SELECTION.fullmatch(spec)
    if found is None:
        return spec, {}
    parts = (part.partition("=") for part in found["parts"].split("+"))
    return found["spec"], {attribute: tuple(values.split(",")) for attribute, _, values in parts}


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
