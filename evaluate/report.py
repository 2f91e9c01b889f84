"""Fairness reports: tables on the terminal, report.json, report.md and report.png."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from jaxdiff._console.plots import pyplot
from jaxdiff.fairness.evaluation import FairnessEvaluation, SetEvaluation
from jaxdiff.fairness.groups import PairwiseSummary
from jaxdiff.fairness.metrics import GroupErrors, Summary

from . import findings, report_groups
from .cells import interval as brackets
from .cells import number
from .writing import finite, print_tables, whole, write_json

DIRECTIONS = {
    "synthetic->real": "trained on the set, tested on real images",
    "real->synthetic": "trained on real images, tested on the set",
    "synthetic->synthetic": "trained on half of the set, tested on the other half (held out)",
}

READING = """\
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

**Shares are a separate question.** How many images show each value is unrelated to whether images are independent of their
labels. Discrepancy is the Euclidean distance of the shares from their target, pairwise bias the mean difference between two
shares, KL the divergence from the target in nats; all are above 0 by chance, and more so with fewer images."""


@dataclass(frozen=True)
class Judged:
    """An evaluation with its provenance.

    Fields:
        judgement: the library's result.
        attribute: the attribute's name.
        values: the names of its values.
        extras: for the real and each synthetic set, the results of `evaluate.measures`, JSON-ready.
        context: command, options, versions, machine and seconds.
    """

    judgement: FairnessEvaluation
    attribute: str
    values: tuple[str, ...]
    extras: Sequence[Mapping[str, Any]]
    context: Mapping[str, Any]


def show(judged: Judged, console: Console) -> None:
    """Prints the tables, narrow enough for 80 columns."""
    print_tables(_all_tables(judged, full=False), console)
    findings.show(_extras(judged), console)
    console.print(_sizes(judged), highlight=False)
    if judges := report_groups.seen_by_judges(_named(judged), judged.context.get("feature_accuracy", {})):
        console.print(judges, highlight=False)
    console.print("A BER of 50 in one direction alone is not independence: see report.md.", highlight=False)


def write(judged: Judged, folder: Path) -> None:
    """Writes report.json, report.md and report.png, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "report.json", plain(judged))
    whole(folder / "report.md", lambda path: path.write_text(_markdown(judged)))
    whole(folder / "report.png", lambda path: _picture(judged, path))


def plain(judged: Judged) -> dict[str, Any]:
    """The content of report.json; undefined numbers are null."""
    judgement = judged.judgement
    return finite(
        {
            "attribute": judged.attribute,
            "values": list(judged.values),
            "train_count": judgement.train_count,
            "seeds": judgement.seeds,
            "training": {**asdict(judgement.training), "images_seen": judgement.training.steps * judgement.training.batch},
            "real": {**_plain_verdict(judgement.real, judged.values), **judged.extras[0]},
            "synthetic": [
                {**_plain_verdict(verdict, judged.values), **extra}
                for verdict, extra in zip(judgement.synthetic, judged.extras[1:], strict=True)
            ],
            **judged.context,
        }
    )


def _plain_verdict(verdict: SetEvaluation, values) -> dict[str, Any]:
    return {
        "name": verdict.name,
        "count": verdict.count.tolist(),
        "directions": {
            direction: _plain_summary(summary) | _plain_values(summary, verdict.pairs.get(direction), values)
            for direction, summary in verdict.directions.items()
        },
        "energy": {
            space: [{"values": [values[a], values[b]], **asdict(test)} for (a, b), test in tests.items()]
            for space, tests in verdict.energy.items()
        },
        "chance": {direction: asdict(test) for direction, test in verdict.chance.items()},
    }


def _plain_summary(summary: Summary) -> dict[str, Any]:
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


def _plain_values(summary: Summary, pairs: PairwiseSummary | None, values: Sequence[str]) -> dict[str, Any]:
    """What is told of more than two values beside the rates: the worst group, and every pair."""
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


def _extras(judged: Judged) -> dict[str, Mapping[str, Any]]:
    """What was measured beside the verdict, by synthetic set."""
    return {verdict.name: extra for verdict, extra in zip(judged.judgement.synthetic, judged.extras[1:], strict=True)}


def _rows(judgement: FairnessEvaluation, direction: str) -> list[tuple[str, Summary]]:
    real = judgement.real
    return [(real.name, real.directions["real->real"]), *((v.name, v.directions[direction]) for v in judgement.synthetic)]


