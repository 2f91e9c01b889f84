"""Tables of series in parquet, by pyarrow, which is optional."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from jaxdiff.boundary import reading
from jaxdiff.data.readers.arrow import open_parquet, read_columns, text
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class ParquetTable:
    """A table.

    Attributes:
        what: the table in error messages.
        header: the names of the columns.
        content: the `pyarrow.Table`.
    """

    what: str
    header: tuple[str, ...]
    content: Any

    @staticmethod
    def read(path: Path) -> "ParquetTable":
        """Reads a file.

        Raises:
            InputError: pyarrow is not installed, the file is damaged, has no rows, or has columns without or of equal names.
        """
        opened = open_parquet(path, str(path), of_numbers=True)
        content = read_columns(opened, None, str(path))
        header = tuple(content.column_names)
        if "" in header or len(set(header)) != len(header):
            raise InputError(f"{path} must have distinct, non-empty column names; it has {', '.join(header)}")
        if not content.num_rows:
            raise InputError(f"{path} has no rows")
        return ParquetTable(str(path), header, content)

    @property
    def rows(self) -> Sequence[int]:
        """The row numbers, from 1."""
        return range(1, self.content.num_rows + 1)

    def kind(self, name: str) -> str:
        """What a column is of: "numbers", "times", "texts", or the name of another type."""
        import pyarrow.types as types

        kind = self.content.schema.field(name).type
        kind = kind.value_type if types.is_dictionary(kind) else kind
        if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
            return "numbers"
        if types.is_timestamp(kind) or types.is_date(kind):
            return "times"
        if types.is_string(kind) or types.is_large_string(kind):
            return "texts"
        return str(kind)

    def is_label(self, name: str) -> bool:
        """Whether `texts` takes a column."""
        import pyarrow.types as types

        return self.kind(name) in ("numbers", "texts") or types.is_boolean(self.content.schema.field(name).type)

    def texts(self, name: str) -> list[str]:
        """The values of a column of texts, numbers or booleans as text; null as the empty text, booleans as 0 and 1."""
        with reading(self.what):
            values = self.content[name].to_pylist()
            return [repr(each) if isinstance(each, float) else text(_plain(each)).strip() for each in values]

    def numbers(self, name: str) -> Float[np.ndarray, " t"]:
        """The values of a column of numbers, float64; NaN where null."""
        import pyarrow as pa

        with reading(self.what):
            column = self.content[name]
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            return column.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)

    def times(self, name: str) -> tuple[Shaped[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
        """The values of a column of times, datetime64[ns] in UTC if they have a zone, and which of them are null.

        Raises:
            InputError: a time is beyond those of NumPy in nanoseconds.
        """
        import pyarrow as pa

        with reading(self.what):
            column = self.content[name]
            column = column.cast(pa.timestamp("ns", getattr(column.type, "tz", None))).combine_chunks()
            null = np.asarray(column.is_null())
            counted = column.cast(pa.int64()).fill_null(0)
            return np.asarray(counted).astype("datetime64[ns]"), null

    def filled(self, columns: Mapping[str, tuple[Bool[np.ndarray, " t"], Float[np.ndarray, " t"]]]) -> Any:
        """The `pyarrow.Table` with some values of columns of numbers replaced; all others are as they are, to the bit.

        A column of whole numbers or decimals in which values are replaced becomes one of float64.

        Arguments:
            columns: by name of a column, which values are replaced, and the values by which they are.
        """
        import pyarrow as pa

        table = self.content
        for name, (where, values) in columns.items():
            if not where.any():
                continue
            position = table.column_names.index(name)
            field = table.schema.field(position)
            kind = field.type if pa.types.is_floating(field.type) and field.type != pa.float16() else pa.float64()
            column = (
                table[name].combine_chunks() if field.type == kind else pa.array(self.numbers(name), kind, from_pandas=True)
            )
            replaced = pa.compute.if_else(pa.array(where), pa.array(values, pa.float64()).cast(kind), column)
            table = table.set_column(position, pa.field(name, kind, metadata=field.metadata), replaced)
        return table.replace_schema_metadata(self.content.schema.metadata)


def _plain(value: Any) -> str | int | None:
    """A value as a type of JSON; decimals as text."""
    return value if isinstance(value, str | int | None) else str(value)
