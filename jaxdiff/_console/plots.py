"""Plots that the programs write."""

import itertools
import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff._console.terminal import significant
from jaxdiff.calibration import HeldOut, Level, reliability
from jaxdiff.choices import PHASES
from jaxdiff.fairness import Transition
from jaxdiff.writing import whole

# Okabe and Ito's colour-blind-safe palette
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
TIME = "tau (0 = data, 1 = noise)"


def pyplot():
    """Matplotlib's pyplot without a display, imported only when something is plotted."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot


def encodable(text: str) -> str:
    """A text with escapes for what is no text: the bytes of a file name that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


@contextmanager
def figure(
    path: Path, rows: int = 1, columns: int = 1, *, layout: str | None = "constrained", cut: bool = False, **options: Any
) -> Generator[tuple[Any, Any], None, None]:
    """A figure, written as a PNG at the end, whole or not at all.

    Its text is shown as it is: names of users may have dollars, which would begin a formula.

    Arguments:
        path: the PNG to write.
        rows, columns: the panels.
        layout: how matplotlib lays them out; None leaves that to the caller.
        cut: cuts margins off.
        options: others of `pyplot.subplots`.

    Yields:
        The figure, and its axes as `pyplot.subplots` returns them.
    """
    plt = pyplot()
    from matplotlib.text import Text
    from matplotlib.ticker import LogFormatter

    with whole(path) as partial, plt.rc_context({"text.parse_math": False}):
        made, axes = plt.subplots(rows, columns, layout=layout, **options)
        try:
            yield made, axes
            for text in made.findobj(Text):
                text.set_text(encodable(text.get_text()))
            for each in made.axes:
                for axis in (each.xaxis, each.yaxis):
                    # numbers without formulas
                    for kind in ("major", "minor"):
                        if isinstance(getattr(axis, f"get_{kind}_formatter")(), LogFormatter):
                            getattr(axis, f"set_{kind}_formatter")(LogFormatter(labelOnlyBase=kind == "major"))
            made.savefig(partial, dpi=120, format="png", bbox_inches="tight" if cut else None)
        finally:
            plt.close(made)


def _phases(axes, boundaries: Sequence[float]) -> None:
    """Shades the noise phases along the time axis, with their names above the curves."""
    axes.set_ylim(0, 1.22 * axes.get_ylim()[1])
    ends = [0.0, *boundaries, 1.0]
    for name, low, high in zip(PHASES, ends, ends[1:], strict=False):
        axes.axvspan(low, high, color="black", alpha=0.02 + 0.04 * PHASES.index(name), linewidth=0)
        upright = high - low < 0.12  # too narrow for the name
        place = {"rotation": 90 if upright else 0, "ha": "center", "va": "top", "color": "0.45"}
        axes.text((low + high) / 2, 0.98, name, transform=axes.get_xaxis_transform(), **place)


def training(path: Path, rows: Sequence[Mapping[str, float | int]], title: str) -> None:
    """Plots the loss over the steps, overall and for each noise phase.

    Arguments:
        path: the PNG to write.
        rows: the lines of metrics.jsonl.
        title: title of the plot.
    """
    with figure(path, figsize=(7, 4.2)) as (_, axes):
        steps = [row["step"] for row in rows]
        for name in ("loss", *(f"loss_{phase}" for phase in PHASES)):
            # a phase may have no image between two lines
            values = [row.get(name, math.nan) for row in rows]
            axes.plot(steps, values, label=name.replace("_", ", "), linewidth=1.6 if name == "loss" else 0.8)
        axes.set(xlabel="step", ylabel="loss", title=title, yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)