def _all_tables(judged: Judged, *, full: bool) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each table; `full` gives every number its interval."""
    named = _named(judged)
    yield from _tables(judged, full=full)
    yield from report_groups.pairwise(named, judged.values, DIRECTIONS, full=full)
    yield from report_groups.intersections(named, DIRECTIONS, full=full)
    yield from _measure_tables(judged, full=full)
    yield from report_groups.shares(named, judged.attribute, judged.values, full=full)


def _named(judged: Judged) -> report_groups.Named:
    """The verdicts as report.json has them, by name."""
    told = plain(judged)
    return [(each["name"], each) for each in (told["real"], *told["synthetic"])]


def _tables(judged: Judged, *, full: bool) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each table; `full` gives every number its interval."""
    values = judged.values
    binary = len(values) == 2
    groups = [f"S={i}" for i in range(len(values))]
    header = ["set", "n", *groups, "gap", "BER", "95 %", "±seeds" if full else "±", *(["folded", "eps"] if binary else [])]
    # of many values the terminal has no room for each
    header = header if binary else [*(header if full else [name for name in header if name not in groups]), "worst"]
    for direction, meaning in DIRECTIONS.items():
        rows = []
        for name, summary in _rows(judged.judgement, direction):
            mean, ends = summary.mean, summary.intervals

            def cell(rate, interval):
                return f"{number(rate)} {brackets(interval)}" if full else number(rate)

            each = full or binary
            row = [name, "+".join(map(str, mean.count)) if each else str(mean.count.sum())]
            row += [*(map(cell, mean.error, ends["error"]) if each else ()), cell(mean.gap, ends["gap"])]
            interval = brackets(ends["ber"])
            # on the terminal the brackets' room goes to the names
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
        guess = "" if binary else f"; chance: {number(100 * (1 - 1 / len(values)))}"
        yield f"{direction}: {meaning}{guess}", header, rows
    rows = []
    for verdict in (judged.judgement.real, *judged.judgement.synthetic):
        for pair in verdict.energy["pixels"]:
            name = verdict.name if binary else f"{verdict.name} {pair[0]}-{pair[1]}"
            row = [name, "+".join(map(str, verdict.energy["pixels"][pair].count))]
            for tests in verdict.energy.values():
                test = tests[pair]
                row += [number(test.distance, 3), number(test.relative, 3), number(test.p_value, 3)]
            rows.append(row)
    columns = [name for space in judged.judgement.real.energy for name in (space, "relative", "p")]
    yield "energy distance between the groups (relative: 0 equal, 1 point masses)", ["set", "n", *columns], rows


