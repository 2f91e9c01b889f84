"""Options of `jaxdiff cache`."""

from dataclasses import dataclass
from typing import Literal

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff.bounds import NonNegative

Kind = Literal["programs", "images"]


@dataclass(frozen=True, kw_only=True)
class List:
    """Lists the cached files: one line for each set of images, and one for all compiled programs of a machine."""


@dataclass(frozen=True, kw_only=True)
class Clear(CheckedOptions):
    """Removes the cached files. Nothing is lost: a later run compiles or decodes again, and caches again.

    Examples:

      jaxdiff cache clear

      jaxdiff cache clear --kind images --unused-days 7
    """

    kind: Kind | None = None
    """The kind of files to remove; by default all."""
    unused_days: NonNegative = 0.0
    """Remove only files that were not used for this many days."""
