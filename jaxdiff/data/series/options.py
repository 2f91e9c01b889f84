"""How a table of series is read: the options after the `?` of its name."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from jaxdiff.data.spec import split_escaped, unescaped
from jaxdiff.errors import InputError

KINDS = {"csv": (".csv", ".tsv", ".txt"), "parquet": (".parquet", ".pq")}
"""The kinds of tables, and the suffixes of their files in lower case."""
MOST_WINDOW = 10**6
"""The most rows of a window."""


@dataclass(frozen=True)
class TableOptions:
    """How a table is read.

    Attributes:
        time: the column of times; None takes the only column of dates, if there is one, and "" none.
        time_format: the format of times, as of Python's `strptime`; see `jaxdiff.data.series.times`.
        columns: the columns of values, in this order; None takes all columns of numbers.
        group: the column that tells several series in one table apart; None for one series.
        label: columns of classes, which become attributes.
        gaps: "split": rows that do not follow one another at the usual step are never in one window; "ignore": they are.
        decimal: the decimal separator of a CSV file, a point or a comma; None finds it.
        window: rows of a window.
        stride: rows from the start of a window to the start of the next.
    """

    time: str | None = None
    time_format: str | None = None
    columns: tuple[str, ...] | None = None
    group: str | None = None
    label: tuple[str, ...] = ()
    gaps: str = "split"
    decimal: str | None = None
    window: int = 24
    stride: int = 1

    def __post_init__(self):
        if self.gaps not in ("split", "ignore"):
            raise InputError(f"`gaps` must be split or ignore, got {self.gaps!r}")
        if self.decimal not in (None, ".", ","):
            raise InputError(f"`decimal` must be a point or a comma, got {self.decimal!r}")
        for field in ("window", "stride"):
            number = getattr(self, field)
            if not 1 <= number <= MOST_WINDOW:
                raise InputError(f"`{field}` must be a whole number of rows from 1 to {MOST_WINDOW:,}, got {number}")
        for field in ("columns", "label"):
            names = getattr(self, field) or ()
            if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
                raise InputError(f"`{field}` has {twice!r} twice; a column may be named once")
        if self.columns is not None and not self.columns:
            raise InputError("`columns` must name at least one column")
        chosen = {"time": [self.time] if self.time else [], "group": [self.group] if self.group else [], "label": self.label}
        for field, names in chosen.items():
            if both := next((name for name in names if name in (self.columns or ())), None):
                raise InputError(f"column {both!r} is named by `{field}` and among `columns`; it can be one of them")

    def changed(self, **options: Any) -> "TableOptions":
        """These options with others in their place; None keeps an option."""
        return replace(self, **{name: value for name, value in options.items() if value is not None})


def split_options(spec: str) -> tuple[str, str, dict[str, str]]:
    """The kind of a table or of generated series, its path (empty of generated series), and the text of its options.

    Names are `csv:PATH`, `parquet:PATH`, a path with a suffix of `KINDS`, or the name of generated series, each followed by `?`
    and options joined by `&` or not. A backslash makes the next character part of a name or value.

    Raises:
        InputError: an option is not of the form `name=value`, or given twice.
    """
    path, mark, rest = spec, "", ""
    if not Path(_path(spec)).expanduser().exists():  # the name of a file may have a question mark
        path, mark, rest = spec.rpartition("?") if "?" in spec else (spec, "", "")
    kind, colon, _ = path.partition(":")
    if colon and kind in KINDS:
        return kind, _path(path), _options(rest, spec) if mark else {}
    suffix = Path(path).suffix.lower()
    found = next((kind for kind, suffixes in KINDS.items() if suffix in suffixes), "")
    return found or path, path if found else "", _options(rest, spec) if mark else {}


def table_options(given: Mapping[str, str], spec: str) -> TableOptions:
    """The options of a table in their texts, see `split_options`.

    Raises:
        InputError: an option is unknown, or its value is invalid.
    """
    known = [field.name for field in fields(TableOptions)]
    options: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise InputError(f"unknown option {name!r} of {spec!r}; it takes {', '.join(known)}")
        if name in ("columns", "label"):
            options[name] = tuple(unescaped(part) for part in split_escaped(value, ","))
        elif name in ("window", "stride"):
            options[name] = whole_number(name, value)
        else:
            options[name] = unescaped(value)
    return TableOptions(**options)


def whole_number(name: str, text: str) -> int:
    """The whole number that is the value of an option. Raises `InputError` for any other text."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InputError(f"`{name}` must be a whole number, got {text!r}")
    return int(text)


def _path(spec: str) -> str:
    """A table's path: its name without the kind before it."""
    kind, colon, path = spec.partition(":")
    return path if colon and kind in KINDS else spec


def _options(text: str, spec: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in split_escaped(text, "&"):
        name, equals, value = part.partition("=")
        if not equals:
            raise InputError(f"{part!r} of {spec!r} is no option; options are like window=24&stride=1")
        if name in options:
            raise InputError(f"{spec!r} has the option {name!r} twice")
        options[name] = value
    return options
