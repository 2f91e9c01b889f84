"""Tables in CSV, as the publishers of data sets write them: a header, commas, one row for each image."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from jaxdiff.errors import InputError


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
        """Raises `InputError` if the bytes are no UTF-8 CSV table with distinct column names and equally many fields a row."""
        try:
            # skips blank lines, which many programs leave at the end
            reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
            found = [(number, [value.strip() for value in row]) for number, row in enumerate(reader, start=1) if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{what} is not a UTF-8 CSV table: {error}") from error
        if not found:
            raise InputError(f"{what} is empty; expected a header and rows")
        header = found[0][1]
        if len(set(header)) != len(header):
            raise InputError(f"{what} must have distinct column names; row 1 has {', '.join(header)}")
        for number, row in found[1:]:
            if len(row) != len(header):
                raise InputError(f"row {number} of {what} has {len(row)} fields; expected {len(header)}: {', '.join(header)}")
        return CsvTable(what, header, [row for _, row in found[1:]], [number for number, _ in found[1:]])

    def column(self, name: str) -> list[str]:
        """The values of a column. Raises `InputError` if there is none of this name."""
        if name not in self.header:
            raise InputError(f"{self.what} has no column {name!r}; row 1 has {', '.join(self.header)}")
        position = self.header.index(name)
        return [row[position] for row in self.rows]
