"""Plots that the programs write."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt


def transition(path: Path, curves: Sequence[tuple[str, Sequence[float], Sequence[float], float]], title: str) -> None:
    """The criterion over tau, each curve divided by its value at tau = 0, with its minimum marked.

    Arguments:
        path: the PNG to write.
        curves: (name, taus, values, tau) of each search.
        title: above the plot.
    """
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
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
