"""Output of reports: tables on the terminal and in Markdown, JSON without NaN."""

import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from jaxdiff.writing import write_text


def print_tables(tables: Iterable[tuple[str, Sequence[str], Iterable[Sequence[str]]]], console: Console) -> None:
    """Prints tables, each a title, a header and rows, narrow enough for 80 columns."""
    for title, header, rows in tables:
        table = Table(
            title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
        )
        for i, name in enumerate(header):
            table.add_column(name, justify="right" if i else "left", overflow="fold", no_wrap=i > 0)
        for row in rows:
            table.add_row(*row)
        console.print(table)


_MARKDOWN = re.compile(r"[\\`|~$]|<(?=[\w/!?])|(?<!\w)\*|\*(?=\w)|&(?=[#\w])|(?<=\])\(|(?<![^\W_])_|_(?![^\W_])")
"""What could be markup: code, emphasis, cells, HTML, formulas, entities and links."""


def markdown(text: str) -> str:
    """A text on one line of Markdown, which shows it as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.splitlines()))


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    """A table in Markdown; its columns after the first are numbers, unless told otherwise."""
    lines = [header, [":--", *["--:" if numbers else ":--"] * (len(header) - 1)]]
    lines += [[markdown(cell) for cell in row] for row in rows]
    lines[0] = [markdown(name) for name in header]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown_code(command: Sequence[str]) -> str:
    """A command as code in Markdown, which a shell would take."""
    text = " ".join(shlex.join(command).splitlines())
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"


def finite(value: Any) -> Any:
    """The value with NaN and infinity replaced by None, for JSON."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, see `jaxdiff.writing.whole`."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
