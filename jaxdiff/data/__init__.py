"""Data: labelled images from anywhere, their splits, and batches of them."""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily

if TYPE_CHECKING:
    from jaxdiff.data.attributes import Attribute, find
    from jaxdiff.data.describing import describe
    from jaxdiff.data.opening import DataSet, open_data
    from jaxdiff.data.pipeline import batches
    from jaxdiff.data.source import ArraySource, Source, load_arrays, require_two_values, verify

__all__ = [
    "ArraySource",
    "Attribute",
    "DataSet",
    "Source",
    "batches",
    "describe",
    "find",
    "load_arrays",
    "open_data",
    "require_two_values",
    "verify",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "attributes": ("Attribute", "find"),
        "describing": ("describe",),
        "opening": ("DataSet", "open_data"),
        "pipeline": ("batches",),
        "source": ("ArraySource", "Source", "load_arrays", "require_two_values", "verify"),
    },
)
