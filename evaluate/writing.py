"""Output of reports: tables on the terminal, JSON without NaN."""

import json
import math
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
