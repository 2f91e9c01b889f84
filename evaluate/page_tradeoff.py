"""The page's plots of fairness against label accuracy, over tau and of all compared sets; a click shows a point's images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from .formatting import interval, number
from .tradeoff import BOUND, bound, measured

WIDTH, HEIGHT = 360, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 30, 40
"""Margins around the axes."""
MOST_NAMES = 8
"""The largest number of sets whose names are all written in a plot; of more, those on the front."""


@dataclass(frozen=True)
class Scale:
    """A linear axis, which maps numbers to coordinates.

    Attributes:
        low, high: the ends of the axis.
        start, stop: their coordinates.
    """

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The coordinate of a value, clipped to the ends."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Round numbers on the axis, four to eight."""
        span = self.high - self.low
        unit = 10 ** math.floor(math.log10(span))
        step = next(unit * part for part in (0.1, 0.2, 0.25, 0.5, 1, 2) if span / (unit * part) <= 6)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def curve(taus: Sequence[float], results: Sequence[Mapping[str, Any] | None], real: Mapping[str, Any], *, current: int) -> str:
    """Independence and parity against label accuracy as SVG; empty if no result has them.

    Arguments:
        taus: tau of each frame.
        results: the results of their sets in report.json, if any.
        real: the results of real images; may be empty.
        current: the frame shown first.
    """
    found = {i: point for i, result in enumerate(results) if result and (point := measured(result))}
    if not found:
        return ""
    reference = measured(real) if real else None
    values = len(next(result for result in results if result)["count"])
    across, line = _shares([*found.values(), *([reference] if reference else [])]), []
    line = [(share, bound(share, values)) for i in range(101) if across.low <= (share := i / 100) <= across.high]
    names = {i: (f"{taus[i]:g}", f"τ = {taus[i]:g}") for i in found}
    given = (names, found, reference, across, current, [list(found)])
    panels = panel("independence: BER, synthetic → synthetic, %", "ber", *given, line)
    if all("largest" in point for point in [*found.values(), *([reference] if reference else [])]):
        panels += panel("parity: largest difference of other attributes", "largest", *given)
    about = f"One point per τ, with 95 % intervals; × marks real images. Click a point to see its images. Dotted: {BOUND}"
    return f'<div class="panels tradeoff">{panels}</div><p class="legend">{escape(about)}</p>'


def parity(
    names: Sequence[str],
    results: Sequence[Mapping[str, Any]],
    real: Mapping[str, Any],
    *,
    curve: Mapping[str, Any],
    current: int,
) -> str:
    """The mean and the largest difference of other attributes against label accuracy, of all compared sets, as SVG.

    Arguments:
        names: of the sets.
        results: their results in report.json, each with label accuracy and parity.
        real: the results of real images.
        curve: `parity_curve` of report.json.
        current: the set that is shown first.
    """
    found = {i: point for i, result in enumerate(results) if (point := measured(result))}
    reference = measured(real)
    across = _shares([*found.values(), *([reference] if reference else [])])
    methods: dict[str, list[int]] = {}
    for i in sorted(found, key=lambda i: found[i]["retention"]["value"]):
        methods.setdefault(results[i].get("method", ""), []).append(i)
    ways = [places for method, places in methods.items() if method]
    panels = ""
    for name in ("mean", "largest"):
        front = set(curve[name]["front"])
        # the names of many sets would cover one another
        labels = {i: (names[i] if len(names) <= MOST_NAMES or names[i] in front else "", names[i]) for i in found}
        steps = sorted((found[i]["retention"]["value"], found[i][name]["value"]) for i in found if names[i] in front)
        panels += panel(
            f"{name} difference of other attributes", name, labels, found, reference, across, current, ways, _stairs(steps)
        )
    return f'<div class="panels tradeoff">{panels}</div>'


def _shares(known: Sequence[Mapping[str, Any]]) -> Scale:
    """The axis of label accuracy."""
    ends = [end for point in known for end in point["retention"]["interval"]]
    return Scale(max(0.0, min(ends) - 0.04), min(1.0, max(ends) + 0.04), LEFT, WIDTH - RIGHT)