def transition(
    path: Path,
    curves: Sequence[tuple[str, Sequence[float], Sequence[float], float]],
    title: str,
    boundaries: Sequence[float],
) -> None:
    """Plots the criterion over tau, each curve divided by its value at tau = 0, with the resulting tau marked.

    Arguments:
        path: the PNG to write.
        curves: (name, taus, values, tau) of each search.
        title: title of the plot.
        boundaries: the times that separate the noise phases.
    """
    with figure(path, figsize=(7, 4.2)) as (_, axes):
        for name, taus, values, tau in curves:
            # a distance that is 0 at tau = 0 is not scaled
            scaled = [value / (values[0] or 1) for value in values]
            # a legend leaves out what begins with an underscore
            (line,) = axes.plot(taus, scaled, marker=".", label=f"{' ' * name.startswith('_')}{name}: tau = {tau:.3f}")
            axes.axvline(tau, color=line.get_color(), linestyle=":", linewidth=1)
        axes.set(xlabel=TIME, ylabel="criterion / criterion at tau = 0", title=title, xlim=(0, 1))
        _phases(axes, boundaries)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)


def _below(left: float) -> dict[str, Any]:
    """Legend arguments for a place below the axes, starting at this fraction of their width."""
    anchor = {"loc": "upper left", "bbox_to_anchor": (left, -0.14), "borderaxespad": 0.0}
    return {**anchor, "frameon": False, "fontsize": "small", "title_fontsize": "small", "alignment": "left"}


def scaled(found: Transition) -> list[float]:
    """The criterion of a search divided by its value at tau = 0; all 0 if the conditions do not differ."""
    return [value / (found.curve[0] or 1.0) for value in found.curve]


def _criterion(axes, searches: Sequence[Transition], boundaries: Sequence[float]) -> None:
    """Plots the criterion of each search over tau: modes by colour, batch sizes by shade, a dot at the resulting tau."""
    from matplotlib.colors import to_rgb
    from matplotlib.lines import Line2D

    batches, modes = (sorted({getattr(found, name) for found in searches}) for name in ("batch", "mode"))

    def style(colour, batch):
        strength = 1 - 0.75 * (1 - (batches.index(batch) + 1) / len(batches))
        return {"color": [1 - strength * (1 - part) for part in to_rgb(colour)], "linewidth": 0.6 + 1.2 * strength}

    colours, largest = dict(zip(modes, itertools.cycle(COLOURS))), {}
    for order, found in enumerate(sorted(searches, key=lambda found: found.batch)):
        curve, look = scaled(found), style(colours[found.mode], found.batch)
        axes.plot(found.taus, curve, zorder=2 + order, **look)
        dot = {"color": look["color"], "markersize": 6, "markeredgecolor": "white", "zorder": 100 + order}
        axes.plot(found.tau, curve[found.taus.index(found.tau)], "o", **dot)
        largest[found.mode] = found
    axes.set(xlabel=TIME, ylabel="criterion / criterion at tau = 0", xlim=(0, 1))
    _phases(axes, boundaries)
    axes.grid(alpha=0.3)
    by_mode = [
        Line2D([], [], color=colours[mode], linewidth=2, label=f"{mode}: tau = {largest[mode].tau:.3f}") for mode in modes
    ]
    # a clipped legend would be ignored by the layout
    axes.add_artist(axes.legend(handles=by_mode, title="search; tau at the largest batch", **_below(0.0))).set_clip_on(False)
    by_batch = [Line2D([], [], label=str(batch), **style("black", batch)) for batch in batches]
    axes.legend(handles=by_batch, title="batch", **_below(0.78))


def criterion(path: Path, searches: Sequence[Transition], title: str, boundaries: Sequence[float]) -> None:
    """Plots the criteria of several searches over tau, each divided by its value at tau = 0, with the resulting tau marked.

    Arguments:
        path: the PNG to write.
        searches: the searches: one or more modes, each at one or more batch sizes.
        title: title of the plot.
        boundaries: the times that separate the noise phases.
    """
    with figure(path, figsize=(7, 5.6)) as (_, axes):
        _criterion(axes, searches, boundaries)
        axes.set_title(title)


