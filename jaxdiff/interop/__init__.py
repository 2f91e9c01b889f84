"""Import and export of models of other libraries: names, layouts and conventions."""

from jaxdiff.interop.folder import save
from jaxdiff.interop.reading import load

__all__ = ["load", "save"]
