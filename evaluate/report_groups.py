"""Tables of groups in a report: pairs of values, intersections of attributes, and shares of the values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxdiff.fairness.groups import SMALL
from jaxdiff.fairness.parity import TOLERANCE

from .formatting import interval, number

Tables = Iterator[tuple[str, list[str], list[list[str]]]]
"""Title, header and rows of each table."""
Named = Sequence[tuple[str, Mapping[str, Any]]]
"""The results of report.json by name of the set, those of real images first."""
MEASURES = {"discrepancy": "discrepancy", "pairwise_bias": "pairwise bias", "divergence": "KL"}
"""The distances of shares from their target, with their headings."""
SHARES = {"shares": "classifiers trained on real images", "external_shares": "the external classifier"}
"""The shares in the results, and what counted them."""
WITHIN = f"within ±{100 * TOLERANCE:.0f}"


def of_direction(result: Mapping[str, Any], direction: str) -> Mapping[str, Any]:
    """The entry of a direction; for real images, which have only one, that of real->real."""
    return result.get(direction) or result["real->real"]


def most_distinguishable(pairs: Mapping[str, Any]) -> tuple[int, int, float] | None:
    """The pair of values that is easiest to distinguish, and its folded BER; None if no pair has images."""
    folded = pairs["folded_ber"]
    found = [(i, j, folded[i][j]) for i in range(len(folded)) for j in range(i) if folded[i][j] is not None]
    return min(found, key=lambda each: each[2], default=None)


def pairwise(named: Named, values: Sequence[str], directions: Mapping[str, str], *, full: bool) -> Tables:
    """The folded BER of each pair of values; nothing for two values."""
    if len(values) == 2:
        return
    meaning = "folded BER, 50: chance"
    if not full:
        rows = []
        for name, result in named:
            row = [name]
            for direction in directions:
                pairs = of_direction(result["directions"], direction)["pairs"]
                found = most_distinguishable(pairs)
                pair = f"; {values[found[1]]}-{values[found[0]]} {number(found[2])}" if found else ""
                row.append(f"{number(pairs['mean'])}{pair}")
            rows.append(row)
        yield f"pairs of values ({meaning}): mean; most distinguishable pair", ["set", *directions], rows
        return
    pairs_of = [(i, j) for i in range(len(values)) for j in range(i + 1, len(values))]
    for direction, about in directions.items():
        rows = []
        for name, result in named:
            pairs = of_direction(result["directions"], direction)["pairs"]
            folded, ends = pairs["folded_ber"], pairs["intervals"]
            row = [name, f"{number(pairs['mean'])} {interval(ends['mean'])}"]
            rows.append([*row, *(f"{number(folded[i][j])} {interval(ends['folded_ber'][i][j])}" for i, j in pairs_of)])
        header = ["set", "mean", *(f"{values[i]}-{values[j]}" for i, j in pairs_of)]
        yield f"pairs of values ({meaning}), {direction}: {about}", header, rows


def intersections(named: Named, directions: Mapping[str, str], *, full: bool) -> Tables:
    """Errors and, if measured, label accuracy in the intersections of several attributes: in all, or in the worst one."""
    measured = [(name, result["intersections"]) for name, result in named if result.get("intersections")]
    if not measured:
        return
    intersected = intersection_name(measured[0][1])
    parts = [
        (
            f"error in groups of {intersected}, {direction}: {about}",
            1,
            [of_direction(e["directions"], direction) for _, e in measured],
        )
        for direction, about in directions.items()
    ]
    if "retention" in measured[0][1]:
        parts.append((f"label accuracy in groups of {intersected}", 3, [each["retention"] for _, each in measured]))
    groups, names = measured[0][1]["groups"], [name for name, _ in measured]
    for title, digits, by_set in parts:
        if full:
            rows = [[group, *(_group_cell(found, i, digits) for found in by_set)] for i, group in enumerate(groups)]
            yield f"{title} (n; * fewer than {SMALL} images: unreliable)", [intersected, *names], rows
        else:
            high = digits == 1  # the largest error, the lowest label accuracy
            rows = [[name, *_worst_group(found, groups, digits, high)] for name, found in zip(names, by_set, strict=True)]
            title = f"{'largest' if high else 'lowest'} {title}; groups of {SMALL} images or more"
            yield title, ["set", intersected, "error" if high else "accuracy", "n"], rows


def intersection_name(found: Mapping[str, Any]) -> str:
    """The names of the attributes whose values the groups combine."""
    return " x ".join(found["attributes"])


def _group_cell(found: Mapping[str, Any], i: int, digits: int) -> str:
    count, ends = found["count"][i], found["interval"][i]
    if not count:
        return "- (0*)"
    return f"{number(found['rate'][i], digits)} {interval(ends, digits)} ({count}{'*' * found['small'][i]})"


def _worst_group(found: Mapping[str, Any], groups: Sequence[str], digits: int, high: bool) -> list[str]:
    """Name, rate and number of images of the large group with the highest or lowest rate; dashes if all groups are small."""
    large = [i for i, small in enumerate(found["small"]) if not small]
    if not large:
        return ["-", "-", "-"]
    worst = (max if high else min)(large, key=lambda i: found["rate"][i])
    return [groups[worst], number(found["rate"][worst], digits), str(found["count"][worst])]


def predicted_attributes_note(named: Named, accuracy: Mapping[str, Sequence[float]]) -> str:
    """Names the attributes that classifiers predict because a set has no labels of them; empty if there are none."""
    by_attributes: dict[tuple[str, ...], list[str]] = {}
    for name, result in named:
        if predicted := (result.get("intersections") or {}).get("predicted"):
            by_attributes.setdefault(tuple(predicted), []).append(name)
    accuracies = {name: " / ".join(number(100 * each) for each in rates) for name, rates in accuracy.items()}
    sentences = []
    for predicted, names in by_attributes.items():
        listed = ", ".join(f"{accuracies[each]} % ({each})" for each in predicted)
        sentences.append(
            f"No labels of {' or '.join(predicted)} in {', '.join(names)}: a classifier trained on real images predicts them, "
            f"with an accuracy by value of {listed} on held-out real images."
        )
    return " ".join(sentences)


def shares(named: Named, attribute: str, values: Sequence[str], *, full: bool) -> Tables:
    """The share of images that show each value by each kind of classifier, a question separate from independence of the
    labels."""
    for key, classifier in SHARES.items():
        if measured := [(name, result[key]) for name, result in named if result.get(key)]:
            yield _shares(measured, attribute, values, classifier, full=full)


def _shares(
    measured: Named, attribute: str, values: Sequence[str], classifier: str, *, full: bool
) -> tuple[str, list[str], list[list[str]]]:
    first = measured[0][1]
    target = " / ".join(number(share, 2) for share in first["target"])
    title = f"shares of {attribute} (target {target}); by {classifier}"
    if full:
        accuracies = " / ".join(number(100 * share) for share in first["accuracy"])
        title += f", with an accuracy of {accuracies} % on real images, corrected for its confusion matrix"
        title += ", which is nearly singular, so inaccurate" * first["near_singular"]

    def cell(found, name, digits=3):
        return f"{number(found[name], digits)}" + (f" {interval(found['intervals'][name], digits)}" if full else "")

    # the terminal has room for only one
    measures = MEASURES if full else {"discrepancy": MEASURES["discrepancy"]}
    rows = []
    for name, found in measured:
        by_value = zip(found["frequency"], found["intervals"]["frequency"], strict=True)
        row = [name, str(found["count"])]
        row += [number(share, 3) + (f" {interval(ends, 3)}" if full else "") for share, ends in by_value]
        rows.append([*row, *(cell(found, each) for each in measures), within(found)])
    return title, ["set", "n", *values, *measures.values(), WITHIN], rows


def within(found: Mapping[str, Any]) -> str:
    """Whether all shares are within the tolerance of the target; `unsure` if the interval contains both answers."""
    low, high = found["intervals"]["within_tolerance"]
    return "unsure" if low != high else "yes" if found["within_tolerance"] else "no"
