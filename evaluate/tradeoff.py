"""The trade-off over tau between independence of the labels and label accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxdiff.errors import InputError
from jaxdiff.fairness.tradeoff import OBJECTIVES, TradeOff, choose_trade_off

from .report_groups import of_direction

BOUND = (
    "an upper bound of the BER of the best possible classifier, since the attribute classifier that measures label accuracy is "
    "itself one. A point above the line shows that the classifiers trained on the set did not find everything there is to find."
)
"""The meaning of the line in the plots of BER against label accuracy.

A classifier that predicts the label in a share r of each group's images errs in 1 - r of them, so the least BER of all
classifiers is at most 100 (1 - r); for two values its flip, which folding allows, has a BER of 100 r.
"""


def bound(retention: float, values: int) -> float:
    """The largest BER in percent, of two values folded, that the best of all classifiers can have at this retention.

    Holds for groups of equal size, in which the share over all images is the mean of the groups'.
    """
    return 100 * (min(retention, 1 - retention) if values == 2 else 1 - retention)


def chance(values: int) -> float:
    """The BER of random guessing, in percent."""
    return 100 * (1 - 1 / values)


def measured(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The trade-off of a set, from its results in report.json; None if label accuracy was not measured.

    Returns:
        `ber`, the synthetic->synthetic BER in percent, folded for two values; `retention`, the label accuracy; and, if other
        attributes were measured, `largest` and `mean`, the differences between the groups. Each has a `value` and an
        `interval`; differences also have `floor` and `critical`, the mean and the 95 % quantile by chance alone.
    """
    if "retention" not in result:
        return None
    summary = of_direction(result["directions"], "synthetic->synthetic")
    name = "ber" if summary["folded_ber"] is None else "folded_ber"
    retention = result["retention"]
    return {
        "ber": {"value": summary[name], "interval": summary["intervals"][name]},
        "retention": {"value": retention["overall"], "interval": retention["interval"]},
        **{name: result["parity"][name] for name in ("largest", "mean") if "parity" in result},
    }


def points(taus: Sequence[float], results: Sequence[Mapping[str, Any]], values: int) -> list[TradeOff]:
    """The measured trade-offs, for `choose_trade_off`."""
    found = []
    for tau, result in zip(taus, results, strict=True):
        point = measured(result)
        largest = point["largest"]["value"] if "largest" in point else float("nan")
        dependence = chance(values) - point["ber"]["value"]
        found.append(TradeOff(tau, dependence, largest, point["retention"]["value"]))
    return found


def chosen(found: Sequence[TradeOff], retain: float, values: int) -> tuple[dict[str, float | None], str]:
    """The best tau for each objective among those with enough label accuracy, None if there is none; and a summary."""
    taus: dict[str, float | None] = dict.fromkeys(OBJECTIVES)
    parts = []
    for objective in OBJECTIVES:
        try:
            best = choose_trade_off(found, objective=objective, retain=retain)
        except InputError as error:
            return taus, f"No tau was chosen: {error}."
        taus[objective] = best.setting
        reached = {
            "independence": f"least dependent, BER {chance(values) - best.dependence:.1f} (chance {chance(values):.1f})",
            "parity": f"nearest to parity, with a largest difference of {best.disparity:.3f}",
        }
        parts.append(f"tau {best.setting:.3f} is {reached[objective]}, at a label accuracy of {100 * best.retention:.0f} %")
    return taus, f"Of the tau with a label accuracy of at least {100 * retain:g} %, {'; '.join(parts)}."
