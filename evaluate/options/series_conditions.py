"""Options of `jaxdiff evaluate conditions`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from jaxdiff.bounds import Bounds, Count, Seed, Size
from jaxdiff.choices import SolverName
from jaxdiff.errors import InputError

from .checks import require_folder
from .series import SeriesOrigin

MaskName = Literal["points", "gaps"]
MASKS: tuple[MaskName, ...] = get_args(MaskName)


@dataclass(frozen=True)
class SeriesConditions(SeriesOrigin):
    """Measures how a series model keeps the conditions of held-out test windows: imputation, constraints, or trends.

    - A model trained with --prior imputation fills missing values: mean absolute and squared error of the median of the draws
      beside linear interpolation and the last value, the CRPS, and the coverage and width of 90 % intervals, at several shares
      of missing values, which are random points or gaps.

    - With --prior fixed, extremes or ohlc: the share of constraints that samples keep.

    - With --prior trend: the distance of samples from the trend, beside that of the real windows.

    Values are on the scale on which the training windows fill [0, 1]. Intervals are over windows. Writes conditions.json and
    conditions.md, and for imputation imputation.png. Finished draws are kept until the end: run the same command again to
    resume.

    For example:

      jaxdiff evaluate conditions --model runs/etth-imputation --out out/imputation

      jaxdiff evaluate conditions --model runs/etth-imputation --shares 0.7 --masks gaps --draws 100 --out out/gaps

      jaxdiff evaluate conditions --model runs/stocks-ohlc --real stocks.csv --out out/ohlc
    """

    model: Path
    """Trained model of series: the folder of a run, or its model.safetensors."""
    out: Path
    """Output folder of the report; an existing report is replaced."""
    shares: tuple[Annotated[float, Bounds(above=0, below=1)], ...] = (0.5, 0.7, 0.8, 0.9)
    """Imputation: shares of missing values."""
    masks: tuple[MaskName, ...] = MASKS
    """Imputation: random points, or gaps of geometric length with mean 3 (longer where a share needs it)."""
    draws: Size = 20
    """Draws for each window; imputation needs at least 19, for 90 % intervals."""
    count: Count = 100
    """Maximum number of test windows, a random subset (see --seed)."""
    solver: SolverName = "unipc"
    """Solver, by default that of `jaxdiff sample impute`; the published one of bridges is hybrid_heun."""
    steps: Size = 20
    """Number of solver steps."""
    batch_size: Size = 100
    """Windows per batch; the result does not depend on it, up to rounding."""
    seed: Seed = 0
    """Random seed of the choice of windows, the masks and the draws."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("shares", "masks"):
            if not (given := getattr(self, name)) or len(set(given)) < len(given):
                raise InputError(f"--{name} takes one or more different ones, got {' '.join(map(str, given)) or 'none'}")
        require_folder(self.out)
