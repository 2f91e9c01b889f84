"""Spaces of data: encode and decode between samples in the user's form and the arrays of the process."""

from typing import Any

from jaxdiff.bounds import check_values, shortened
from jaxdiff.errors import InputError
from jaxdiff.spaces.latents import Latents
from jaxdiff.spaces.pixels import Pixels, rgb
from jaxdiff.spaces.series import Series
from jaxdiff.spaces.space import Space

SPACES: dict[str, type[Space]] = {space.name: space for space in (Pixels, Series)}
"""The kinds of space that a file describes, by name; an autoencoder lies in files of its own, see `Latents`."""


def from_config(config: Any) -> Space:
    """The space described by `Space.config`.

    Raises:
        InputError: the kind is unknown, or its settings are invalid.
    """
    if not isinstance(config, dict):
        raise InputError(f"a space is described by an object, got {shortened(config)}")
    settings = dict(config)
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in SPACES:
        raise InputError(f"unknown space {shortened(name)}; this version of jaxdiff knows {', '.join(SPACES)}")
    check_values(SPACES[name], settings)
    try:
        return SPACES[name].from_settings(settings)
    except TypeError as error:
        raise InputError(f"space {name!r} does not take {settings}: {error}") from error


def require_pixels(space: Space, what: str) -> Pixels:
    """The space, checked to be `Pixels`.

    Arguments:
        space: any space.
        what: the name of the model or set in the error message.

    Raises:
        InputError: it is another space.
    """
    if not isinstance(space, Pixels):
        raise InputError(f"{what} is of {space.shown.array} of shape {space.shown.shape}; this takes one of images, in pixels")
    return space


__all__ = ["SPACES", "Latents", "Pixels", "Series", "Space", "from_config", "require_pixels", "rgb"]