def sweep(
    path: Path,
    searches: Sequence[Transition],
    sets: Sequence[Mapping[str, Any]],
    real: Mapping[str, Any],
    title: str,
    boundaries: Sequence[float],
    chance: float,
) -> None:
    """Plots the search criteria over tau next to the measured dependence of sets drawn at each tau.

    Arguments:
        path: the PNG to write.
        searches: the searches; without any, their panel says so.
        sets: for each set, by ascending `tau`: `ber` by direction, a `mean` and its 95 % `interval` in percent, and `energy` by
            space, a `distance` and its `p_value`.
        real: the same for real images: the `mean` of `ber` and the `distance` of `energy` by space.
        title: title of the plot.
        boundaries: the times that separate the noise phases.
        chance: the BER of random guessing.
    """
    with figure(path, 1, 3, figsize=(14, 5.2), width_ratios=(1.3, 1, 1)) as (made, (left, middle, right)):
        left.set_title("criterion of each search")
        if searches:
            _criterion(left, searches, boundaries)
        else:
            left.text(0.5, 0.5, "this sweep has no searches", ha="center", va="center", color="0.45")
            left.set(xticks=(), yticks=())
        _dependence(middle, right, sets, real, chance)
        made.suptitle(title)


def _dependence(errors, distances, sets: Sequence[Mapping[str, Any]], real: Mapping[str, Any], chance: float) -> None:
    """Plots BER by direction with bands, and the energy distances, both over tau."""
    taus = [each["tau"] for each in sets]
    for direction, colour, marker in zip(sets[0]["ber"], COLOURS, "os^", strict=False):
        found = [each["ber"][direction] for each in sets]
        low, high = zip(*(each["interval"] for each in found), strict=True)
        errors.fill_between(taus, low, high, color=colour, alpha=0.25, linewidth=0)
        look = {"color": colour, "marker": marker, "markersize": 5, "clip_on": False}
        errors.plot(taus, [each["mean"] for each in found], label=direction, **look)
    errors.axhline(chance, color="0.3", linestyle=":", linewidth=1, label="chance")
    errors.axhline(real["ber"]["real->real"]["mean"], color="0.3", linestyle="--", linewidth=1, label="real->real")
    errors.set(title="BER of the attribute classifiers, 95 % bands", ylabel="BER, %", ylim=(0, 100))
    for space, colour, marker in zip(real["energy"], COLOURS[3:], "Dv", strict=False):
        found = [each["energy"][space] for each in sets]
        scale = real["energy"][space]["distance"]
        heights = [each["distance"] / scale for each in found]
        look = {"color": colour, "marker": marker, "markersize": 6, "clip_on": False}
        distances.plot(taus, heights, label=space, **look)
        alike = [(tau, height) for tau, height, each in zip(taus, heights, found, strict=True) if each["p_value"] > 0.05]
        for place in alike:
            distances.plot(*place, **look, markerfacecolor="white")
    distances.axhline(0, color="0.3", linestyle=":", linewidth=1)
    distances.set(title="energy distance between the groups", ylabel="energy distance / real images' distance")
    for axes in (errors, distances):
        axes.set(xlim=(0, 1), xlabel=TIME)
        axes.grid(alpha=0.3)
    errors.legend(**_below(0.0))
    distances.legend(title="white: p > 0.05, not significant", **_below(0.0))