def _measure_tables(judged: Judged, *, full: bool) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of what `evaluate.measures` measured; `full` gives intervals, groups and single attributes too."""
    named = list(zip((judged.judgement.real.name, *(v.name for v in judged.judgement.synthetic)), judged.extras, strict=True))

    def cell(value, interval, digits):
        return f"{number(value, digits)} {brackets(interval, digits)}" if full else number(value, digits)

    if "quality" in judged.extras[0]:
        digits = {"frechet": 2, "kernel": 3, "precision": 3, "recall": 3, "density": 3, "coverage": 3}
        rows = []
        for name, extra in named:
            groups = zip(judged.values, extra["quality"]["groups"], strict=True) if full else ()
            told = [(name, extra["quality"]), *((f"{name}, {value}", group) for value, group in groups)]
            rows += [
                [name, str(each["count"][1]), *(cell(each[key], each["intervals"][key], d) for key, d in digits.items())]
                for name, each in told
            ]
        reference = judged.extras[0]["quality"]
        extractor = ", ".join(f"{key} {value}" for key, value in reference["extractor"].items())
        title = f"quality against {reference['count'][0]} real images" + (f"; features: {extractor}" if full else "")
        yield title, ["set", "n", "Fréchet", "kernel", *list(digits)[2:]], rows
    if "retention" in judged.extras[0]:
        attributes = list(judged.extras[0].get("parity", {}).get("attributes", {}))
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
    if "external_label_accuracy" in judged.extras[0]:
        groups = list(judged.values)
        rows = []
        for name, extra in named:
            found = extra["external_label_accuracy"]
            row = [name, str(found["count"]), cell(found["overall"], found["interval"], 3), number(found["ber"])]
            rows.append([*row, *(number(rate, 3) for rate in found["groups"])])
        about = judged.context["external_classifier"]
        title = f"external attribute classifier, {about['file']} ({about['sha256']})"
        yield title, ["set", "n", "label accuracy", "BER", *groups], rows
    if costs := [(name, extra["cost"]) for name, extra in named if "cost" in extra]:
        seconds = lambda told: number(told.get("seconds_per_image", math.nan), 3)  # noqa: E731
        rows = [[name, str(told.get("evaluations", "-")), seconds(told)] for name, told in costs]
        yield "cost per image", ["set", "evaluations", "seconds"], rows


def _sizes(judged: Judged) -> str:
    judgement, training = judged.judgement, judged.judgement.training
    groups = ", ".join(f"S={i} is {name}" for i, name in enumerate(judged.values))
    widths = ", ".join(map(str, training.widths))
    return (
        f"Attribute {judged.attribute}: {groups}. {judgement.seeds} classifiers per set, each trained on "
        f"{judgement.train_count} images: a ResNet of widths {widths}, {training.steps} steps of {training.batch} images "
        f"({training.steps * training.batch} images seen)."
    )


def _overview(judged: Judged) -> tuple[str, list[str], list[list[str]]]:
    """A row for each set: the three BER and the energy distances, of several pairs of values the largest."""
    rows = []
    for verdict in (judged.judgement.real, *judged.judgement.synthetic):
        row = [verdict.name]
        for direction in DIRECTIONS:
            summary = verdict.directions.get(direction) or verdict.directions["real->real"]
            ends = brackets(summary.intervals["ber"])
            row.append(f"{number(summary.mean.ber)} {ends} ± {number(summary.ber_deviation)}")
        for tests in verdict.energy.values():
            test = max(tests.values(), key=lambda test: test.distance)
            row.append(f"{number(test.distance, 3)} ({number(test.p_value, 3)})")
        rows.append(row)
    energies = [f"energy distance, {space} (p)" for space in judged.judgement.real.energy]
    return "BER, % [95 %] ± seeds, and energy distance between the groups", ["set", *DIRECTIONS, *energies], rows


def _markdown(judged: Judged) -> str:
    parts = [f"# Fairness of {judged.attribute}", _sizes(judged)]
    for title, header, rows in (_overview(judged), *_all_tables(judged, full=True)):
        lines = [header, [":--", *["--:"] * (len(header) - 1)], *rows]
        parts += [
            f"## {title}",
            "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines),
        ]
    parts += findings.markdown(_extras(judged))
    energy = (
        "Energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'| as an unbiased U-statistic, which may be negative; |.| is Euclidean, of "
        "pixels in [-1, 1] and of the penultimate layer of the first classifier trained on real images; relative is the "
        "distance / (2 E|X-Y|)."
    )
    judges = report_groups.seen_by_judges(_named(judged), judged.context.get("feature_accuracy", {}))
    origin = f"`{' '.join(judged.context['command'])}`, {judged.context['seconds']} s on {judged.context['machine']}."
    parts += [judges] if judges else []
    return "\n\n".join([*parts, energy, "![BER and energy distance](report.png)", READING, origin]) + "\n"


def _picture(judged: Judged, path: Path) -> None:
    """BER by direction with its intervals beside the relative energy distances."""
    judgement = judged.judgement
    names = [judgement.real.name, *(verdict.name for verdict in judgement.synthetic)]
    positions = np.arange(len(names))
    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(5 + 1.6 * len(names), 4.2), layout="constrained")
    for i, direction in enumerate(DIRECTIONS):
        summaries = [summary for _, summary in _rows(judgement, direction)]
        ber = np.array([float(summary.mean.ber) for summary in summaries])
        ends = np.array([summary.intervals["ber"] for summary in summaries])
        error = np.maximum(np.abs(ends.T - ber), 0)
        left.errorbar(positions + 0.15 * (i - 1), ber, yerr=error, fmt="o", capsize=3, label=direction)
    chance = 100 * (1 - 1 / len(judged.values))
    left.axhline(chance, color="grey", linestyle=":", linewidth=1)
    left.set(ylabel="BER, %", ylim=(-3, 103), title="balanced error rate, 95 % intervals")
    spaces = judgement.real.energy
    for i, space in enumerate(spaces):
        relative = [max(test.relative for test in v.energy[space].values()) for v in (judgement.real, *judgement.synthetic)]
        right.bar(positions + 0.35 * (i - (len(spaces) - 1) / 2), relative, width=0.3, label=space)
    right.axhline(0, color="grey", linewidth=1)
    right.set(ylabel="relative energy distance", title="distance between the groups")
    for axes in (left, right):
        axes.set_xticks(positions, [Path(name).name for name in names], rotation=20, ha="right")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120, format="png")
    plt.close(figure)
