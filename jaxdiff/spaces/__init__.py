"""Spaces: what a user sees of a model's samples, and what the process runs on."""

from typing import Any

from jaxdiff.errors import InputError
from jaxdiff.spaces.pixels import Pixels, rgb
from jaxdiff.spaces.space import Space

SPACES: dict[str, type[Space]] = {space.name: space for space in (Pixels,)}
"""The kinds of space by name."""


def from_config(config: dict[str, Any]) -> Space:
    """The space that `Space.config` described.

    Raises:
        InputError: an unknown kind, or settings that it does not take.
    """
    settings = dict(config)
    name = settings.pop("name", None)
    if name not in SPACES:
        raise InputError(f"unknown space {name!r}; this version of jaxdiff knows {', '.join(SPACES)}")
    try:
        return SPACES[name](**settings)
    except TypeError as error:
        raise InputError(f"space {name!r} does not take {settings}: {error}") from error


def require_pixels(space: Space, what: str) -> Pixels:
    """The space, where it is one of pixels.

    Arguments:
        space: any.
        what: what the error calls the model or set whose space it is.

    Raises:
        InputError: it is another, of which what is about pixels cannot be said.
    """
    if not isinstance(space, Pixels):
        raise InputError(f"{what} is of {space.shown.array} of shape {space.shown.shape}; this takes one of images, in pixels")
    return space


__all__ = ["SPACES", "Pixels", "Space", "from_config", "require_pixels", "rgb"]
