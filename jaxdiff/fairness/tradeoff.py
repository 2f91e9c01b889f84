"""The choice of a transition point among measured ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxdiff.errors import InputError

OBJECTIVES = {"independence": "dependence", "parity": "disparity"}
"""What a choice aims at, and the measure of a `TradeOff` that it makes smallest."""


@dataclass(frozen=True)
class TradeOff:
    """What was measured of images drawn at one transition point.

    Fields:
        tau: the transition point.
        dependence: how far the images and their labels are from independent, 0 if they are: 50 minus the folded
            synthetic->synthetic BER, or an energy distance.
        disparity: how far the groups are from parity of what is associated with them, 0 at parity: the largest or mean
            difference of `AssociatedParity`.
        retention: the share of images, 0 to 1, whose defining feature is that of their label (`measure_retention`).
    """

    tau: float
    dependence: float
    disparity: float
    retention: float


def choose(points: Sequence[TradeOff], *, objective: str = "independence", retain: float = 0.8) -> TradeOff:
    """The point of least dependence or disparity among those that retain enough; of equal ones the one that retains most.

    Arguments:
        points: at least one.
        objective: `independence` or `parity`.
        retain: the least retention, a share in [0, 1].

    Raises:
        InputError: an unknown objective, no points, a measure that is no number, or no point that retains as much.
    """
    if objective not in OBJECTIVES:
        raise InputError(f"`objective` must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    if not 0 <= retain <= 1:
        raise InputError(f"`retain` must be a share within 0 and 1, got {retain}")
    measure = OBJECTIVES[objective]
    if not points or any(math.isnan(getattr(point, measure)) or math.isnan(point.retention) for point in points):
        raise InputError(f"`points` must be at least one, with {measure} and retention of each a number, got {list(points)}")
    kept = [point for point in points if point.retention >= retain]
    if not kept:
        most = max(points, key=lambda point: point.retention)
        raise InputError(
            f"no point has a retention of {retain:.3g}; the largest is {most.retention:.3g}, at tau {most.tau:.3g}"
        )
    return min(kept, key=lambda point: (getattr(point, measure), -point.retention))
