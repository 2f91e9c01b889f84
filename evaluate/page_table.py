"""The tables of the HTML report: their columns, and the best and worst value of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from .report import DIRECTIONS

MARKS = {"best": "●", "worst": "○"}


@dataclass(frozen=True)
class Column:
    """A column of numbers from the results in report.json.

    Attributes:
        heading: the heading.
        path: the keys of the number in a result, joined by dots.
        better: which values are better: `higher`, `lower`, or those near this number.
        digits: decimals shown.
        about: the small line below the heading.
        note: gives the small line below the number, from the mapping that contains the number.
    """

    heading: str
    path: str
    better: str | float
    digits: int = 1
    about: str = ""
    note: Callable[[Mapping[str, Any]], str] = lambda numbers: ""

    def __post_init__(self):
        assert self.better in ("higher", "lower") or isinstance(self.better, int | float), self.better

    def numbers(self, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """The mapping that contains the number; empty if the result has none."""
        for key in self.path.split(".")[:-1]:
            result = result.get(key) or {}
        return result

    def value(self, result: Mapping[str, Any]) -> float | None:
        """The number, rounded as shown; None if the result has none."""
        found = self.numbers(result).get(self.path.split(".")[-1])
        return None if found is None else round(found, self.digits)

    def badness(self, value: float) -> float:
        """A number that is smallest for the best value."""
        signed = {"lower": value, "higher": -value}
        return signed[self.better] if self.better in signed else round(abs(value - self.better), self.digits)


def _ends(interval: Sequence[float | None] | None, digits: int) -> str:
    """An interval as [low, high]; empty where it is undefined."""
    return "" if not interval or None in interval else f"[{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def _ber_note(summary: Mapping[str, Any]) -> str:
    deviation = summary["ber_deviation"]
    return _ends(summary["intervals"]["ber"], 1) + ("" if deviation is None else f" ± {deviation:.1f}")


def _error_note(summary: Mapping[str, Any]) -> str:
    return " / ".join("-" if error is None else f"{error:.1f}" for error in summary["error"])


def _worst_note(worst: Mapping[str, Any]) -> str:
    return worst["value"] or ""


def _p_note(test: Mapping[str, Any]) -> str:
    return f"p {test['p_value']:.3f}"


def _quality(heading: str, name: str, better: str, digits: int) -> Column:
    return Column(
        heading, f"quality.{name}", better, digits, note=lambda quality: _ends(quality.get("intervals", {}).get(name), digits)
    )


def _share(heading: str, path: str, better: str) -> Column:
    return Column(heading, path, better, 3, note=lambda numbers: _ends(numbers.get("interval"), 3))


OPTIONAL = {
    ("quality", "against real images"): (
        _quality("Fréchet", "frechet", "lower", 2),
        _quality("kernel", "kernel", "lower", 4),
        _quality("precision", "precision", "higher", 3),
        _quality("recall", "recall", "higher", 3),
        _quality("density", "density", "higher", 3),
        _quality("coverage", "coverage", "higher", 3),
    ),
    ("utility", "label accuracy, parity of other attributes, and agreement with prompts"): (
        _share("label accuracy", "retention.overall", "higher"),
        _share("external classifier", "external_label_accuracy.overall", "higher"),
        _share("largest disparity", "parity.largest.value", "lower"),
        _share("mean disparity", "parity.mean.value", "lower"),
        Column("agreement", "agreement.mean", "higher", 2, note=lambda found: _ends(found.get("interval"), 2)),
    ),
    ("beyond the label", "what the images reveal of it besides the feature that defines it"): (
        Column("slack, %", "slack.value", 0.0, 1, "[95 %]", lambda found: _ends(found.get("interval"), 1)),
        Column("BER, erased", "leak.linear.ber", "higher", 1, "[95 %]", lambda found: _ends(found.get("interval"), 1)),
        Column("BER, masked", "leak.masked.ber", "higher", 1, "[95 %]", lambda found: _ends(found.get("interval"), 1)),
    ),
    ("cost", "per image"): (
        Column("evaluations", "cost.evaluations", "lower", 0),
        Column("seconds", "cost.seconds_per_image", "lower", 4),
    ),
}
"""Columns that a report may lack, by heading and meaning of their group; a column without numbers is omitted."""


def fairness_columns(report: Mapping[str, Any]) -> dict[tuple[str, str], list[Column]]:
    """The columns of error rates in three directions and of energy distances, by heading and meaning of their group."""
    values = report["values"]
    groups = {}
    for direction, meaning in DIRECTIONS.items():
        path = f"directions.{direction}"
        # for two values the BER nearest to chance has the largest folded BER
        columns = [Column("BER, %", f"{path}.ber", 100 * (1 - 1 / len(values)), 1, "[95 %] ± seeds", _ber_note)]
        if len(values) == 2:
            columns.append(Column("folded", f"{path}.folded_ber", "higher"))
        about = " / ".join(values) if len(values) <= 3 else ""
        columns.append(Column("gap", f"{path}.gap", "lower", 1, about, _error_note if about else lambda summary: ""))
        if "worst" in report["real"].get("directions", {}).get("real->real", {}):
            columns.append(Column("worst", f"{path}.worst.error", columns[0].better, 1, "group", _worst_note))
        groups[direction.replace("->", " → "), meaning] = columns
    groups["energy distance", "between the groups"] = [
        Column(space, f"energy.{space}.distance", 0, 3, "p-value", _p_note) for space in report["real"]["energy"]
    ]
    return groups


def result_rows(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The result of each row, real images first, with real->real in every direction; one energy test in each space.

    With several pairs of values it is the test of the pair with the largest distance.
    """
    real = report["real"]
    rows = [{**real, "directions": dict.fromkeys(DIRECTIONS, real["directions"]["real->real"])}, *report["synthetic"]]
    return [
        {**row, "energy": {space: max(tests, key=lambda test: test["distance"]) for space, tests in row["energy"].items()}}
        for row in rows
    ]


