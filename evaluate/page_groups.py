"""The page's tables of groups: pairs of values as heat, groups of several attributes, and shares of each value."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jaxdiff.fairness.groups import SMALL

from .cells import interval, number
from .report import DIRECTIONS
from .report_groups import MEASURES, WITHIN, crossing, of_direction, seen_by_judges, within

Verdicts = Sequence[Mapping[str, Any]]


def pairs(verdicts: Verdicts, values: Sequence[str]) -> str:
    """A heat table of the folded BER of every pair of values, for each set and direction; nothing of two values.

    Arguments:
        verdicts: of report.json, the real one first.
        values: of the attribute.
    """
    if not any("pairs" in each for verdict in verdicts for each in verdict["directions"].values()):
        return ""
    blocks = ""
    for verdict in verdicts:
        tables = "".join(
            _heat(f"{verdict['name']}, {direction.replace('->', ' → ')}", summary, values)
            for direction, summary in verdict["directions"].items()
        )
        blocks += f'<h3>{escape(verdict["name"])}</h3><div class="heats">{tables}</div>'
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
    told = f"mean {number(mean['mean'])} {interval(mean['intervals']['mean'])}; "
    told += f"all {len(values)}: BER {number(summary['ber'])}, a guess {number(summary['chance'])}"
    if worst["error"]:
        told += f"; most errors in {worst['value']}, {number(worst['error'])}"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="heat">'
        f"<caption>{escape(caption)}</caption><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p><small>{escape(told)}</small></p></div>"
    )


def _heat_cell(folded: float | None, ends: Sequence[float | None]) -> str:
    if folded is None:
        return '<td><span class="unheard">no images</span><span aria-hidden="true">–</span></td>'
    told = f"{100 * (1 - folded / 50):.0f}"
    return f'<td style="--told: {told}">{number(folded)}<small>{interval(ends)}</small></td>'


def intersections(verdicts: Verdicts, accuracy: Mapping[str, Sequence[float]]) -> str:
    """Errors, and retention where it was measured, in the groups of several attributes.

    Arguments:
        verdicts: of report.json, the real one first.
        accuracy: of the judges of features.
    """
    told = [(verdict["name"], verdict["intersections"]) for verdict in verdicts if verdict.get("intersections")]
    if not told:
        return ""
    parts = {
        f"error, %, {direction.replace('->', ' → ')}": [of_direction(each["directions"], direction) for _, each in told]
        for direction in DIRECTIONS
    }
    if all("retention" in each for _, each in told):
        parts["label accuracy"] = [each["retention"] for _, each in told]
    names, groups = [name for name, _ in told], told[0][1]["groups"]
    tables = ""
    for caption, by_set in parts.items():
        digits, held_out = (3 if caption.startswith("label") else 1), caption.endswith("synthetic → synthetic")
        rows = [(group, [_group_cell(found, i, digits) for found in by_set]) for i, group in enumerate(groups)]
        table = _table(caption, names, rows, crossing(told[0][1]))
        tables += f"<details{' open' * held_out}><summary><b>{escape(caption)}</b></summary>{table}</details>"
    judges = seen_by_judges([(verdict["name"], verdict) for verdict in verdicts], accuracy)
    about = "Share of images in each group that are classified as another value. n is the number of images; groups with fewer "
    about += f"than {SMALL} images are marked * and are unreliable. {judges}"
    return f'<p class="prose">{escape(about)}</p>{tables}'


def _group_cell(found: Mapping[str, Any], i: int, digits: int) -> str:
    count = found["count"][i]
    if not count:
        return '<td><span class="unheard">no images</span><span aria-hidden="true">–</span> <small>n = 0 *</small></td>'
    small = "*" if found["small"][i] else ""
    return (
        f"<td>{number(found['rate'][i], digits)}<small>{interval(found['interval'][i], digits)}</small>"
        f"<small>n = {count:,}{' ' + small if small else ''}</small></td>"
    )


def shares(verdicts: Verdicts, values: Sequence[str]) -> str:
    """How many images of each set are of each value, beside the target."""
    told = [(verdict["name"], verdict["shares"]) for verdict in verdicts if verdict.get("shares")]
    if not told:
        return ""
    first = told[0][1]

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
        for name, found in told
    ]
    target = ", ".join(f"{value} {number(share, 2)}" for value, share in zip(values, first["target"], strict=True))
    right = ", ".join(f"{value} {number(100 * share)} %" for value, share in zip(values, first["accuracy"], strict=True))
    about = (
        "How many images show each value, regardless of their labels; independence of the labels is a separate question. "
        f"Target: {target}. Counted by a classifier trained on real images, with an accuracy of {right} on held-out images; "
        "corrected for its confusion matrix"
    )
    about += ", which is nearly singular, so the correction is inaccurate." if first["near_singular"] else "."
    return f'<p class="prose">{escape(about)}</p>' + _table(
        "shares of the images, and their distances from the target", [*values, *MEASURES.values(), WITHIN], rows, "set"
    )


def _table(caption: str, names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], corner: str) -> str:
    """A table in a container that scrolls; rows are a heading and cells in HTML."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = "".join(f'<tr><th scope="row">{escape(heading)}</th>{"".join(cells)}</tr>\n' for heading, cells in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="numbers">'
        f'<caption>{escape(caption)}</caption><thead><tr><th scope="col">{escape(corner)}</th>{head}</tr></thead>'
        f"<tbody>\n{body}</tbody></table></div>"
    )
