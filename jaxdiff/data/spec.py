"""Parses the specification of a data set with an optional selection."""

import re
from collections.abc import Sequence
from pathlib import Path

from jaxdiff.errors import InputError

_NAME = r"(?:\\.|[^\\=:+?&/,])+"
_SELECTION = re.compile(rf":(?P<parts>{_NAME}=.+)", re.DOTALL)
_NEXT = re.compile(rf"\+(?={_NAME}=)")


def split_spec(spec: str) -> tuple[str, dict[str, str]]:
    """A data set's name without its selection, and the text of the wanted values by attribute; see `chosen_values`.

    `embedded:glasses=yes` selects the images with glasses, `~/utkface:race=Asian,Indian+gender=female` the images of women
    and of either race. A backslash makes the next character part of a name or value, for the rare value that would otherwise
    be read as more than one: `a\\,b`.

    Raises:
        InputError: an attribute is selected twice.
    """
    if _exists(spec):
        return spec, {}
    colons = (i for i, character in enumerate(spec) if character == ":" and i and not _is_escaped(spec, i))
    found = [match for i in colons if (match := _SELECTION.fullmatch(spec, i))]
    if not found:
        return spec, {}
    # a value may contain a colon too, so the first colon after a path that exists counts, or else the last
    match = next((each for each in found if _exists(spec[: each.start()])), found[-1])
    return spec[: match.start()], parse_selection(match["parts"])


def parse_selection(text: str) -> dict[str, str]:
    """The text of the wanted values by attribute, of a selection such as `race=Asian+gender=female`; empty if it is none.

    Raises:
        InputError: an attribute is selected twice.
    """
    if not _SELECTION.fullmatch(f":{text}"):
        return {}
    wanted: dict[str, str] = {}
    for part in _parts(text):
        end = next(i for i, character in enumerate(part) if character == "=" and not _is_escaped(part, i))
        name = unescaped(part[:end])
        if name in wanted:
            raise InputError(f"the selection {text!r} has {name!r} twice; join its values with a comma")
        wanted[name] = part[end + 1 :]
    return wanted


def chosen_values(text: str, known: Sequence[str], attribute: str) -> tuple[str, ...]:
    """The values in a text such as `Asian,Indian`, whose parts are joined where only they together are a known value.

    With a known value `Black, African` the text `Black, African,Asian` is two values.

    Arguments:
        text: values separated by commas; a comma after a backslash is part of a value.
        known: the values of the attribute.
        attribute: its name in error messages.

    Raises:
        InputError: the text has a part that is not a known value.
    """
    parts = split_escaped(text, ",")
    # the values of the first i parts, of which the first found has the shortest values
    read: list[tuple[str, ...] | None] = [()] + [None] * len(parts)
    for end in range(1, len(parts) + 1):
        for start in reversed(range(end)):
            before, value = read[start], unescaped(",".join(parts[start:end]))
            if before is not None and value in known:
                read[end] = (*before, value)
                break
    if (values := read[-1]) is None:
        unknown = next((part for part in map(unescaped, parts) if part not in known), text)
        raise InputError(f"attribute {attribute!r} has no value {unknown!r}; it takes one of {', '.join(known)}")
    return values


def split_escaped(text: str, separator: str) -> list[str]:
    """The parts of a text between separators, without those after a backslash; backslashes stay."""
    return re.findall(rf"(?:^|{re.escape(separator)})((?:\\.|[^\\{re.escape(separator)}]|\\$)*)", text, re.DOTALL)


def unescaped(text: str) -> str:
    """The text without the backslashes that escape a character."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a null character, an unknown user
        return False


def _parts(text: str) -> list[str]:
    """The text before each unescaped `+` that begins another attribute."""
    cuts = [match.start() for match in _NEXT.finditer(text) if not _is_escaped(text, match.start())]
    return [text[start:stop] for start, stop in zip([0, *(cut + 1 for cut in cuts)], [*cuts, None], strict=True)]


def _is_escaped(text: str, i: int) -> bool:
    before = text[:i]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
