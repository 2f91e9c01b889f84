"""Parses the specification of a data set with an optional selection."""

import re

_PART = r"[^=:+?&/,]+=[^=:+?&/,]+(?:,[^=:+?&/,]+)*"
_SELECTION = re.compile(rf"(?P<spec>.+):(?P<parts>{_PART}(?:\+{_PART})*)")


def split_spec(spec: str) -> tuple[str, dict[str, tuple[str, ...]]]:
    """A data set's name without its selection, and the selected values of each attribute.

    `embedded:glasses=yes` selects the images with glasses, `~/utkface:race=Asian,Indian+young=yes` the images that are young
    and of either race.
    """
    found = _SELECTION.fullmatch(spec)
    if found is None:
        return spec, {}
    parts = (part.partition("=") for part in found["parts"].split("+"))
    return found["spec"], {attribute: tuple(values.split(",")) for attribute, _, values in parts}
