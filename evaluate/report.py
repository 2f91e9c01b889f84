"""Fairness reports: tables on the terminal, report.json, report.md and report.png."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from jaxdiff._console.plots import encodable, figure
from jaxdiff.fairness.evaluation import FairnessEvaluation, SetEvaluation
from jaxdiff.fairness.groups import PairwiseSummary
from jaxdiff.fairness.metrics import GroupErrors, Summary
from jaxdiff.writing import write_text

from . import findings, parity_curves, report_gates, report_groups, report_leak, report_quality
from .formatting import interval as brackets
from .formatting import number
from .writing import finite, markdown, markdown_code, markdown_table, print_tables, write_json

DIRECTIONS = {
    "synthetic->real": "trained on the set, tested on real images",
    "real->synthetic": "trained on real images, tested on the set",
    "synthetic->synthetic": "trained on half of the set, tested on the other half (held out)",
}

READING = f"""\
S=k is the error rate on group k, in percent; gap is the largest minus the smallest; BER, the balanced error rate, is their
mean; folded is min(BER, 100 - BER), since a classifier that is always wrong has also found the attribute; eps is the largest e
for which no classifier tested here, nor its flip, does better. [Brackets] are 95 % bootstrap intervals over images, +- the
standard deviation over classifier seeds; the interval of folded is at most 50, so near 50 use that of BER.

**How to read it.** A set that is independent of its labels has a BER near 50 (of K values: 100 (1 - 1/K)) in *all three*
directions, and groups whose energy distance is near 0 with a p-value that is not small. A BER of 50 in one direction is not
independence: wrong labels, or coarse features of one group with fine features of the other, can balance to 50 against real
images while a classifier trained on the set itself still distinguishes the groups. A classifier at chance does not prove that a
better classifier would fail too. The Real row is a classifier trained on real images and tested on held-out real images, the
same in every table: the error of labels and classifier. A generator that always draws the same image is fair by all of these
measures: look at the images, and measure their quality. The attribute describes appearance, as labelled by annotators or chosen
at sampling; it says nothing about anyone's identity.

**Many values, several attributes.** The mean over many values hides which values are distinguished: read the worst group, and
the folded BER of each pair of values, where 50 is chance. Intersections of several attributes have few images each: check n and
the interval, and do not interpret a group marked as small.

{report_leak.READING}

**Parity curve.** Of several sets, one with more labels kept at no larger difference is better. Those that no other set is
better than are on the Pareto front, marked with a star. The hypervolume is the area of label accuracy and difference that the
sets of a method dominate, from the label accuracy of random labels and a difference of 1; it grows with the settings tried.

