"""Arguments that several programs take."""

from collections.abc import Sequence

from jaxdiff.errors import InputError


def image_size(given: str | None) -> tuple[int, int] | None:
    """Parses `--size`, a number of pixels or HEIGHTxWIDTH, to (height, width); None if not given."""
    if given is None:
        return None
    sides = given.split("x")
    if not (1 <= len(sides) <= 2 and all(side.isdecimal() and int(side) for side in sides)):
        raise InputError(f"--size takes a number of pixels, or HEIGHTxWIDTH as in 24x40, got {given!r}")
    return int(sides[0]), int(sides[-1])


def value_names(given: Sequence[str]) -> dict[str, tuple[str, ...]] | None:
    """Parses `--value-names`, each ATTRIBUTE=NAME,NAME,...; None if not given."""
    parsed = {}
    for item in given:
        attribute, equals, values = item.partition("=")
        if not equals or not values:
            raise InputError(f"--value-names takes ATTRIBUTE=NAME,NAME,..., got {item!r}")
        parsed[attribute] = tuple(values.split(","))
    return parsed or None
