"""Data: labelled images from anywhere, their splits, and batches of them."""

from jaxdiff.data.attributes import Attribute, find
from jaxdiff.data.opening import open_data
from jaxdiff.data.pipeline import batches
from jaxdiff.data.source import ArraySource, Source, load_arrays, require_two_values, verify

__all__ = [
    "ArraySource",
    "Attribute",
    "Source",
    "batches",
    "find",
    "load_arrays",
    "open_data",
    "require_two_values",
    "verify",
]