def tradeoff(
    path: Path,
    sets: Sequence[Mapping[str, Any]],
    real: Mapping[str, Any],
    bound: Sequence[tuple[float, float]],
    title: str,
) -> None:
    """Plots independence and parity against label accuracy (retention), one point per tau, with 95 % intervals.

    Arguments:
        path: the PNG to write.
        sets: for each set, by ascending `tau`: `trade_off`, with a `value` and an `interval` for `ber`, for `retention` and, if
            measured, for the `largest` and the `mean` difference.
        real: the same for real images.
        bound: (retention, BER) along the upper bound of the BER of the best classifier.
        title: title of the plot.
    """
    names = [name for name in ("largest", "mean") if name in real["trade_off"]]
    with figure(path, 1, 2, figsize=(11, 5)) as (made, (left, right)):
        _against_retention(left, sets, real, "ber", COLOURS[0], "o", "synthetic->synthetic")
        limit = {"color": "0.3", "linestyle": ":", "linewidth": 1, "label": "upper bound for the best classifier"}
        left.plot(*zip(*bound, strict=True), **limit)
        left.set(title="independence: higher is better", ylabel="BER (folded for two values), %", ylim=(0, None))
        for name, colour, marker in zip(names, COLOURS[1:], "s^", strict=False):
            _against_retention(right, sets, real, name, colour, marker, f"{name} difference")
        right.set(title="parity: lower is better", ylabel="difference of other attributes", ylim=(0, None))
        shown = [each["trade_off"]["retention"]["interval"] for each in (*sets, real)]
        low, high = min(ends[0] for ends in shown), max(ends[1] for ends in shown)
        for axes in (left, right):
            axes.set(xlabel="label accuracy", xlim=(max(0, low - 0.05), min(1.02, high + 0.05)))
            axes.grid(alpha=0.3)
            axes.legend(**_below(0.0))
        made.suptitle(title)


def _against_retention(axes, sets, real, name: str, colour: str, marker: str, label: str) -> None:
    """Plots one measure of the sets against retention, in the order of tau, each point with its tau; real images as a cross."""
    found = [each["trade_off"] for each in (*sets, real)]
    x, y = (np.array([each[key]["value"] for each in found]) for key in ("retention", name))
    errors = [
        np.abs(np.array([each[key]["interval"] for each in found]).T - values) for key, values in (("retention", x), (name, y))
    ]
    faint = {"linewidth": 0.8, "alpha": 0.5}
    axes.errorbar(x, y, xerr=errors[0], yerr=errors[1], fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.5)
    axes.plot(x[:-1], y[:-1], color=colour, **faint)
    axes.plot(x[:-1], y[:-1], marker, color=colour, markersize=5, label=label)
    axes.plot(x[-1:], y[-1:], "x", color=colour, markersize=7, label=f"{label}, real images")
    for place, each in zip(zip(x, y, strict=False), sets, strict=False):
        axes.annotate(f"{each['tau']:g}", place, xytext=(5, 4), textcoords="offset points", fontsize="small", color=colour)


