"""Arguments that several programs take."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from jaxdiff.errors import InputError


@contextmanager
def named_as_typed(options: Any, prefix: str = "") -> Generator[None, None, None]:
    """Within, an `InputError` names the fields of `options` as on the command line: --steps, not `steps`.

    Arguments:
        options: the dataclass of the options.
        prefix: what the command line puts before the names of its fields.
    """
    try:
        yield
    except InputError as error:
        message = str(error)
        for field in fields(options):
            message = message.replace(f"`{field.name}`", f"--{prefix}{field.name}".replace("_", "-"))
        raise InputError(message) from error


def image_size(given: str | None, option: str = "--size") -> tuple[int, int] | None:
    """Parses `--size`, or another `option`, a number of pixels or HEIGHTxWIDTH, to (height, width); None if not given."""
    if given is None:
        return None
    sides = given.split("x")
    if not (1 <= len(sides) <= 2 and all(side.isdecimal() and int(side) for side in sides)):
        raise InputError(f"{option} takes a number of pixels, or HEIGHTxWIDTH as in 24x40, got {given!r}")
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
