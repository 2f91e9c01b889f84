"""Models of other programs as models of jaxdiff, and the other way: names, layouts and conventions."""

from jaxdiff.interop.folder import load, save
from jaxdiff.interop.guided import load as load_guided

__all__ = ["load", "load_guided", "save"]
