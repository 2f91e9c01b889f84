"""Import and export of models of other libraries: names, layouts and conventions."""

from jaxdiff.interop.reading import is_text_to_image, load, load_text_to_image, outline
from jaxdiff.interop.saving import save

__all__ = ["is_text_to_image", "load", "load_text_to_image", "outline", "save"]