**Shares are a separate question.** How many images show each value is unrelated to whether images are independent of their
labels. Discrepancy is the Euclidean distance of the shares from their target, pairwise bias the mean difference between two
shares, KL the divergence from the target in nats; all are above 0 by chance, and more so with fewer images."""


@dataclass(frozen=True)
class FairnessReport:
    """An evaluation with its provenance.

    Fields:
        evaluation: the library's result.
        attribute: the attribute's name.
        values: the names of its values.
        extras: for the real and each synthetic set, the results of `evaluate.measures`, JSON-ready.
        context: command, options, versions, machine and seconds; `missing`, the parts that are not measured yet, if any.
    """

    evaluation: FairnessEvaluation
    attribute: str
    values: tuple[str, ...]
    extras: Sequence[Mapping[str, Any]]
    context: Mapping[str, Any]


def show(report: FairnessReport, console: Console) -> None:
    """Prints the tables, narrow enough for 80 columns."""
    print_tables(_all_tables(report, full=False), console)
    findings.show(_extras(report), console)
    if note := report_quality.features_note(report.extras[0]):
        console.print(note, highlight=False)
    if note := report_leak.note(report.context.get("erasure")):
        console.print(note, highlight=False)
    console.print(_sizes(report), highlight=False)
    if note := report_groups.predicted_attributes_note(_named(report), report.context.get("feature_accuracy", {})):
        console.print(note, highlight=False)
    console.print("A BER of 50 in one direction alone is not independence: see report.md.", highlight=False)


def write(report: FairnessReport, folder: Path) -> None:
    """Writes report.json, report.md and report.png, each atomically; a report with parts missing has no picture."""
    write_json(folder / "report.json", as_json(report))
    write_text(folder / "report.md", _markdown(report))
    if "missing" in report.context:
        (folder / "report.png").unlink(missing_ok=True)
    else:
        _picture(report, folder / "report.png")


def as_json(report: FairnessReport) -> dict[str, Any]:
    """The content of report.json; undefined numbers are null."""
    evaluation = report.evaluation
    named = [(result.name, extra) for result, extra in zip(evaluation.synthetic, report.extras[1:], strict=True)]
    return finite(
        {
            "attribute": report.attribute,
            "values": list(report.values),
            "train_count": evaluation.train_count,
            "seeds": evaluation.seeds,
            "training": {**asdict(evaluation.training), "images_seen": evaluation.training.steps * evaluation.training.batch},
            "real": {**_result_json(evaluation.real, report.values), **report.extras[0]},
            "synthetic": [
                {**_result_json(result, report.values), **extra}
                for result, extra in zip(evaluation.synthetic, report.extras[1:], strict=True)
            ],
            **parity_curves.measured(named, values=len(report.values)),
            **report.context,
        }
    )


def _result_json(result: SetEvaluation, values) -> dict[str, Any]:
    return {
        "name": result.name,
        "count": result.count.tolist(),
        "directions": {
            direction: _summary_json(summary) | _values_json(summary, result.pairs.get(direction), values)
            for direction, summary in result.directions.items()
        },
        "energy": {
            space: [{"values": [values[a], values[b]], **asdict(test)} for (a, b), test in tests.items()]
            for space, tests in result.energy.items()
        },
        "chance": {direction: asdict(test) for direction, test in result.chance.items()},
    }


def _summary_json(summary: Summary) -> dict[str, Any]:
    def rates(errors: GroupErrors):
        names = ("error", "gap", "ber", "folded_ber")
        return {name: getattr(errors, name).tolist() for name in names}

    return {
        **rates(summary.mean),
        "epsilon": summary.per_seed.epsilon,
        "count": summary.mean.count.tolist(),
        "ber_deviation": summary.ber_deviation,
        "level": summary.level,
        "intervals": {name: ends.tolist() for name, ends in summary.intervals.items() if name != "worst"},
        "per_seed": rates(summary.per_seed),
    }


def _values_json(summary: Summary, pairs: PairwiseSummary | None, values: Sequence[str]) -> dict[str, Any]:
    """For more than two values: chance, the worst group, and every pair of values."""
    if pairs is None:
        return {}
    mean = summary.mean
    worst = None if np.isnan(mean.worst) else values[int(mean.error.argmax())]
    names = ("error", "ber", "folded_ber", "mean")
    return {
        "chance": mean.chance,
        "worst": {"value": worst, "error": float(mean.worst), "interval": summary.intervals["worst"].tolist()},
        "pairs": {
            **{name: getattr(pairs.mean, name).tolist() for name in names},
            "intervals": {name: ends.tolist() for name, ends in pairs.intervals.items()},
        },
    }


def _extras(report: FairnessReport) -> dict[str, Mapping[str, Any]]:
    """The further measurements of each synthetic set, by name."""
    return {result.name: extra for result, extra in zip(report.evaluation.synthetic, report.extras[1:], strict=True)}


def _rows(evaluation: FairnessEvaluation, direction: str) -> list[tuple[str, Summary]]:
    real = evaluation.real
    return [(real.name, real.directions["real->real"]), *((v.name, v.directions[direction]) for v in evaluation.synthetic)]


def _all_tables(report: FairnessReport, *, full: bool) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each table; `full` gives every number its interval."""
    named = _named(report)
    yield from _tables(report, full=full)
    yield from report_groups.pairwise(named, report.values, DIRECTIONS, full=full)
    yield from report_groups.intersections(named, DIRECTIONS, full=full)
    yield from _measure_tables(report, full=full)
    yield from report_groups.shares(named, report.attribute, report.values, full=full)


def _named(report: FairnessReport) -> report_groups.Named:
    """The results in the form of report.json, by name of the set."""
    content = as_json(report)
    return [(each["name"], each) for each in (content["real"], *content["synthetic"])]


