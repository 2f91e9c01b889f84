"""Plots of drawn values of time series between observed ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from jaxdiff._console.plots import COLOURS, figure

MOST_PANELS = 8
"""The most panels of a picture."""


@dataclass(frozen=True)
class Panel:
    """Rows of a column.

    Attributes:
        title: what is shown.
        x: the time of each row, or its number.
        observed: values, NaN where missing.
        median, lower, upper: of the draws, NaN where there are none.
    """

    title: str
    x: Shaped[np.ndarray, " n"]
    observed: Float[np.ndarray, " n"]
    median: Float[np.ndarray, " n"]
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]


def show_panels(path: Path, panels: Sequence[Panel], title: str) -> None:
    """Plots observed values as lines, the median of draws and their intervals, one panel below the other.

    Bands and lines of draws begin and end at the observed values beside them.

    Arguments:
        path: the PNG to write.
        panels: the panels.
        title: of the picture.
    """
    with figure(path, len(panels), 1, figsize=(11, 0.9 + 2.1 * len(panels)), squeeze=False) as (made, axes):
        for each, panel in zip(axes[:, 0], panels, strict=True):
            _show(each, panel)
        above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
        axes[0, 0].legend(frameon=False, ncols=3, fontsize="small", **above)
        made.suptitle(title)


def _show(axes, panel: Panel) -> None:
    drawn = ~np.isnan(panel.median)
    near = drawn.copy()
    near[1:] |= drawn[:-1]
    near[:-1] |= drawn[1:]
    median, lower, upper = (
        np.where(near, np.where(drawn, each, panel.observed), np.nan) for each in (panel.median, panel.lower, panel.upper)
    )
    axes.fill_between(panel.x, lower, upper, color=COLOURS[1], alpha=0.25, linewidth=0, label="interval")
    axes.plot(panel.x, median, color=COLOURS[1], linewidth=1)
    axes.plot(panel.x[drawn], panel.median[drawn], ".", color=COLOURS[1], markersize=4, label="median")
    axes.plot(panel.x, panel.observed, color=COLOURS[0], linewidth=1.2, marker=".", markersize=3, label="observed")
    axes.set_title(panel.title, fontsize="medium", loc="left")
    axes.grid(alpha=0.3)
    axes.margins(x=0.01)
