"""Plots of sets of windows of time series beside real ones."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxdiff._console.plots import COLOURS, figure
from jaxdiff.quality.series import autocorrelations

COLUMNS = 12
"""Columns of a table that are shown, at most: the first ones."""
OVERLAID = 40
"""Windows that are laid over one another."""
POINTS = 1000
"""Windows of each set that are points."""
TRAIN, TEST = "real, training", "real, test"
REAL = {TRAIN: "0.55", TEST: "0.15"}
"""The greys of real windows."""

Sets = Mapping[str, Float[np.ndarray, "_ l f"]]
"""Windows on the scale of scores, by name: training and test windows first."""


def draw(folder: Path, sets: Sets, columns: Sequence[str]) -> list[str]:
    """Writes the plots; returns the names of their files.

    Arguments:
        folder: the folder.
        sets: see `Sets`.
        columns: the names of the columns.
    """
    pca(folder / "pca.png", sets)
    overlays(folder / "windows.png", sets, columns)
    autocorrelation(folder / "autocorrelation.png", sets, columns)
    marginals(folder / "marginals.png", sets, columns)
    return ["pca.png", "windows.png", "autocorrelation.png", "marginals.png"]


def colour(sets: Sets, name: str) -> str:
    """The colour of a set: a grey for real windows."""
    drawn = [each for each in sets if each not in REAL]
    return REAL[name] if name in REAL else COLOURS[drawn.index(name) % len(COLOURS)]


def pca(path: Path, sets: Sets) -> None:
    """Plots the windows of each set on the first two principal components of the training windows, above the latter."""
    rows = sets[TRAIN].reshape(len(sets[TRAIN]), -1).astype(np.float64)
    mean = rows.mean(axis=0)
    _, spread, axes_of = np.linalg.svd(rows - mean, full_matrices=False)
    shares = 100 * np.square(spread) / max(float(np.square(spread).sum()), 1e-300)

    def points(name: str) -> Float[np.ndarray, "n 2"]:
        every = sets[name].reshape(len(sets[name]), -1)[:POINTS] - mean
        return np.pad(every @ axes_of[:2].T, ((0, 0), (0, max(0, 2 - len(axes_of)))))

    shown = [name for name in sets if name != TRAIN]
    across = min(4, len(shown))
    down = math.ceil(len(shown) / across)
    with figure(path, down, across, figsize=(3.2 * across, 3.1 * down), squeeze=False, sharex=True, sharey=True) as (_, axes):
        for axis in axes.flat[len(shown) :]:
            axis.set_axis_off()
        for axis, name in zip(axes.flat, shown, strict=False):
            axis.scatter(*points(TRAIN).T, s=5, color="0.75", linewidths=0, label=TRAIN)
            axis.scatter(*points(name).T, s=5, color=colour(sets, name), alpha=0.5, linewidths=0, label=name)
            axis.set_title(name, fontsize=9)
            axis.grid(alpha=0.2)
        for axis in axes[-1]:
            axis.set_xlabel(f"component 1, {shares[0]:.0f} % of variance", fontsize=8)
        for axis in axes[:, 0]:
            axis.set_ylabel(f"component 2, {shares[min(1, len(shares) - 1)]:.0f} %", fontsize=8)


def overlays(path: Path, sets: Sets, columns: Sequence[str]) -> None:
    """Plots some windows of each set over one another, a row for each column."""
    shown = columns[:COLUMNS]
    size = (2.3 * len(sets), 1.2 * len(shown) + 0.5)
    with figure(path, len(shown), len(sets), figsize=size, squeeze=False, sharex=True, sharey="row") as (_, axes):
        for row, column in zip(axes, shown, strict=True):
            row[0].set_ylabel(column, fontsize=8)
        for place, (name, windows) in enumerate(sets.items()):
            axes[0, place].set_title(name, fontsize=9)
            for feature in range(len(shown)):
                lines = windows[:OVERLAID, :, feature].T
                axes[feature, place].plot(lines, color=colour(sets, name), alpha=0.35, linewidth=0.7)
                axes[feature, place].tick_params(labelsize=7)
            axes[-1, place].set_xlabel("row of the window", fontsize=8)


def autocorrelation(path: Path, sets: Sets, columns: Sequence[str]) -> None:
    """Plots the autocorrelation of each column of each set over all lags."""
    lag = next(iter(sets.values())).shape[1] - 1
    found = {name: autocorrelations(windows, lag) for name, windows in sets.items()}
    with _by_column(path, columns) as (made, axes):
        for feature, axis in enumerate(axes):
            for name, curves in found.items():
                axis.plot(curves[:, feature], label=name, **_line(sets, name))
            axis.axhline(0, color="0.8", linewidth=0.8, zorder=0)
            axis.set_xlabel("lag", fontsize=8)
        _legend(made, axes[0])


def marginals(path: Path, sets: Sets, columns: Sequence[str]) -> None:
    """Plots histograms of the values of each column of each set."""
    with _by_column(path, columns) as (made, axes):
        for feature, axis in enumerate(axes):
            values = {name: windows[..., feature].ravel() for name, windows in sets.items()}
            both = np.concatenate(list(values.values()))
            edges = np.linspace(both.min(), max(both.max(), both.min() + 1e-6), 41)
            for name, each in values.items():
                heights = np.histogram(each, edges, density=True)[0]
                axis.stairs(heights, edges, label=name, **_line(sets, name))
            axis.set_yticks([])
            axis.set_xlabel("value", fontsize=8)
        _legend(made, axes[0])


def _line(sets: Sets, name: str) -> dict:
    """How the line of a set is drawn."""
    dashed = {"linestyle": "--"} if name == TEST else {}
    return {"color": colour(sets, name), "linewidth": 2.2 if name == TRAIN else 1.1, **dashed}


def _by_column(path: Path, columns: Sequence[str]):
    """A figure with a panel for each of the first columns, with its name as title."""
    from contextlib import contextmanager

    @contextmanager
    def made():
        count = min(len(columns), COLUMNS)
        across = min(4, count)
        down = math.ceil(count / across)
        size = (2.7 * across, 2.1 * down + 0.4)
        with figure(path, down, across, figsize=size, squeeze=False, cut=True) as (whole, axes):
            for axis in axes.flat[count:]:
                axis.set_axis_off()
            for axis, column in zip(axes.flat, columns, strict=False):
                axis.set_title(column, fontsize=9)
                axis.tick_params(labelsize=7)
                axis.grid(alpha=0.2)
            yield whole, list(axes.flat[:count])

    return made()


def _legend(made, axis) -> None:
    """The names of the sets below all panels."""
    handles, labels = axis.get_legend_handles_labels()
    # a legend leaves out what begins with an underscore
    labels = [f"{' ' * label.startswith('_')}{label}" for label in labels]
    made.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False, fontsize=8)