def _tables(report: FairnessReport, *, full: bool) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each table; `full` gives every number its interval."""
    values = report.values
    binary = len(values) == 2
    groups = [f"S={i}" for i in range(len(values))]
    header = ["set", "n", *groups, "gap", "BER", "95 %", "±seeds" if full else "±", *(["folded", "eps"] if binary else [])]
    # the terminal has no room for many values
    header = header if binary else [*(header if full else [name for name in header if name not in groups]), "worst"]
    for direction, meaning in DIRECTIONS.items():
        rows = []
        for name, summary in _rows(report.evaluation, direction):
            mean, ends = summary.mean, summary.intervals

            def cell(rate, interval):
                return f"{number(rate)} {brackets(interval)}" if full else number(rate)

            each = full or binary
            row = [name, "+".join(map(str, mean.count)) if each else str(mean.count.sum())]
            row += [*(map(cell, mean.error, ends["error"]) if each else ()), cell(mean.gap, ends["gap"])]
            interval = brackets(ends["ber"])
            # the terminal has no room for brackets
            row += [
                number(mean.ber),
                interval if full else interval.strip("[]").replace(", ", "-"),
                number(summary.ber_deviation),
            ]
            if binary:
                row += [cell(mean.folded_ber, ends["folded_ber"]), number(summary.per_seed.epsilon, 3)]
            else:
                row.append(f"{cell(mean.worst, ends['worst'])} {values[int(np.nanargmax(mean.error))]}")
            rows.append(row)
        chance = "" if binary else f"; chance: {number(100 * (1 - 1 / len(values)))}"
        yield f"{direction}: {meaning}{chance}", header, rows
    rows = []
    for result in (report.evaluation.real, *report.evaluation.synthetic):
        for pair in result.energy["pixels"]:
            name = result.name if binary else f"{result.name} {pair[0]}-{pair[1]}"
            row = [name, "+".join(map(str, result.energy["pixels"][pair].count))]
            for tests in result.energy.values():
                test = tests[pair]
                row += [number(test.distance, 3), number(test.relative, 3), number(test.p_value, 3)]
            rows.append(row)
    columns = [name for space in report.evaluation.real.energy for name in (space, "relative", "p")]
    yield "energy distance between the groups (relative: 0 equal, 1 point masses)", ["set", "n", *columns], rows


def _measure_tables(report: FairnessReport, *, full: bool) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of what `evaluate.measures` measured; `full` gives intervals, groups and single attributes too."""
    named = list(zip((report.evaluation.real.name, *(v.name for v in report.evaluation.synthetic)), report.extras, strict=True))

    def cell(value, interval, digits):
        return f"{number(value, digits)} {brackets(interval, digits)}" if full else number(value, digits)

    yield from report_quality.tables(named, report.values, full=full)
    if "retention" in report.extras[0]:
        attributes = list(report.extras[0].get("parity", {}).get("attributes", {}))
        rows = []
        for name, extra in named:
            row = [name, cell(extra["retention"]["overall"], extra["retention"]["interval"], 3)]
            if attributes:
                row += [cell(part["value"], part["interval"], 3) for part in map(extra["parity"].get, ("largest", "mean"))]
                single = extra["parity"]["attributes"].values()
                row += [number(found["difference"], 3) for found in single] if full else []
            rows.append(row)
        header = ["set", "label accuracy", *(["largest difference", "mean difference"] if attributes else [])]
        title = "label accuracy, and other attributes' difference between the groups (0: parity)"
        yield title, [*header, *(attributes if full else [])], rows
    yield from parity_curves.tables(named[1:], values=len(report.values))
    yield from report_leak.tables(named, full=full)
    if "external_label_accuracy" in report.extras[0]:
        groups = list(report.values)
        rows = []
        for name, extra in named:
            found = extra["external_label_accuracy"]
            row = [name, str(found["count"]), cell(found["overall"], found["interval"], 3), number(found["ber"])]
            rows.append([*row, *(number(rate, 3) for rate in found["groups"])])
        about = report.context["external_classifier"]
        title = f"external attribute classifier, {about['file']} ({about['sha256']})" + (f"; {about['input']}" if full else "")
        yield title, ["set", "n", "label accuracy", "BER", *groups], rows
    if drawn := [(name, extra["agreement"]) for name, extra in named if "agreement" in extra]:
        rows = [
            [
                name,
                f"{number(found['mean'], 2)} {brackets(found['interval'], 2)}",
                *(cell(each["mean"], each["interval"], 2) for each in found["groups"]),
            ]
            for name, found in drawn
        ]
        model = report.context["clip"]
        title = f"agreement of images with their prompts by {model['folder']} ({model['fingerprint']}), 100 max(cosine, 0)"
        yield title, ["set", "agreement", *report.values], rows
    yield from report_gates.tables(named)
    if costs := [(name, extra["cost"]) for name, extra in named if "cost" in extra]:
        seconds = lambda cost: number(cost.get("seconds_per_image", math.nan), 3)  # noqa: E731
        rows = [[name, str(cost.get("evaluations", "-")), seconds(cost)] for name, cost in costs]
        yield "cost per image", ["set", "evaluations", "seconds"], rows


