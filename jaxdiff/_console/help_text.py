"""Help text from docstrings: wrapped to the terminal, one blank line between paragraphs, commands that can be pasted."""

import ast
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

_WIDEST = 100
_TABLE_INDENT = 23  # of `jaxdiff.choices.table`


@cache
def docstrings(cls: type) -> Mapping[str, str]:
    """The docstrings of the fields of a dataclass, each on one line, including inherited fields."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if not is_dataclass(each):
            continue
        definition = _classes(sys.modules[each.__module__].__file__)[each.__name__]
        for above, below in pairwise(definition.body):
            match above, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


@cache
def _classes(file: str) -> Mapping[str, ast.ClassDef]:
    """The classes that a file defines, by name."""
    return {each.name: each for each in ast.parse(Path(file).read_text("utf-8")).body if isinstance(each, ast.ClassDef)}


def wrapped(about: str, *tables: str) -> str:
    """Wraps help text to the width of the terminal, at most 100 columns.

    Arguments:
        about: paragraphs, and commands indented by two columns whose further lines are indented more. A command of several
            lines is broken before its options, with backslashes.
        tables: tables of choices, see `jaxdiff.choices.table`.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    parts = [_paragraph(each, width) for each in re.split(r"\n\n+", about.strip())]
    for table in tables:
        rows = [textwrap.fill(row, width, subsequent_indent=" " * _TABLE_INDENT) for row in table.splitlines()]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def _paragraph(text: str, width: int) -> str:
    line = " ".join(text.split())
    if not text.startswith("  "):
        return textwrap.fill(line, width, break_on_hyphens=False, break_long_words=False)
    options = re.sub(" (?!--)", "\0", line)  # spaces that a line may not end at
    lines = textwrap.wrap(options, width - 4, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)
    return textwrap.indent(" \\\n".join(lines), "  ").replace("\0", " ")
