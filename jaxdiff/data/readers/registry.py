"""The readers, in the order in which they are tried."""

import importlib

from jaxdiff.data.readers import READER_MODULES
from jaxdiff.data.readers.reader import Reader


def _reader(place: str) -> Reader:
    module, name = place.split(":")
    return getattr(importlib.import_module(f"jaxdiff.data.readers.{module}"), name)()


READERS: tuple[Reader, ...] = tuple(map(_reader, READER_MODULES.values()))
"""One reader for each of `jaxdiff.data.readers.READER_MODULES`."""
