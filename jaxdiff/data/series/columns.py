"""Writing columns of numbers, texts and times as a new table."""

import csv
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from jaxdiff.data.series.steps import time_text
from jaxdiff.errors import InputError
from jaxdiff.writing import whole

SUFFIXES = (".csv", ".parquet")
"""The suffixes of files that are written."""


def write_columns(
    path: str | PathLike[str], columns: Mapping[str, Shaped[np.ndarray, " n"] | Sequence[str]], *, decimal: str = "."
) -> None:
    """Writes a table of columns by name, whole or not at all.

    Numbers are written with as many digits as restore them exactly, NaN as an empty cell (null in parquet), and times as ISO
    8601, or in parquet as timestamps.

    Arguments:
        path: the file, which ends in .csv or .parquet.
        columns: numbers, `datetime64` or texts, all of one length.
        decimal: the decimal separator of a CSV file; with a comma, cells are separated by semicolons.

    Raises:
        InputError: the suffix is another, or the file cannot be written.
    """
    require_suffix(path)
    with whole(path) as partial:
        if Path(path).suffix.lower() == ".parquet":
            _parquet(partial, columns)
            return
        with open(partial, "w", newline="", encoding="utf-8") as opened:
            writer = csv.writer(opened, delimiter=";" if decimal == "," else ",", lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(zip(*(_texts(values, decimal) for values in columns.values()), strict=True))


def require_suffix(path: str | PathLike[str], what: str = "`path`") -> None:
    """Raises `InputError` for a file of another suffix than `SUFFIXES`, or of parquet without pyarrow; `what` names it."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{what} must end in {' or '.join(SUFFIXES)}, got {str(path)!r}")
    if suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise InputError(f"{path} is a parquet file, which needs pyarrow: pip install pyarrow") from error


def _parquet(path: Path, columns: Mapping[str, Shaped[np.ndarray, " n"] | Sequence[str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    made = {
        name: pa.array(values, from_pandas=True) if isinstance(values, np.ndarray) else pa.array(list(values), pa.string())
        for name, values in columns.items()
    }
    pyarrow.parquet.write_table(pa.table(made), path)


def _texts(values: Shaped[np.ndarray, " n"] | Sequence[str], decimal: str) -> Sequence[str]:
    if not isinstance(values, np.ndarray) or values.dtype.kind in "OSU":
        return [str(each) for each in values]
    if values.dtype.kind == "M":
        days = bool((values == values.astype("datetime64[D]")).all())
        return [time_text(each, clock=not days) for each in values]
    if values.dtype.kind in "iu":
        return [str(each) for each in values.tolist()]
    return ["" if each != each else repr(each).replace(".", decimal) for each in values.tolist()]