def present(groups: Mapping[Any, Sequence[Column]], rows: Sequence[Mapping[str, Any]]) -> dict[Any, list[Column]]:
    """The columns for which at least one result has a number."""
    found = {
        group: [column for column in columns if any(column.value(row) is not None for row in rows)]
        for group, columns in groups.items()
    }
    return {group: columns for group, columns in found.items() if columns}


def marks(column: Column, rows: Sequence[Mapping[str, Any]], compared: Sequence[bool]) -> list[str]:
    """`best`, `worst` or an empty string for each row, by the numbers as shown; equal numbers share a mark.

    Arguments:
        column: the column.
        rows: the result of each row.
        compared: whether a row is compared; without two different numbers nothing is marked.
    """
    values = [column.value(row) if takes_part else None for row, takes_part in zip(rows, compared, strict=True)]
    badness = [None if value is None else column.badness(value) for value in values]
    known = [each for each in badness if each is not None]
    if not known or min(known) == max(known):
        return [""] * len(rows)
    names = {min(known): "best", max(known): "worst"}
    return ["" if each is None else names.get(each, "") for each in badness]


def table(
    caption: str,
    groups: Mapping[tuple[str, str], Sequence[Column]],
    headers: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    compared: Sequence[bool],
) -> str:
    """An HTML table in a scrollable container.

    Arguments:
        caption: its caption.
        groups: columns by heading and meaning of their group.
        headers: the heading of each row, HTML.
        rows: a result each.
        compared: as `marks` takes it.
    """
    upper, lower, cells = "", "", [""] * len(rows)
    for (heading, meaning), columns in groups.items():
        upper += f'<th scope="colgroup" colspan="{len(columns)}">{_two(heading, meaning)}</th>'
        for column in columns:
            lower += f'<th scope="col">{_two(column.heading, column.about)}</th>'
            for i, mark in enumerate(marks(column, rows, compared)):
                cells[i] += _cell(column, rows[i], mark)
    spans = "".join(f'<colgroup span="{len(columns)}"></colgroup>' for columns in groups.values())
    body = "\n".join(f'<tr><th scope="row">{header}</th>{row}</tr>' for header, row in zip(headers, cells, strict=True))
    return f"""<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="results">
<caption>{escape(caption)}</caption>
<colgroup></colgroup>{spans}
<thead>
<tr><th scope="col" rowspan="2">set</th>{upper}</tr>
<tr>{lower}</tr>
</thead>
<tbody>
{body}
</tbody>
</table></div>"""


def _two(heading: str, about: str) -> str:
    return escape(heading) + (f" <small>{escape(about)}</small>" if about else "")


def _cell(column: Column, result: Mapping[str, Any], mark: str) -> str:
    value = column.value(result)
    if value is None:
        return '<td><span class="visually-hidden">not measured</span><span aria-hidden="true">–</span></td>'
    note = column.note(column.numbers(result))
    kind = f' class="{mark}"' if mark else ""
    # before the number, so that the digits of a column stay aligned
    sign = (
        f'<span class="mark" aria-hidden="true">{MARKS[mark]}</span> <span class="visually-hidden">{mark}</span> '
        if mark
        else ""
    )
    small = f" <small>{escape(note)}</small>" if note else ""
    return f'<td{kind}>{sign}<span class="number">{value:.{column.digits}f}</span>{small}</td>'
