"""Tables of a report on groups: pairs of many values, products of attributes, and how many images are of each value."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxdiff.fairness.groups import SMALL
from jaxdiff.fairness.parity import TOLERANCE

from .cells import interval, number

Tables = Iterator[tuple[str, list[str], list[list[str]]]]
"""Title, header and rows of each table."""
Named = Sequence[tuple[str, Mapping[str, Any]]]
"""The verdicts of report.json by name of the set, the real one first."""
MEASURES = {"discrepancy": "discrepancy", "pairwise_bias": "pairwise bias", "divergence": "KL"}
"""The distances of shares from their target, and what they are called."""
WITHIN = f"within ±{100 * TOLERANCE:.0f}"


def of_direction(verdict: Mapping[str, Any], direction: str) -> Mapping[str, Any]:
    """What a mapping by direction tells of one; of real images the only one that there is."""
    return verdict.get(direction) or verdict["real->real"]


def plainest(pairs: Mapping[str, Any]) -> tuple[int, int, float] | None:
    """The two values that are told apart best, and their folded BER; None where no pair has images."""
    folded = pairs["folded_ber"]
    found = [(i, j, folded[i][j]) for i in range(len(folded)) for j in range(i) if folded[i][j] is not None]
    return min(found, key=lambda each: each[2], default=None)


def pairwise(named: Named, values: Sequence[str], directions: Mapping[str, str], *, full: bool) -> Tables:
    """The folded BER of each pair of values; of two values there is nothing to tell."""
    if len(values) == 2:
        return
    meaning = "folded BER, 50: chance"
    if not full:
        rows = []
        for name, verdict in named:
            row = [name]
            for direction in directions:
                pairs = of_direction(verdict["directions"], direction)["pairs"]
                found = plainest(pairs)
                told = f"; {values[found[1]]}-{values[found[0]]} {number(found[2])}" if found else ""
                row.append(f"{number(pairs['mean'])}{told}")
            rows.append(row)
        yield f"pairs of values ({meaning}): mean; most distinguishable pair", ["set", *directions], rows
        return
    pairs_of = [(i, j) for i in range(len(values)) for j in range(i + 1, len(values))]
    for direction, about in directions.items():
        rows = []
        for name, verdict in named:
            pairs = of_direction(verdict["directions"], direction)["pairs"]
            folded, ends = pairs["folded_ber"], pairs["intervals"]
            row = [name, f"{number(pairs['mean'])} {interval(ends['mean'])}"]
            rows.append([*row, *(f"{number(folded[i][j])} {interval(ends['folded_ber'][i][j])}" for i, j in pairs_of)])
        header = ["set", "mean", *(f"{values[i]}-{values[j]}" for i, j in pairs_of)]
        yield f"pairs of values ({meaning}), {direction}: {about}", header, rows


def intersections(named: Named, directions: Mapping[str, str], *, full: bool) -> Tables:
    """Errors, and retention where it is measured, in every group of several attributes; else in the worst group alone."""
    told = [(name, verdict["intersections"]) for name, verdict in named if verdict.get("intersections")]
    if not told:
        return
    crossed = crossing(told[0][1])
    parts = [
        (f"error in groups of {crossed}, {direction}: {about}", 1, [of_direction(e["directions"], direction) for _, e in told])
        for direction, about in directions.items()
    ]
    if "retention" in told[0][1]:
        parts.append((f"label accuracy in groups of {crossed}", 3, [each["retention"] for _, each in told]))
    groups, names = told[0][1]["groups"], [name for name, _ in told]
    for title, digits, by_set in parts:
        if full:
            rows = [[group, *(_group_cell(found, i, digits) for found in by_set)] for i, group in enumerate(groups)]
            yield f"{title} (n; * fewer than {SMALL} images: unreliable)", [crossed, *names], rows
        else:
            high = digits == 1  # of errors the most, of retention the least
            rows = [[name, *_worst_group(found, groups, digits, high)] for name, found in zip(names, by_set, strict=True)]
            title = f"{'largest' if high else 'lowest'} {title}; groups of {SMALL} images or more"
            yield title, ["set", crossed, "error" if high else "accuracy", "n"], rows


def crossing(told: Mapping[str, Any]) -> str:
    """The names of the attributes whose values the groups combine."""
    return " x ".join(told["attributes"])


def _group_cell(found: Mapping[str, Any], i: int, digits: int) -> str:
    count, ends = found["count"][i], found["interval"][i]
    if not count:
        return "- (0*)"
    return f"{number(found['rate'][i], digits)} {interval(ends, digits)} ({count}{'*' * found['small'][i]})"


def _worst_group(found: Mapping[str, Any], groups: Sequence[str], digits: int, high: bool) -> list[str]:
    """Name, rate and images of the group of the highest or lowest rate that is not small; dashes where all are."""
    large = [i for i, small in enumerate(found["small"]) if not small]
    if not large:
        return ["-", "-", "-"]
    worst = (max if high else min)(large, key=lambda i: found["rate"][i])
    return [groups[worst], number(found["rate"][worst], digits), str(found["count"][worst])]


def seen_by_judges(named: Named, accuracy: Mapping[str, Sequence[float]]) -> str:
    """Says where the groups' other attributes are no labels of the sets but a judge's answers; empty where all are labels."""
    by_attributes: dict[tuple[str, ...], list[str]] = {}
    for name, verdict in named:
        if judged := (verdict.get("intersections") or {}).get("judged"):
            by_attributes.setdefault(tuple(judged), []).append(name)
    right = {name: " / ".join(number(100 * each) for each in rates) for name, rates in accuracy.items()}
    return " ".join(
        f"{', '.join(names)} has no labels of {' or '.join(judged)}: a classifier trained on real images predicts them, "
        f"with an accuracy by value of {', '.join(f'{right[each]} % ({each})' for each in judged)} on held-out real images."
        for judged, names in by_attributes.items()
    )


def shares(named: Named, attribute: str, values: Sequence[str], *, full: bool) -> Tables:
    """How many images are of each value: another question than whether the label can be told."""
    told = [(name, verdict["shares"]) for name, verdict in named if verdict.get("shares")]
    if not told:
        return
    first = told[0][1]
    target = " / ".join(number(share, 2) for share in first["target"])
    title = f"shares of {attribute} (target {target})"
    if full:
        right = " / ".join(number(100 * share) for share in first["accuracy"])
        title += f"; by a classifier with an accuracy of {right} % on real images, corrected for its confusion matrix"
        title += ", which is nearly singular, so inaccurate" * first["near_singular"]

    def cell(found, name, digits=3):
        return f"{number(found[name], digits)}" + (f" {interval(found['intervals'][name], digits)}" if full else "")

    # the terminal has room for one
    measures = MEASURES if full else {"discrepancy": MEASURES["discrepancy"]}
    rows = []
    for name, found in told:
        by_value = zip(found["frequency"], found["intervals"]["frequency"], strict=True)
        row = [name, str(found["count"])]
        row += [number(share, 3) + (f" {interval(ends, 3)}" if full else "") for share, ends in by_value]
        rows.append([*row, *(cell(found, each) for each in measures), within(found)])
    yield title, ["set", "n", *values, *measures.values(), WITHIN], rows


def within(found: Mapping[str, Any]) -> str:
    """Whether all shares lie near the target; `unsure` where the interval holds both answers."""
    low, high = found["intervals"]["within"]
    return "unsure" if low != high else "yes" if found["within"] else "no"
