"""Series: tables of times and values, and windows of them."""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily

if TYPE_CHECKING:
    from jaxdiff.data.series.opening import open_series
    from jaxdiff.data.series.options import KINDS, TableOptions
    from jaxdiff.data.series.source import SeriesSource
    from jaxdiff.data.series.table import SeriesTable, open_table
    from jaxdiff.data.series.writing import write_table

__all__ = ["KINDS", "SeriesSource", "SeriesTable", "TableOptions", "open_series", "open_table", "write_table"]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "opening": ("open_series",),
        "options": ("KINDS", "TableOptions"),
        "source": ("SeriesSource",),
        "table": ("SeriesTable", "open_table"),
        "writing": ("write_table",),
    },
)
