"""Options of `jaxdiff sample impute` and `jaxdiff sample forecast`."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxdiff.bounds import Bounds, Seed, Size
from jaxdiff.choices import SOLVERS, SPACINGS, table
from jaxdiff.errors import InputError

from .solving import Solving


@dataclass(frozen=True, kw_only=True)
class TableOptions(Solving):
    """What commands share that draw values of a table from a model of time series."""

    model: Path
    """Model of time series, trained with --prior imputation: the folder of a run, or its model.safetensors."""
    data: str
    """Table: PATH.csv or PATH.parquet, or with options as in "load.csv?time=date&group=meter". It has the columns that the
    model was trained on; further columns are left alone."""
    out: Path
    """File to write, .csv or .parquet; must not exist. Beside it are written NAME.intervals.csv (or .parquet), a row for each
    drawn value with its median and interval, and the picture NAME.png."""
    draws: Annotated[int, Bounds(least=1, limit=10**5)] = 20
    """Draws of each value; the median is written."""
    level: Annotated[float, Bounds(above=0, below=1)] = 0.9
    """Level of the intervals, in (0, 1); they need at least 2 / (1 - level) - 1 draws, 19 for 0.9."""
    draws_out: Path | None = None
    """File .npz for all draws; must not exist."""
    batch_size: Size | None = None
    """Windows per batch over all devices; must be a multiple of their number. By default 128 per device on CPU, up to 1024 on
    others. Results do not depend on it."""
    seed: Seed = 0
    """Random seed; a draw is a function of the seed, its number and its window."""

    def __post_init__(self):
        super().__post_init__()
        if self.draws < self.least:
            raise InputError(
                f"--draws must be at least {self.least} for intervals of level {self.level:g}, got {self.draws}; "
                "or take a lower --level"
            )
        if self.out.suffix.lower() not in (".csv", ".parquet"):
            raise InputError(f"--out must end in .csv or .parquet, got {self.out}")
        if self.draws_out is not None and self.draws_out.suffix.lower() != ".npz":
            raise InputError(f"--draws-out must end in .npz, got {self.draws_out}")

    @property
    def least(self) -> int:
        """The draws that an interval of this level needs."""
        return math.ceil(2 / (1 - self.level) - 1 - 1e-9)


@dataclass(frozen=True, kw_only=True)
class Impute(TableOptions):
    """Fills the missing values of a table by draws from a model of time series.

    Writes the table with the median of the draws in each empty cell; all else stays as it is, byte by byte. The model is one
    trained with `jaxdiff train series --prior imputation` on this table, or one with the same columns.

    Its windows never cross a gap in time or the border of a series, and each missing value is drawn in a window in whose middle
    it lies, given all observed values of that window. Rows that are missing altogether are not added.

    Run the same command again to resume.

    Examples:

      jaxdiff sample impute --model runs/load --data load-with-gaps.csv --out filled.csv

      jaxdiff sample impute --model runs/load --data "load.csv?time=date&group=meter" --draws 100 --level 0.95 --out filled.csv
    """

    fill: Size | None = None
    """Missing rows that a window fills at most, those in its middle; by default half of its rows. With fewer, values are nearer
    to the middle, and more windows are drawn."""


@dataclass(frozen=True, kw_only=True)
class Forecast(TableOptions):
    """Continues each series of a table by draws from a model of time series.

    Writes a table of the rows to come, with the median of the draws in each cell and times at the usual step of the table. The
    model is one trained with `jaxdiff train series --prior imputation`.

    A window ends with the rows to draw, at most half of it, given the rows before them. A longer horizon goes on from there,
    each draw from its own values. Missing values among the last rows are drawn along, and not written.

    Run the same command again to resume.

    Examples:

      jaxdiff sample forecast --model runs/load --data load.csv --horizon 24 --out tomorrow.csv

      jaxdiff sample forecast --model runs/load --data "load.csv?group=meter" --horizon 72 --draws 200 --level 0.95
          --out days.parquet --draws-out days.npz
    """

    horizon: Annotated[int, Bounds(least=1, limit=10**6)]
    """Rows to draw after the last one of each series."""


def tables() -> str:
    """Tables of solvers and spacings, for the help."""
    return table(Solvers=SOLVERS, Spacings=SPACINGS)
