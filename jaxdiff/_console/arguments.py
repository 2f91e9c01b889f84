"""Arguments that several programs take."""

from collections.abc import Sequence

from jaxdiff.errors import InputError


def value_names(given: Sequence[str]) -> dict[str, tuple[str, ...]] | None:
    """`--value-names`, parsed: ATTRIBUTE=NAME,NAME,... each; None where nothing is given."""
    parsed = {}
    for item in given:
        attribute, equals, values = item.partition("=")
        if not equals or not values:
            raise InputError(f"--value-names takes ATTRIBUTE=NAME,NAME,..., got {item!r}")
        parsed[attribute] = tuple(values.split(","))
    return parsed or None
