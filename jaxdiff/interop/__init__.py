"""Import and export of models of other libraries: names, layouts and conventions."""

from jaxdiff.interop.folder import load, save
from jaxdiff.interop.guided import load as load_guided

__all__ = ["load", "load_guided", "save"]
