"""Options of `jaxdiff evaluate decomposition`."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff.bounds import Count, Seed

from .checks import require_folder
from .series import SeriesOrigin


@dataclass(frozen=True)
class SeriesParts(SeriesOrigin):
    """Splits windows into a trend, a season and a residual, as the network of a series model sees them.

    The model must predict x_0: one trained with --prediction x0, the default of diffusion models. The parts are those of its
    estimate of a window from itself, in the units of the table: the trend has the level of each column, and season and
    residual vary around 0. They are what the network has made of the data, and no test of seasonality.

    Writes decomposition.npz, with the arrays series, trend, season and residual (N, L, F), and the picture decomposition.png of
    the first windows.

    For example:

      jaxdiff evaluate decomposition --model runs/ddpm --out out/parts

      jaxdiff evaluate decomposition --model runs/ddpm --set out/ddpm --count 1000 --out out/parts-of-drawn
    """

    model: Path
    """Trained model of series: the folder of a run, or its model.safetensors."""
    out: Path
    """Output folder; an existing decomposition is replaced."""
    set: str | None = None
    """Set of windows: a set of samples, or .npz with an array `series` (N, L, F). By default the test windows of --real."""
    count: Count = 100
    """Maximum number of windows, a random subset (see --seed)."""
    seed: Seed = 0
    """Random seed of the choice of windows, and of conditions x_T that the network takes."""

    def __post_init__(self):
        super().__post_init__()
        require_folder(self.out)
