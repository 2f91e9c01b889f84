"""A data set in words, as it was understood."""

import numpy as np

from jaxdiff.data.source import Source

MOST_SHOWN = 8
"""The number of values of an attribute that are listed; further ones are counted."""


def describe(source: Source) -> str:
    """What was understood of a data set, so that a person can see a mistake: a line with the number of its images, their size
    and channels, and the number of images of each value of each attribute; then a line for each of its notes.

    Decodes the first image; the size and channels are its own, which the other images of a folder need not have.
    """
    total = f" of {source.whole:,}" if source.whole != len(source) else ""
    parts = [f"{len(source):,}{total} {source.noun}"]
    if len(source):
        parts.append(source.form())
    if source.layout:
        parts.append(f"read as {source.layout}")
    for attribute, column in zip(source.attributes, source.labels.T, strict=True):
        counts = np.bincount(column, minlength=len(attribute.values))
        shown = [f"{value} {count:,}" for value, count in zip(attribute.values, counts, strict=True)]
        more = f" and {len(shown) - MOST_SHOWN} more values" if len(shown) > MOST_SHOWN else ""
        parts.append(f"{attribute.name}: {', '.join(shown[:MOST_SHOWN])}{more}")
    return "\n".join([f"{source.name}: {'; '.join(parts)}", *(f"  {note}" for note in source.notes)])