def _stairs(front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of what the points of a front dominate, from few labels kept to many."""
    corners: list[tuple[float, float]] = []
    for before, (kept, height) in zip([None, *front], front, strict=False):
        corners += [(before[0], height)] if before else []
        corners.append((kept, height))
    return corners


def stats(result: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The numbers of the trade-off at one tau, each with its interval."""
    point = measured(result) or {}
    names = {"retention": "label accuracy", "largest": "largest difference", "mean": "mean difference"}
    return {
        about: (number(point[name]["value"], 3), interval(point[name]["interval"], 3))
        for name, about in names.items()
        if name in point
    }


def panel(
    title: str,
    name: str,
    labels: Mapping[int, tuple[str, str]],
    found: Mapping[int, Mapping[str, Any]],
    reference: Mapping[str, Any] | None,
    across: Scale,
    current: int,
    ways: Sequence[Sequence[int]],
    line: Sequence[tuple[float, float]] = (),
) -> str:
    """A plot of one measure against label accuracy.

    Arguments:
        title: above the plot.
        name: of the measure in each point, see `tradeoff.measured`.
        labels: what is written beside each point, and its name, by number of its frame.
        found: the points.
        reference: that of real images, if any.
        across: the axis of label accuracy.
        current: the point that is chosen.
        ways: the points that a line joins.
        line: a dotted line.
    """
    known = [*found.values(), *([reference] if reference else [])]
    top = max([point[name]["interval"][1] for point in known] + [point[name]["value"] for point in known])
    top = max(top, *(height for _, height in line)) if line else top
    up = Scale(0.0, 1.12 * top or 1.0, HEIGHT - BOTTOM, TOP)
    marks = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        for tick in map(_clean, up.ticks())
    )
    marks += "".join(
        f'<text class="tick" x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in map(_clean, across.ticks())
    )
    marks += f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">label accuracy</text>'
    if line:
        path = " ".join(f"{across(share):.1f},{up(height):.1f}" for share, height in line)
        marks += f'<polyline class="bound" points="{path}"/>'
    places = {i: (across(point["retention"]["value"]), up(point[name]["value"])) for i, point in found.items()}
    for way in ways:
        marks += '<polyline class="way" points="' + " ".join(f"{places[i][0]:.1f},{places[i][1]:.1f}" for i in way) + '"/>'
    if reference:
        x, y = across(reference["retention"]["value"]), up(reference[name]["value"])
        marks += f'<path class="real" d="M{x - 4:.1f},{y - 4:.1f}l8,8m0,-8l-8,8"><title>real images</title></path>'
    for i, (x, y) in places.items():
        point = found[i]
        sides, ends = ([scale(end) for end in point[key]["interval"]] for scale, key in ((across, "retention"), (up, name)))
        beside, own = map(escape, labels[i])
        # towards the middle, so that names stay within the plot
        side, anchor = (6, "start") if x < (LEFT + WIDTH) / 2 else (-6, "end")
        if len(beside) < 6:
            side, anchor = 6, "start"
        marks += (
            f'<g class="point{" current" * (i == current)}" data-frame="{i}"><title>{own}</title>'
            f'<path class="ends" d="M{sides[0]:.1f},{y:.1f}H{sides[1]:.1f}M{x:.1f},{ends[0]:.1f}V{ends[1]:.1f}"/>'
            f'<circle class="reach" cx="{x:.1f}" cy="{y:.1f}" r="11"/><circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
            f'<text x="{x + side:.1f}" y="{y - 6:.1f}" text-anchor="{anchor}">{beside}</text></g>'
        )
    points = "; ".join(
        f"{labels[i][1]}: {number(point[name]['value'], 3)} at label accuracy {number(point['retention']['value'], 3)}"
        for i, point in found.items()
    )
    return (
        f'<svg class="panel" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title}. {points}")}">'
        f'<text class="head" x="{LEFT}" y="16">{escape(title)}</text>{marks}</svg>'
    )


def _clean(tick: float) -> float:
    """A tick without rounding errors."""
    return round(tick, 10)
