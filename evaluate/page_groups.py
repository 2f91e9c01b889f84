"""The page's tables of groups: heat maps of pairs of values, intersections of attributes, and shares of the values."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jaxdiff.fairness.groups import SMALL

from .formatting import interval, number
from .report import DIRECTIONS
from .report_groups import MEASURES, SHARES, WITHIN, intersection_name, of_direction, predicted_attributes_note, within

Results = Sequence[Mapping[str, Any]]


def pairs(results: Results, values: Sequence[str]) -> str:
    """A heat map of the folded BER of every pair of values, for each set and direction; empty for two values.

    Arguments:
        results: results of report.json, those of real images first.
        values: of the attribute.
    """
    if not any("pairs" in each for result in results for each in result["directions"].values()):
        return ""
    blocks = ""
    for result in results:
        tables = "".join(
            _heat(f"{result['name']}, {direction.replace('->', ' → ')}", summary, values)
            for direction, summary in result["directions"].items()
        )
        blocks += f'<h3>{escape(result["name"])}</h3><div class="heats">{tables}</div>'
    return (
        '<p class="prose">The folded BER of each pair of values, in %: 50 is chance; darker cells are easier to distinguish. '
        "Below each table: the mean over pairs, and the group with the most errors "
        f"among all {len(values)} values.</p>{blocks}"
    )


def _heat(caption: str, summary: Mapping[str, Any], values: Sequence[str]) -> str:
    found, ends = summary["pairs"]["folded_ber"], summary["pairs"]["intervals"]["folded_ber"]
    head = "".join(f'<th scope="col">{escape(value)}</th>' for value in values[:-1])
    body = ""
    for i in range(1, len(values)):
        cells = "".join(_heat_cell(found[i][j], ends[i][j]) if j < i else "<td></td>" for j in range(len(values) - 1))
        body += f'<tr><th scope="row">{escape(values[i])}</th>{cells}</tr>'
    mean, worst = summary["pairs"], summary["worst"]
    summary_line = f"mean {number(mean['mean'])} {interval(mean['intervals']['mean'])}; "
    summary_line += f"all {len(values)}: BER {number(summary['ber'])}, chance {number(summary['chance'])}"
    if worst["error"]:
        summary_line += f"; most errors in {worst['value']}, {number(worst['error'])}"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="heat">'
        f"<caption>{escape(caption)}</caption><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p><small>{escape(summary_line)}</small></p></div>"
    )


def _heat_cell(folded: float | None, ends: Sequence[float | None]) -> str:
    if folded is None:
        return '<td><span class="visually-hidden">no images</span><span aria-hidden="true">–</span></td>'
    shade = f"{100 * (1 - folded / 50):.0f}"
    return f'<td style="--shade: {shade}">{number(folded)}<small>{interval(ends)}</small></td>'


def intersections(results: Results, accuracy: Mapping[str, Sequence[float]]) -> str:
    """Errors and, where measured, label accuracy in intersections of several attributes.

    Arguments:
        results: results of report.json, those of real images first.
        accuracy: of the attribute classifiers, by attribute and value.
    """
    measured = [(result["name"], result["intersections"]) for result in results if result.get("intersections")]
    if not measured:
        return ""
    parts = {
        f"error, %, {direction.replace('->', ' → ')}": [of_direction(each["directions"], direction) for _, each in measured]
        for direction in DIRECTIONS
    }
    if all("retention" in each for _, each in measured):
        parts["label accuracy"] = [each["retention"] for _, each in measured]
    names, groups = [name for name, _ in measured], measured[0][1]["groups"]
    tables = ""
    for caption, by_set in parts.items():
        digits, held_out = (3 if caption.startswith("label") else 1), caption.endswith("synthetic → synthetic")
        rows = [(group, [_group_cell(found, i, digits) for found in by_set]) for i, group in enumerate(groups)]
        table = table_html(caption, names, rows, intersection_name(measured[0][1]))
        tables += f"<details{' open' * held_out}><summary><b>{escape(caption)}</b></summary>{table}</details>"
    note = predicted_attributes_note([(result["name"], result) for result in results], accuracy)
    about = "Share of images in each group that are classified as another value. n is the number of images; groups with fewer "
    about += f"than {SMALL} images are marked * and are unreliable. {note}"
    return f'<p class="prose">{escape(about)}</p>{tables}'


def _group_cell(found: Mapping[str, Any], i: int, digits: int) -> str:
    count = found["count"][i]
    if not count:
        return '<td><span class="visually-hidden">no images</span><span aria-hidden="true">–</span> <small>n = 0 *</small></td>'
    small = "*" if found["small"][i] else ""
    return (
        f"<td>{number(found['rate'][i], digits)}<small>{interval(found['interval'][i], digits)}</small>"
        f"<small>n = {count:,}{' ' + small if small else ''}</small></td>"
    )


def shares(results: Results, values: Sequence[str]) -> str:
    """The share of images of each set that show each value by each kind of classifier, compared with the target."""
    parts = []
    for key, classifier in SHARES.items():
        if measured := [(result["name"], result[key]) for result in results if result.get(key)]:
            parts.append(_shares(measured, values, classifier))
    return "".join(parts)


def _shares(measured: Sequence[tuple[str, Mapping[str, Any]]], values: Sequence[str], classifier: str) -> str:
    first = measured[0][1]

    def cell(value, ends):
        return f"<td>{number(value, 3)}<small>{interval(ends, 3)}</small></td>"

    rows = [
        (
            f"{name}",
            [
                *(cell(*each) for each in zip(found["frequency"], found["intervals"]["frequency"], strict=True)),
                *(cell(found[name], found["intervals"][name]) for name in MEASURES),
                f"<td>{within(found)}<small>n = {found['count']:,}</small></td>",
            ],
        )
        for name, found in measured
    ]
    target = ", ".join(f"{value} {number(share, 2)}" for value, share in zip(values, first["target"], strict=True))
    right = ", ".join(f"{value} {number(100 * share)} %" for value, share in zip(values, first["accuracy"], strict=True))
    about = (
        "How many images show each value, regardless of their labels; independence of the labels is a separate question. "
        f"Target: {target}. Counted by {classifier}, with an accuracy of {right} on held-out images; "
        "corrected for its confusion matrix"
    )
    about += ", which is nearly singular, so the correction is inaccurate." if first["near_singular"] else "."
    return f'<p class="prose">{escape(about)}</p>' + table_html(
        "shares of the images, and their distances from the target", [*values, *MEASURES.values(), WITHIN], rows, "set"
    )


def table_html(caption: str, names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], corner: str) -> str:
    """A table in a scrollable container; each row is a heading and its cells in HTML."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(f'<tr><th scope="row">{escape(heading)}</th>{"".join(cells)}</tr>\n' for heading, cells in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="numbers">'
        f'<caption>{escape(caption)}</caption><thead><tr><th scope="col">{escape(corner)}</th>{head}</tr></thead>'
        f"<tbody>\n{body}</tbody></table></div>"
    )
