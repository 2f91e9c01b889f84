"""Options of `jaxdiff cache`."""

import math
from dataclasses import dataclass
from typing import Literal

from jaxdiff.errors import InputError

Kind = Literal["programs", "images"]


@dataclass(frozen=True, kw_only=True)
class List:
    """Lists the cached files: one line for each set of images, and one for all compiled programs of a machine."""


@dataclass(frozen=True, kw_only=True)
class Clear:
    """Removes the cached files. Nothing is lost: a later run compiles or decodes again, and caches again.

    Examples:

      jaxdiff cache clear

      jaxdiff cache clear --kind images --unused-days 7
    """

    kind: Kind | None = None
    """The kind of files to remove; by default all."""
    unused_days: float = 0.0
    """Remove only files that were not used for this many days."""

    def __post_init__(self) -> None:
        if not 0 <= self.unused_days < math.inf:
            raise InputError(f"--unused-days must be a number of days, 0 or more, got {self.unused_days}")
