"""Arguments that several programs take."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from jaxdiff.bounds import check_bounds, shortened
from jaxdiff.data.spec import split_escaped, unescaped
from jaxdiff.errors import InputError

if TYPE_CHECKING:
    from jaxdiff.data.columns import ValueNames


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
        if message == str(error):
            raise
        raise type(error)(message) from error


@dataclass(frozen=True)
class CheckedOptions:
    """Base class of options: checks their numbers, whose bounds are part of their types, see `jaxdiff.bounds`."""

    def __post_init__(self):
        with named_as_typed(self):
            check_bounds(self)


def image_size(given: str | None, option: str = "--size") -> tuple[int, int] | None:
    """Parses `--size`, or another `option`, a number of pixels or HEIGHTxWIDTH, to (height, width); None if not given."""
    if given is None:
        return None
    sides = given.split("x")
    if not (1 <= len(sides) <= 2 and all(side.isdecimal() and len(side) <= 5 and int(side) for side in sides)):
        raise InputError(
            f"{option} takes a number of pixels of at most five digits, or HEIGHTxWIDTH as in 24x40, got {shortened(given)}"
        )
    return int(sides[0]), int(sides[-1])


def value_names(given: Sequence[str]) -> dict[str, "ValueNames"] | None:
    """Parses `--value-names`, each ATTRIBUTE=NAME,... for the codes 0, 1, ... or ATTRIBUTE=CODE:NAME,...; None if not given.

    A backslash before a comma or a colon makes it part of a name.
    """
    parsed: dict[str, ValueNames] = {}
    for item in given:
        attribute, equals, values = item.partition("=")
        if not equals or not values:
            raise InputError(f"--value-names takes ATTRIBUTE=NAME,NAME,... or ATTRIBUTE=CODE:NAME,..., got {item!r}")
        if attribute in parsed:
            raise InputError(f"--value-names takes each attribute once, got {attribute!r} twice")
        parsed[attribute] = _names(item, split_escaped(values, ","))
    return parsed or None


def _names(item: str, parts: Sequence[str]) -> "ValueNames":
    """The names of an attribute's values, by code if each has one."""
    pairs = [split_escaped(part, ":") for part in parts]
    if all(len(pair) == 1 for pair in pairs):
        return tuple(unescaped(pair[0]) for pair in pairs)
    if not all(len(pair) == 2 for pair in pairs):
        raise InputError(
            f"--value-names takes one code for every name or for none, got {item!r}; write \\: for a colon within a name"
        )
    by_code = {unescaped(code): unescaped(name) for code, name in pairs}
    if len(by_code) < len(pairs):
        raise InputError(f"--value-names takes each code once, got {item!r}")
    return by_code
