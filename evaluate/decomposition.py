"""`jaxdiff evaluate decomposition`: the trend, the season and the residual of windows by a model of series."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxdiff._console.first import write_once
from jaxdiff._console.plots import COLOURS, figure
from jaxdiff._console.reading import show_data
from jaxdiff._console.terminal import console
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.data import load_arrays
from jaxdiff.data.series import open_series
from jaxdiff.errors import InputError
from jaxdiff.model import Model, load
from jaxdiff.models.series_transformer import Decomposition
from jaxdiff.process import Bridge
from jaxdiff.series_decomposition import decompose
from jaxdiff.spaces import Series
from jaxdiff.writing import whole

from . import series_data
from .options.decomposition import SeriesParts
from .series_plots import COLUMNS

SHOWN = 4
"""Windows in the picture."""


def decomposition(options: SeriesParts) -> Decomposition:
    """Splits the windows, and writes the arrays and the picture."""
    model = load(options.model)
    space = model.space
    if not isinstance(space, Series):
        raise InputError(f"--model takes a model of series; {options.model} is one of {space}")
    if options.set is None:
        origin = series_data.training_data(options, [model.training], "the model")
        source = series_data.real_windows(origin, space.columns, space.length)[1]
    else:
        source = open_series(options.set, window=space.length)
        series_data.require_same(source, space, options.set, {"data": "the model"})
    show_data(source)
    windows, labels = load_arrays(source, count=min(options.count, len(source)), seed=options.seed)
    parts = decompose(model, windows, _condition(model, windows, labels, options.seed))

    def written() -> None:
        options.out.mkdir(parents=True, exist_ok=True)
        plot(
            options.out / "decomposition.png", windows[:SHOWN], Decomposition(*(part[:SHOWN] for part in parts)), space.columns
        )
        with whole(options.out / "decomposition.npz") as path, open(path, "wb") as file:
            np.savez(file, series=windows, **parts._asdict(), columns=np.array(space.columns))

    write_once(options.out, written)
    apart = np.abs(sum(parts) - windows).mean(axis=(0, 1)) / (np.asarray(space.high) - np.asarray(space.low))
    console.print(
        f"{len(windows):,} windows; the parts add up to them within {100 * apart.max():.2g} % of a column's range on average\n"
        f"wrote {options.out}/decomposition.npz and decomposition.png",
        highlight=False,
    )
    return parts


def _condition(model: Model, windows: np.ndarray, labels: np.ndarray, seed: int) -> BridgeCondition:
    """The condition of windows as in training: their labels, and an x_T where the network takes one."""
    rows = model.conditions.encode(labels)
    if not isinstance(model.process, Bridge):
        return rows
    end, known = series_data.ends(model.process, model.space.encode(windows), seed)
    return BridgeCondition(end, known, rows.labels)


def plot(path: Path, windows: Float[np.ndarray, "n l f"], parts: Decomposition, columns: Sequence[str]) -> None:
    """Plots windows and their parts: a row for each of the first columns, with the trend on the window at the left, and season
    and residual at the right of each.

    Arguments:
        path: the PNG to write.
        windows: in the units of the table.
        parts: theirs.
        columns: the names of the columns.
    """
    shown, count = columns[:COLUMNS], len(windows)
    size = (2.9 * 2 * count, 1.5 * len(shown) + 0.7)
    with figure(path, len(shown), 2 * count, figsize=size, squeeze=False, sharex=True) as (made, axes):
        for feature, column in enumerate(shown):
            axes[feature, 0].set_ylabel(column, fontsize=8)
            for place in range(count):
                whole, varying = axes[feature, 2 * place : 2 * place + 2]
                whole.plot(windows[place, :, feature], color="0.55", linewidth=1.6, label="window")
                whole.plot(parts.trend[place, :, feature], color=COLOURS[0], linewidth=1.2, label="trend")
                varying.plot(parts.season[place, :, feature], color=COLOURS[1], linewidth=1.2, label="season")
                varying.plot(parts.residual[place, :, feature], color=COLOURS[2], linewidth=1, label="residual")
                varying.axhline(0, color="0.8", linewidth=0.8, zorder=0)
                for axis in (whole, varying):
                    axis.tick_params(labelsize=7)
                    axis.grid(alpha=0.2)
                if feature == 0:
                    whole.set_title(f"window {place + 1}", fontsize=9)
                    varying.set_title(f"window {place + 1}, varying parts", fontsize=9)
        pairs = [axis.get_legend_handles_labels() for axis in axes[0, :2]]
        handles, names = (sum(each, []) for each in zip(*pairs, strict=True))
        made.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