def _sizes(report: FairnessReport) -> str:
    evaluation, training = report.evaluation, report.evaluation.training
    groups = ", ".join(f"S={i} is {name}" for i, name in enumerate(report.values))
    widths = ", ".join(map(str, training.widths))
    return (
        f"Attribute {report.attribute}: {groups}. {evaluation.seeds} classifiers per set, each trained on "
        f"{evaluation.train_count} images: a ResNet of widths {widths}, {training.steps} steps of {training.batch} images "
        f"({training.steps * training.batch} images seen)."
    )


def _overview(report: FairnessReport) -> tuple[str, list[str], list[list[str]]]:
    """A row for each set: the BER in three directions, and the largest energy distance of any pair of values."""
    rows = []
    for result in (report.evaluation.real, *report.evaluation.synthetic):
        row = [result.name]
        for direction in DIRECTIONS:
            summary = result.directions.get(direction) or result.directions["real->real"]
            ends = brackets(summary.intervals["ber"])
            row.append(f"{number(summary.mean.ber)} {ends} ± {number(summary.ber_deviation)}")
        for tests in result.energy.values():
            test = max(tests.values(), key=lambda test: test.distance)
            row.append(f"{number(test.distance, 3)} ({number(test.p_value, 3)})")
        rows.append(row)
    energies = [f"energy distance, {space} (p)" for space in report.evaluation.real.energy]
    return "BER, % [95 %] ± seeds, and energy distance between the groups", ["set", *DIRECTIONS, *energies], rows


def _markdown(report: FairnessReport) -> str:
    parts = [f"# Fairness of {markdown(report.attribute)}", markdown(_sizes(report))]
    if missing := report.context.get("missing"):
        parts.append(f"**Not measured yet, or ended before: {', '.join(missing)}.**")
    for title, header, rows in (_overview(report), *_all_tables(report, full=True)):
        parts += [f"## {markdown(title)}", markdown_table(header, rows)]
    parts += findings.markdown(_extras(report))
    energy = (
        "Energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'| as an unbiased U-statistic, which may be negative; |.| is Euclidean, of "
        "pixels in [-1, 1] and of the penultimate layer of the first classifier trained on real images; relative is the "
        "distance / (2 E|X-Y|)."
    )
    note = report_groups.predicted_attributes_note(_named(report), report.context.get("feature_accuracy", {}))
    origin = f"{markdown_code(report.context['command'])}, {report.context['seconds']} s on {report.context['machine']}."
    parts += [markdown(each) for each in (note, report_leak.note(report.context.get("erasure"))) if each]
    picture = [] if missing else ["![BER and energy distance](report.png)"]
    return "\n\n".join([*parts, energy, *picture, READING, origin]) + "\n"


def _picture(report: FairnessReport, path: Path) -> None:
    """Plots the BER in each direction with its interval, and the relative energy distances."""
    evaluation = report.evaluation
    names = [evaluation.real.name, *(result.name for result in evaluation.synthetic)]
    positions = np.arange(len(names))
    with figure(path, 1, 2, figsize=(5 + 1.6 * len(names), 4.2)) as (_, (left, right)):
        for i, direction in enumerate(DIRECTIONS):
            summaries = [summary for _, summary in _rows(evaluation, direction)]
            ber = np.array([float(summary.mean.ber) for summary in summaries])
            ends = np.array([summary.intervals["ber"] for summary in summaries])
            error = np.maximum(np.abs(ends.T - ber), 0)
            left.errorbar(positions + 0.15 * (i - 1), ber, yerr=error, fmt="o", capsize=3, label=direction)
        chance = 100 * (1 - 1 / len(report.values))
        left.axhline(chance, color="grey", linestyle=":", linewidth=1)
        left.set(ylabel="BER, %", ylim=(-3, 103), title="balanced error rate, 95 % intervals")
        spaces = evaluation.real.energy
        for i, space in enumerate(spaces):
            relative = [
                max(test.relative for test in v.energy[space].values()) for v in (evaluation.real, *evaluation.synthetic)
            ]
            right.bar(positions + 0.35 * (i - (len(spaces) - 1) / 2), relative, width=0.3, label=space)
        right.axhline(0, color="grey", linewidth=1)
        right.set(ylabel="relative energy distance", title="distance between the groups")
        for axes in (left, right):
            axes.set_xticks(positions, [encodable(Path(name).name) for name in names], rotation=20, ha="right")
            axes.legend(frameon=False)
