"""Docstrings are plain text with Google's sections and names in backticks: this makes reStructuredText of them.

Five things differ: asterisks and bars are signs of mathematics and no markup, a formula is a paragraph that is indented, the
section of attributes may be called Fields, several results may each have a name, and a class that only says "See `function`" is
documented there.
"""

import itertools
import re

from sphinx.application import Sphinx

_CODE = re.compile(r"`[^`]*`")
_SECTION = re.compile(r"(Arguments|Attributes|Examples?|Fields|Raises|Returns|Yields):$")
_NAMED = re.compile(r" {4}[\w, ]+: ")
_ARRAY = re.compile(r"\bjaxlib\._jax\.Array\b|\bjax\.Array\b")


def _escaped(line: str) -> str:
    """A line whose text outside of backticks is no markup."""
    parts, end = [], 0
    for code in _CODE.finditer(line):
        parts += [re.sub(r"([*|]|_(?=\W|$))", r"\\\1", line[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, re.sub(r"([*|]|_(?=\W|$))", r"\\\1", line[end:])])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _returns(after: list[str]) -> str:
    """The title of a section on what is returned, by the lines after it: each of several results has a name."""
    named = [line for line in itertools.takewhile(lambda line: line.startswith(" "), after) if _NAMED.match(line)]
    return "Returns:" if len(named) < 2 else "Results:"


def docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Rewrites a docstring before napoleon reads its sections."""
    written, formula, section = [], False, False
    for i, line in enumerate(lines):
        before = next((other for other in reversed(lines[:i]) if other.strip()), "")
        if line.strip() and not section and not formula and i and not lines[i - 1].strip() and _indent(line) > _indent(before):
            formula = True
            written += ["::", ""]
        elif line.strip() and formula and not _indent(line):
            formula = False
        section = section or bool(_SECTION.match(line))
        title = {"Fields:": "Attributes:", "Returns:": _returns(lines[i + 1 :])}.get(line, line)
        written.append(title if formula else _escaped(title))
    lines[:] = written


def signature(app, what, name, obj, options, arguments, returned):
    """Shortens the names of arrays and types."""
    short = lambda text: _ARRAY.sub("Array", text).replace("~typing.", "").replace("<factory>", "...")  # noqa: E731
    return tuple(text and short(text) for text in (arguments, returned))


def skip(app, what, name, obj, skipped, options):
    """Leaves out classes that only refer to the function that makes them, and fields of tuples, which their class describes."""
    said = getattr(obj, "__doc__", None) or ""
    return True if said.startswith(("See `", "Alias for field number")) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the three."""
    app.connect("autodoc-process-docstring", docstring, priority=400)
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
