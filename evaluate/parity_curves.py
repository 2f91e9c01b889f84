"""The parity curve of the compared sets: which no other is better than, and the area that each method dominates."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxdiff.fairness.pareto import ParityCurve, parity_curve

from .formatting import number
from .report_groups import Named, Tables

DIFFERENCES = ("mean", "largest")
"""The differences between the groups in other attributes, each with a curve."""
ALL = "all sets"
OTHER = "other images"
"""The method of images that jaxdiff did not draw."""


def of_sets(named: Named, difference: str, values: int) -> ParityCurve | None:
    """The curve of sets, by their results in report.json; None without label accuracy and parity of each."""
    if not named or not all("retention" in result and "parity" in result for _, result in named):
        return None
    kept = np.array([result["retention"]["overall"] for _, result in named], float)
    found = np.array([result["parity"][difference]["value"] for _, result in named], float)
    return parity_curve(kept, found, values=values)


def by_method(named: Named) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    """The sets of each method, in their order."""
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for name, result in named:
        found.setdefault(result.get("method", OTHER), []).append((name, result))
    return found


def measured(named: Named, *, values: int) -> dict[str, Any]:
    """The curves of two synthetic sets or more, JSON-ready under `parity_curve`; empty where parity was not measured."""
    curves = {difference: of_sets(named, difference, values) for difference in DIFFERENCES}
    if len(named) < 2 or None in curves.values():
        return {}
    answer: dict[str, Any] = {}
    for difference, curve in curves.items():
        methods = {method: of_sets(sets, difference, values) for method, sets in by_method(named).items()}
        answer[difference] = {
            "front": [named[i][0] for i in curve.front],
            "hypervolume": curve.hypervolume,
            "methods": {method: each.hypervolume for method, each in methods.items()},
            "reference": {"retention": curve.reference[0], "difference": curve.reference[1]},
        }
    return {"parity_curve": answer}


def tables(named: Named, *, values: int) -> Tables:
    """Title, header and rows: the sets by label accuracy, and the area of each method."""
    if not (found := measured(named, values=values).get("parity_curve")):
        return
    front = {difference: {id(named[i][1]) for i in of_sets(named, difference, values).front} for difference in DIFFERENCES}

    def cell(result, difference):
        mark = " *" * (id(result) in front[difference])
        return number(result["parity"][difference]["value"], 3) + mark

    ordered = sorted(named, key=lambda each: each[1]["retention"]["overall"])
    rows = [
        [
            name,
            result.get("method", OTHER),
            number(result["retention"]["overall"], 3),
            cell(result, "mean"),
            cell(result, "largest"),
        ]
        for name, result in ordered
    ]
    yield (
        "parity curve (* on the Pareto front)",
        ["set", "method", "label accuracy", "mean difference", "largest difference"],
        rows,
    )
    reference = found["mean"]["reference"]
    most = (1 - reference["retention"]) * reference["difference"]
    rows = [
        [method, str(len(sets)), *(number(found[difference]["methods"][method], 3) for difference in DIFFERENCES)]
        for method, sets in by_method(named).items()
    ]
    rows.append([ALL, str(len(named)), *(number(found[difference]["hypervolume"], 3) for difference in DIFFERENCES)])
    title = (
        f"hypervolume of the parity curve, from label accuracy {number(reference['retention'], 3)} and difference 1: at most "
    )
    yield f"{title}{number(most, 3)}", ["method", "sets", "mean difference", "largest difference"], rows
