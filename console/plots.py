"""Plots that the programs write."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

from jaxdiff.phases import PHASES


def _phases(axes, boundaries: Sequence[float]) -> None:
    """The phases of noise as shades along the time axis."""
    ends = [0.0, *boundaries, 1.0]
    for name, low, high in zip(PHASES, ends, ends[1:], strict=False):
        axes.axvspan(low, high, color="black", alpha=0.02 + 0.04 * PHASES.index(name), linewidth=0)
        upright = high - low < 0.12  # too narrow for the name
        place = {"rotation": 90 if upright else 0, "ha": "center", "va": "center" if upright else "top", "color": "0.45"}
        axes.text((low + high) / 2, 0.5 if upright else 0.95, name, transform=axes.get_xaxis_transform(), **place)


def training(path: Path, rows: Sequence[dict[str, float]], title: str) -> None:
    """The loss over the steps, of all times and of each phase of noise.

    Arguments:
        path: the PNG to write.
        rows: the lines of metrics.jsonl.
        title: above the plot.
    """
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    steps = [row["step"] for row in rows]
    for name in ("loss", *(f"loss_{phase}" for phase in PHASES)):
        # a phase may have had no image between two lines
        values = [row.get(name, math.nan) for row in rows]
        axes.plot(steps, values, label=name.replace("_", ", "), linewidth=1.6 if name == "loss" else 0.8)
    axes.set(xlabel="step", ylabel="loss", title=title, yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def transition(
    path: Path,
    curves: Sequence[tuple[str, Sequence[float], Sequence[float], float]],
    title: str,
    boundaries: Sequence[float],
) -> None:
    """The criterion over tau, each curve divided by its value at tau = 0, with its minimum marked.

    Arguments:
        path: the PNG to write.
        curves: (name, taus, values, tau) of each search.
        title: above the plot.
        boundaries: the times at which the phases of noise meet.
    """
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    _phases(axes, boundaries)
    for name, taus, values, tau in curves:
        scaled = [value / values[0] for value in values]
        (line,) = axes.plot(taus, scaled, marker=".", label=f"{name}: tau = {tau:.3f}")
        axes.axvline(tau, color=line.get_color(), linestyle=":", linewidth=1)
    axes.set(xlabel="tau (0 = data, 1 = noise)", ylabel="criterion / criterion at tau = 0", title=title, xlim=(0, 1))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
