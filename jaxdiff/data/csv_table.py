"""Tables in CSV, as publishers of data sets, spreadsheets and other programs write them: a header and rows.

Fields are separated by commas, semicolons or tabs. The text is UTF-8 or UTF-16, with or without a byte-order mark. A nameless
first column, in which pandas writes the index, is left out, and so are blank rows.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxdiff.boundary import MOST_TEXT, reading, require_size
from jaxdiff.errors import InputError

_SEPARATORS = ",;\t"
_INDEX = ("", "Unnamed: 0")
"""Names of a first column that is an index, as pandas writes it and as it reads it back."""


@dataclass(frozen=True)
class Layout:
    """How a table is written, so that it can be written again with some cells replaced.

    Attributes:
        text: all of it, without the byte-order mark.
        mark: the byte-order mark; empty without one.
        codec: the encoding of what follows it.
        separator: the character between cells.
        spans: start and end in `text` of each row of the table, without the end of its line.
        index: 1 if the table has a nameless first column, which is left out; otherwise 0.
    """

    text: str
    mark: bytes
    codec: str
    separator: str
    spans: Sequence[tuple[int, int]]
    index: int


@dataclass(frozen=True)
class CsvTable:
    """A table.

    Attributes:
        what: the table in error messages.
        header: the names of the columns.
        rows: the values of each row, all of the header's length, stripped of spaces.
        numbers: the row number of each row in the file as a text editor counts, with the header as 1; the first of several.
        layout: how it is written.
    """

    what: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int]
    layout: Layout

    @staticmethod
    def parse(data: bytes, what: str, *, empty_rows: bool = False) -> "CsvTable":
        """Reads a table.

        Arguments:
            data: the bytes of the file.
            what: the table in error messages.
            empty_rows: keeps rows whose cells are all empty, up to the last one with a value. A blank line among the rows of a
                single column, which may be such a row or none, is an error.

        Raises:
            InputError: the bytes are no table in CSV, column names are empty or repeated, there are no rows below the header,
                or a row has another number of fields.
        """
        with reading(what):
            require_size(len(data), what, most=MOST_TEXT)
            text, mark, codec = _text(data)
            separator, found = _rows(text)
        filled = [i for i, row in enumerate(found) if any(row.cells)]
        if not filled:
            raise InputError(f"{what} is empty; expected a header and rows")
        found = found[filled[0] : filled[-1] + 1]
        if empty_rows and len(found[0].cells) == 1 and (blank := [row.number for row in found if not row.cells]):
            raise InputError(
                f"row {blank[0]} of {what} is blank: write NaN if its value is missing, and otherwise remove the line"
            )
        found = [row for row in found if any(row.cells) or (empty_rows and row.cells)]
        header = found[0].cells
        index = int(len(header) > 1 and header[0] in _INDEX)
        names = header[index:]
        if "" in names or len(set(names)) != len(names):
            raise InputError(
                f"{what} must have distinct, non-empty column names; row {found[0].number} has {', '.join(header)}"
            )
        if len(found) == 1:
            raise InputError(f"{what} has no rows below the header")
        for row in found[1:]:
            if len(row.cells) != len(header):
                raise InputError(
                    f"row {row.number} of {what} has {len(row.cells)} fields; expected {len(header)}: {', '.join(header)}"
                )
        rows = found[1:]
        layout = Layout(text, mark, codec, separator, [row.span for row in rows], index)
        return CsvTable(what, names, [row.cells[index:] for row in rows], [row.number for row in rows], layout)

    def column(self, name: str) -> list[str]:
        """The values of a column. Raises `InputError` if there is none of this name."""
        if name not in self.header:
            raise InputError(f"{self.what} has no column {name!r}; row 1 has {', '.join(self.header)}")
        position = self.header.index(name)
        return [row[position] for row in self.rows]


@dataclass(frozen=True)
class _Row:
    """A row of a file: its number, its cells, and its start and end in the text."""

    number: int
    cells: Sequence[str]
    span: tuple[int, int]


_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
"""Byte-order marks and the encodings of the text after them."""


def _text(table: bytes) -> tuple[str, bytes, str]:
    """The text of a table, in UTF-8, or in UTF-16 if it begins with its byte-order mark; the mark and the encoding."""
    mark = next((each for each in _MARKS if table.startswith(each)), b"")
    codec = _MARKS.get(mark, "utf-8")
    try:
        text = table[len(mark) :].decode(codec)
    except UnicodeDecodeError as error:
        if mark:
            raise
        row = table[: error.start].count(b"\n") + 1
        raise ValueError(f"row {row} is not UTF-8; save it as UTF-8, or as UTF-16 with a byte-order mark") from error
    if "\0" in text:
        raise ValueError("it has NUL characters, as no CSV table has")
    return text, mark, codec


def _rows(text: str) -> tuple[str, list[_Row]]:
    """The separator and the rows, also blank ones. The separator is the one that the first row has most often outside of
    quotes, unless the first row is `sep=` and it, as some spreadsheets write."""
    line = re.search(r"[^\r\n]+", text)
    first = line.group() if line else ""
    named = first.strip().removeprefix("sep=") if first.startswith("sep=") else ""
    separator = named if len(named) == 1 else max(_SEPARATORS, key=re.sub('"[^"]*"', "", first).count)
    start = line.end() if line and len(named) == 1 else 0  # the rest of the line `sep=` counts as a blank row
    before = len(re.findall(r"\r\n|\r|\n", text[:start]))
    lines = _Lines(text, start)
    reader = csv.reader(lines, strict=True, delimiter=separator)
    rows, begin, number = [], start, before + 1
    for row in reader:
        end = lines.position - (len(lines.last) - len(lines.last.rstrip("\r\n")))
        rows.append(_Row(number, [cell.strip() for cell in row], (begin, max(begin, end))))
        begin, number = lines.position, before + reader.line_num + 1
    return separator, rows


class _Lines:
    """The lines of a text from a position on, with their ends; `position` is the end of the `last` one."""

    def __init__(self, text: str, start: int):
        self._lines, self.position, self.last = io.StringIO(text[start:], newline=""), start, ""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.last = line
            self.position += len(line)
            yield line
