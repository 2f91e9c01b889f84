"""Formatting of numbers and intervals in reports."""

import math
from collections.abc import Sequence


def number(value: float | None, digits: int = 1) -> str:
    """A number; a dash if it is undefined."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(ends: Sequence[float | None], digits: int = 1) -> str:
    """An interval as [low, high]; a dash if it is undefined."""
    low, high = (number(end, digits) for end in ends)
    return "-" if "-" in (low, high) else f"[{low}, {high}]"
