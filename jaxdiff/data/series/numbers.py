"""Numbers in the cells of a table.

A number has digits, at most one decimal point or comma, and an exponent or none: `12`, `-1.5`, `,5`, `2e-3`. Separators of
thousands, units and digits of other scripts are no part of a number. A missing value is one of `MISSING`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jaxdiff.bounds import shortened
from jaxdiff.data import columns
from jaxdiff.errors import InputError

MISSING = columns.MISSING | {"-nan", "-NaN", "NAN", "<NA>", "n/a", "na", "none", "?"}
"""The texts of missing numbers: those of labels, and what C, pandas and published tables write."""
POINT, COMMA = ".", ","
"""The two decimal separators."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_PLAIN = re.compile(r"[0-9+\-.eE\n]*")
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?")
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+")


@dataclass(frozen=True)
class Column:
    """Numbers of a column, or why it has others.

    Attributes:
        values: NaN where missing and where a cell is no number.
        count: how many cells are numbers.
        other: the position of the first cell that is neither a number nor missing; None without one.
        infinite: the position of the first infinite number; None without one.
    """

    values: Float[np.ndarray, " t"]
    count: int
    other: int | None
    infinite: int | None


def parsed(cells: Sequence[str], decimal: str) -> Column:
    """The numbers in the cells of a column.

    Arguments:
        cells: texts without spaces around them.
        decimal: the decimal separator, `POINT` or `COMMA`.
    """
    present = [i for i, cell in enumerate(cells) if cell not in MISSING]
    texts = [cells[i] for i in present]
    if decimal == COMMA:
        texts = [cell.replace(",", ".") if "." not in cell else f"{cell}." for cell in texts]  # 1.5 is no number
    values = np.full(len(cells), np.nan)
    numbers = _all_numbers(texts)
    other = infinite = None
    if numbers is None:
        numbers = [float(text) if _NUMBER.fullmatch(text) else math.nan for text in texts]
        unread = [i for i, number in enumerate(numbers) if number != number]
        infinite = next((i for i in unread if _INFINITE.fullmatch(texts[i])), None)
        other = next((i for i in unread if not _INFINITE.fullmatch(texts[i])), None)
    values[present] = numbers
    huge = next((i for i, number in enumerate(numbers) if math.isinf(number)), None)  # 1e999
    infinite = min((i for i in (infinite, huge) if i is not None), default=None)
    count = sum(number == number for number in numbers)
    return Column(values, count, *(None if i is None else present[i] for i in (other, infinite)))


def is_number(text: str) -> bool:
    """Whether a text is a number with a decimal point or none."""
    return _NUMBER.fullmatch(text) is not None


def decimal_separator(columns: Mapping[str, Sequence[str]], rows: Sequence[int], what: str) -> str:
    """The decimal separator of a table.

    It is a comma if cells are numbers with a decimal comma and none has a decimal point.

    Arguments:
        columns: the cells of columns that may be of numbers, by name.
        rows: the row numbers of the cells.
        what: the table in error messages.

    Raises:
        InputError: some numbers have a comma and some a point, or all that have a comma may have it between thousands.
    """
    if not any("," in "".join(cells) for cells in columns.values()):
        return POINT
    comma = point = certain = None
    found = ((name, row, cell) for name, cells in columns.items() for row, cell in zip(rows, cells, strict=True))
    for column, row, cell in found:
        if "," in cell and _COMMA.fullmatch(cell):
            comma = comma or (column, row, cell)
            certain = certain or not _GROUPED.fullmatch(cell)
        elif "." in cell and point is None and _NUMBER.fullmatch(cell):
            point = (column, row, cell)
    if comma is None:
        return POINT
    place = f"row {comma[1]} of {what} has {shortened(comma[2])} in column {comma[0]!r}"
    if point is not None:
        raise InputError(
            f"{place}, and row {point[1]} has {shortened(point[2])} in column {point[0]!r}: numbers of one table must have one "
            "decimal separator, and none between thousands"
        )
    if not certain:
        as_comma, as_point = comma[2].replace(",", "."), comma[2].replace(",", "")
        raise InputError(
            f"{place}, which is {as_comma} with a decimal comma and {as_point} with commas between thousands; give `decimal=,` "
            "if it is the first, and otherwise write numbers without these commas"
        )
    return COMMA


def _all_numbers(texts: Sequence[str]) -> list[float] | None:
    """The numbers, if all texts are; None otherwise."""
    if not _PLAIN.fullmatch("\n".join(texts)):
        return None
    try:
        return list(map(float, texts))
    except ValueError:
        return None
