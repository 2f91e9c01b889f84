"""The base class of methods that use labels of the attributes of a model that are not chosen."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxdiff.errors import InputError

from ..registry import Method


@dataclass(frozen=True, kw_only=True)
class NeedsOthers(Method):
    """A method for models of several attributes."""

    def others(self, chosen: Any) -> dict[str, int]:
        """The number of values of each attribute that is not chosen, by name. Raises `InputError` if there is none."""
        attributes = chosen.model.conditions.attributes
        found = {each.name: len(each.values) for column, each in enumerate(attributes) if column not in chosen.columns}
        if not found:
            raise InputError(
                f"{self.spelled()} needs a model of other attributes than --attribute {chosen.name}; this one has "
                f"{', '.join(each.name for each in attributes)}"
            )
        return found

    def fits(self, chosen: Any) -> None:
        """Raises `InputError` if its options do not fit the model."""
        self.others(chosen)

    def sets(self, options: Any, chosen: Any) -> Iterator[tuple[Path, Method]]:
        """See `Method.sets`; refuses what does not fit the model before anything is drawn."""
        self.fits(chosen)
        yield from super().sets(options, chosen)
