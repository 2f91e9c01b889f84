"""Data: labelled images from anywhere, their splits, and batches of them."""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily

if TYPE_CHECKING:
    from jaxdiff.data.attributes import Attribute, find
    from jaxdiff.data.describing import describe
    from jaxdiff.data.opening import names_values, open_data, open_with
    from jaxdiff.data.pipeline import batches
    from jaxdiff.data.source import ArraySource, Source, load_arrays, require_two_values, verify

__all__ = [
    "ArraySource",
    "Attribute",
    "Source",
    "batches",
    "describe",
    "find",
    "load_arrays",
    "names_values",
    "open_data",
    "open_with",
    "require_two_values",
    "verify",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "attributes": ("Attribute", "find"),
        "describing": ("describe",),
        "opening": ("names_values", "open_data", "open_with"),
        "pipeline": ("batches",),
        "source": ("ArraySource", "Source", "load_arrays", "require_two_values", "verify"),
    },
)
