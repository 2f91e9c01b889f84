"""Tables in CSV, as publishers of data sets, spreadsheets and other programs write them: a header, and a row for each image.

Fields are separated by commas, semicolons or tabs. The text is UTF-8 or UTF-16, with or without a byte-order mark. A nameless
first column, in which pandas writes the index, is left out, and so are blank rows.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from jaxdiff.boundary import MOST_TEXT, reading, require_size
from jaxdiff.errors import InputError

_SEPARATORS = ",;\t"
_INDEX = ("", "Unnamed: 0")
"""Names of a first column that is an index, as pandas writes it and as it reads it back."""


@dataclass(frozen=True)
class CsvTable:
    """A table.

    Attributes:
        what: the table in error messages.
        header: the names of the columns.
        rows: the values of each row, all of the header's length, stripped of spaces.
        numbers: the row number of each row in the file, with the header as 1.
    """

    what: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int]

    @staticmethod
    def parse(data: bytes, what: str) -> "CsvTable":
        """Reads a table.

        Raises:
            InputError: the bytes are no table in CSV, column names are empty or repeated, there are no rows below the header,
                or a row has another number of fields.
        """
        with reading(what):
            require_size(len(data), what, most=MOST_TEXT)
            found = _rows(_text(data))
        if not found:
            raise InputError(f"{what} is empty; expected a header and rows")
        header = found[0][1]
        index = int(len(header) > 1 and header[0] in _INDEX)
        names = header[index:]
        if "" in names or len(set(names)) != len(names):
            raise InputError(f"{what} must have distinct, non-empty column names; row 1 has {', '.join(header)}")
        if len(found) == 1:
            raise InputError(f"{what} has no rows below the header")
        for number, row in found[1:]:
            if len(row) != len(header):
                raise InputError(f"row {number} of {what} has {len(row)} fields; expected {len(header)}: {', '.join(header)}")
        return CsvTable(what, names, [row[index:] for _, row in found[1:]], [number for number, _ in found[1:]])

    def column(self, name: str) -> list[str]:
        """The values of a column. Raises `InputError` if there is none of this name."""
        if name not in self.header:
            raise InputError(f"{self.what} has no column {name!r}; row 1 has {', '.join(self.header)}")
        position = self.header.index(name)
        return [row[position] for row in self.rows]


def _text(table: bytes) -> str:
    """The text of a table, in UTF-8, or in UTF-16 if it begins with its byte-order mark."""
    text = table.decode("utf-16" if table[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    if "\0" in text:
        raise ValueError("it has NUL characters, as no CSV table has")
    return text


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, with their numbers. The separator is the one that the first row has most often outside of
    quotes, unless the first row is `sep=` and it, as some spreadsheets write."""
    line = re.search(r"[^\r\n]+", text)
    first = line.group() if line else ""
    named = first.strip().removeprefix("sep=") if first.startswith("sep=") else ""
    separator = named if len(named) == 1 else max(_SEPARATORS, key=re.sub('"[^"]*"', "", first).count)
    body = text[len(first) :] if len(named) == 1 else text  # the rest of the line `sep=` counts as a blank row
    reader = csv.reader(io.StringIO(body, newline=""), strict=True, delimiter=separator)
    rows = ((number, [cell.strip() for cell in row]) for number, row in enumerate(reader, start=1))
    return [(number, row) for number, row in rows if any(row)]
