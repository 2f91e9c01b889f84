"""Import and export of models of other libraries: names, layouts and conventions."""

from jaxdiff.interop.folder import save
from jaxdiff.interop.reading import load, load_text_to_image

__all__ = ["load", "load_text_to_image", "save"]