def safety(path: Path, rows: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Plots the trade-off between safety and quality: rate of unsafe images against Fréchet distance to safe real images.

    Sets with the same guard and weight are joined in the order of their strength (repellency: radius) to a trade-off curve.

    Arguments:
        path: the PNG to write.
        rows: the rows of `evaluate safety` by name.
        title: title of the plot.
    """
    with figure(path, figsize=(7.5, 5)) as (_, axes):
        curves: dict[str, list[tuple[float, float, float]]] = {}
        for name, row in rows.items():
            x, y = 100 * row["unsafe"]["value"], row["quality"]["frechet"]
            if name == "Real, unsafe":
                continue
            about = row.get("guard", {})
            if "guard" in about:
                name = ", ".join(filter(None, (about["guard"], about["weight"])))
                curves.setdefault(name, []).append((about["parameter"], x, y))
            low, high = row["quality"]["intervals"]["frechet"]
            left, right = (100 * end for end in row["unsafe"]["interval"])
            bars = {"xerr": [[max(x - left, 0)], [max(right - x, 0)]], "yerr": [[max(y - low, 0)], [max(high - y, 0)]]}
            axes.errorbar(x, y, **bars, fmt="none", ecolor="0.8", linewidth=1)
            if "guard" not in about:
                axes.plot(x, y, "o", color="black", markersize=5)
                axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, 4), fontsize=8)
        for (guard, points), colour in zip(sorted(curves.items()), itertools.cycle(COLOURS), strict=False):
            ordered = sorted(points)
            axes.plot(*zip(*(point[1:] for point in ordered), strict=True), "o-", color=colour, label=guard, markersize=4)
            for strength, x, y in ordered:
                axes.annotate(f"{strength:g}", (x, y), textcoords="offset points", xytext=(4, -9), fontsize=7, color=colour)
        if curves:
            axes.legend(frameon=False, title="guard, weight; numbers: strength (radius)")
        axes.set(xlabel="unsafe images, %", ylabel="Fréchet distance to safe real images", title=title, yscale="log")
        # a rate may be 0
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.1, 110)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)


def calibration(
    path: Path, held_out: HeldOut, log_posterior: np.ndarray, levels: Sequence[Level], values: Sequence[str], title: str
) -> None:
    """Plots frequency against predicted probability at each noise level, and the log loss over time compared with the prior's.

    Arguments:
        path: the PNG to write.
        held_out: the held-out images.
        log_posterior: log P(value | x_t) of each, (N, K).
        levels: the measurements at each noise level.
        values: names of the values; for two values the probability of the second is shown, else that of each.
        title: title of the plot.
    """
    with figure(path, 1, 2, figsize=(12, 5)) as (made, (left, right)):
        left.plot((0, 1), (0, 1), color="0.3", linestyle=":", linewidth=1)
        shades = pyplot().get_cmap("viridis")(np.linspace(0, 0.92, len(levels)))
        for level, colour in zip(levels, shades, strict=True):
            chosen = (held_out.t > level.low) & (held_out.t <= level.high)
            for value in range(len(values))[1 if len(values) == 2 else 0 :]:
                predicted, frequency, _ = reliability(np.exp(log_posterior[chosen, value]), held_out.labels[chosen] == value)
                label = f"t {level.low:.3f} to {level.high:.3f}" if value == len(values) - 1 else None
                left.plot(predicted, frequency, marker=".", color=colour, linewidth=0.8, label=label)
        shown = f"P({values[1]})" if len(values) == 2 else "P(value)"
        left.set(xlabel=f"predicted {shown}", ylabel="frequency", title="calibration by noise level", aspect="equal")
        left.legend(frameon=False, fontsize="small")
        middles = [(level.low + level.high) / 2 for level in levels]
        right.plot(middles, [level.log_loss for level in levels], marker="o", color=COLOURS[0], label="log loss")
        prior = [level.prior_log_loss for level in levels]
        right.plot(middles, prior, color="0.3", linestyle="--", linewidth=1, label="log loss of the prior")
        right.plot(middles, [1 - level.accuracy for level in levels], marker="s", color=COLOURS[1], label="error rate")
        right.set(xlabel="t (0 = data, 1 = noise)", ylabel="nats; share", title="held-out images", xlim=(0, 1), ylim=(0, None))
        for axes in (left, right):
            axes.grid(alpha=0.3)
        right.legend(frameon=False)
        made.suptitle(title)


def settings(
    path: Path, rows: Sequence[tuple[str, float, float]], again: tuple[str, float, float], retain: float, words: str, title: str
) -> None:
    """Plots a measure of each setting against label accuracy.

    Arguments:
        path: the PNG to write.
        rows: the name of each setting, its label accuracy and its measure.
        again: the same of the best on other noise.
        retain: the least label accuracy.
        words: the name of the measure.
        title: title of the plot.
    """
    middle = (min(x for _, x, _ in (*rows, again)) + max(x for _, x, _ in (*rows, again))) / 2
    with figure(path, figsize=(7, 5)) as (_, axes):
        for (name, x, y), colour, marker in [*((row, COLOURS[0], "o") for row in rows), (again, COLOURS[1], "s")]:
            axes.plot(x, y, marker, color=colour)
            # towards the middle, where there is room
            left = x > middle
            place = {"xytext": (-6 if left else 6, 4), "ha": "right" if left else "left"}
            axes.annotate(name, (x, y), textcoords="offset points", fontsize=8, **place)
        axes.axvline(retain, color="0.5", linestyle=":", label=f"at least {retain:g}")
        axes.margins(x=0.15, y=0.15)
        axes.set(xlabel="label accuracy", ylabel=words, title=title, ylim=(0, 1.15 * max(1e-9, axes.dataLim.y1)))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)


def region(path: Path, changes: np.ndarray, found: np.ndarray, images: np.ndarray, title: str) -> None:
    """Plots a map of where a label shows, and the outline of the region on images.

    Arguments:
        path: the PNG to write.
        changes: the map, (H, W).
        found: the region, (H, W).
        images: uint8 (N, H, W, C).
        title: title of the plot.
    """
    with figure(path, columns=1 + len(images), figsize=(1.6 * (1 + len(images)), 2.0)) as (made, axes):
        for place, axis in enumerate(axes):
            if place == 0:
                axis.imshow(changes, cmap="viridis")
            else:
                image = images[place - 1]
                axis.imshow(image if image.shape[-1] > 1 else image[..., 0], cmap="gray")
            axis.contour(found, [0.5], colors=COLOURS[1], linewidths=1)
            axis.set_axis_off()
        made.suptitle(title)


def directions(path: Path, own: Sequence[tuple[str, np.ndarray]], others: Sequence[tuple[str, np.ndarray]], title: str) -> None:
    """Shows directions as images around grey: those of a label itself above, those of what goes with it below.

    Arguments:
        path: the PNG to write.
        own, others: title and image of each, uint8 (H, W, C).
        title: title of the plot.
    """
    columns = max(len(own), len(others))
    with figure(path, 2, columns, figsize=(1.6 * columns + 0.4, 4.2), squeeze=False) as (made, axes):
        for row, shown in zip(axes, (own, others), strict=True):
            for axis in row:
                axis.set_axis_off()
            for axis, (name, image) in zip(row, shown, strict=False):
                axis.imshow(image if image.shape[-1] > 1 else image[..., 0], cmap="gray", vmin=0, vmax=255)
                axis.set_title(name, fontsize="small")
        made.suptitle(title)


def speed(path: Path, comparisons: Sequence[dict[str, Any]], title: str) -> None:
    """Plots the speed-up of each variant over the baseline, one panel per comparison, with quartiles and seconds.

    Comparisons that have no valid ratios show seconds alone.

    Arguments:
        path: the PNG to write.
        comparisons: the comparisons in the form of speed.json.
        title: title of the plot.
    """
    timed = [[row for row in each["variants"] if "seconds" in row] for each in comparisons]
    shown = [(each, rows) for each, rows in zip(comparisons, timed, strict=True) if rows]
    heights = [len(rows) for _, rows in shown] or [1]
    size = (8, 0.8 + 0.8 * len(heights) + 0.3 * sum(heights))
    with figure(path, len(heights), 1, figsize=size, squeeze=False, height_ratios=heights) as (made, panels):
        for axes, (comparison, rows) in zip(panels[:, 0], shown, strict=False):
            valid = not comparison["disturbances"]
            lengths = [row["ratio" if valid else "seconds"] for row in rows]
            whiskers = [[abs(each[end] - each["median"]) for each in lengths] for end in ("low", "high")]
            colours = [COLOURS[0] if row["framework"] == "jaxdiff" else COLOURS[4] for row in rows]
            bars = axes.barh(
                range(len(rows)), [each["median"] for each in lengths], xerr=whiskers, color=colours, error_kw={"elinewidth": 1}
            )
            axes.bar_label(bars, [f"{significant(row['seconds']['median'])} s" for row in rows], padding=6, fontsize="small")
            if valid:
                axes.axvline(1, color="0.3", linestyle=":", linewidth=1)
            axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
            axes.invert_yaxis()
            axes.margins(x=0.15)
            measure = "speed-up over PyTorch's best mode" if valid else "seconds; ratios are not valid on a busy machine"
            axes.set_title(f"{comparison['task']}, {comparison['dtype']}: {measure}", fontsize="medium", loc="left")
            axes.grid(alpha=0.3, axis="x")
        made.suptitle(title, fontsize="medium")
