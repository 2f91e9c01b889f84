"""Concepts as phrases, from the command line or from text files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxdiff.boundary import read_text, reading
from jaxdiff.errors import InputError

SUFFIX = ".txt"
MOST = 10_000
"""Phrases that are taken at most."""


def read(items: Sequence[str]) -> tuple[str, ...]:
    """The different phrases, in their order, without the white space around them.

    Arguments:
        items: phrases; an item that ends with .txt is a text file with a phrase on each line. Empty phrases and lines are left
            out, so that there may be none.

    Raises:
        InputError: a file is missing or damaged, or there are too many phrases.
    """
    phrases = tuple(dict.fromkeys(phrase for item in items for phrase in _phrases(item) if phrase))
    if len(phrases) > MOST:
        raise InputError(f"there are {len(phrases):,} concepts; at most {MOST:,} are taken")
    return phrases


def _phrases(item: str) -> Iterable[str]:
    if not item.lower().endswith(SUFFIX):
        return (item.strip(),)
    file = Path(item).expanduser()
    with reading(file):
        return [line.strip() for line in read_text(file).splitlines()]
