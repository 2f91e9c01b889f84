"""The figure of an attack: the share of images on which the defence holds, over the budget."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxdiff._console.plots import COLOURS, figure


def plot(path: Path, searches: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """Plots a curve for each search, with its interval as a band.

    Arguments:
        path: the PNG to write.
        searches: for each search `runs`, `held`, `low` and `high`.
        title: title of the plot.
    """
    with figure(path, figsize=(7, 4)) as (_, axes):
        for colour, (name, curve) in zip(COLOURS, searches.items(), strict=False):
            axes.step(curve["runs"], curve["held"], where="post", color=colour, label=name)
            axes.fill_between(curve["runs"], curve["low"], curve["high"], step="post", color=colour, alpha=0.2, linewidth=0)
        axes.set_xlabel("runs of the chain for each image (a gradient counts 4)")
        axes.set_ylabel("share on which the defence holds")
        axes.set_ylim(-0.02, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(title="search, 95 % intervals")
        axes.set_title(title, fontsize="medium", loc="left")
