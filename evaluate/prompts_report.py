"""Reports of sets drawn by prompts: tables on the terminal, prompts.json, prompts.md and prompts.png."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from jaxdiff._console.plots import COLOURS, figure
from jaxdiff.fairness.parity import TOLERANCE
from jaxdiff.writing import write_text

from . import report_gates, report_quality
from .formatting import interval, number
from .report_groups import WITHIN
from .writing import finite, markdown, markdown_code, markdown_table, print_tables, write_json

Tables = Iterator[tuple[str, list[str], list[list[str]]]]
"""Title, header and rows of each table."""

READING = f"""\
**Shares.** The share of a prompt's images that show each value, as the classifier sees them, with its distances from the
target: |p - target| (of the value where it is largest); the fairness discrepancy FD, the Euclidean distance of all shares from
their target (of two values sqrt(2) |p - target|); and KL, the divergence from the target in nats. They are above 0 by chance,
and more so with fewer images: compare sets of as many. "{WITHIN}" says whether all shares are within
{100 * TOLERANCE:.0f} points of the target. Shares are corrected for the classifier's confusion matrix where real images give
one; otherwise they depend on the classifier, and one that is often wrong draws all shares together. A prompt that names the
value itself has no parity to reach.

**Unchanged.** Of the images that were drawn from the same noise and prompt as in the first set, the share in which a classifier
sees the same value of each *other* attribute. What a method changes beside its target lowers it; so do errors of the
classifier.

**Agreement.** The mean of 100 max(cosine, 0) between the CLIP vectors of an image and of its prompt (the CLIP score). It
depends on the CLIP model: compare only scores of one model, and of one prompt with itself.

[Brackets] are 95 % intervals over the images of each prompt: of shares and their distances by Jeffreys' prior, of single
unchanged attributes Wilson's, of the others bootstrap. Shares say how many images show a value. Whether images reveal their
label is another question: see `jaxdiff evaluate fairness`."""


def show(content: Mapping[str, Any], console: Console) -> None:
    """Prints the tables, narrow enough for 80 columns."""
    print_tables(tables(content, full=False), console)
    for note in notes(content):
        console.print(note, highlight=False, markup=False)


def write(content: Mapping[str, Any], folder: Path) -> None:
    """Writes prompts.json, prompts.md and, with an attribute, prompts.png, each atomically; a report with sets missing has no
    picture."""
    write_json(folder / "prompts.json", finite(content))
    write_text(folder / "prompts.md", _markdown(content))
    if content["attribute"] is None or "missing" in content:
        (folder / "prompts.png").unlink(missing_ok=True)
    else:
        _picture(content, folder / "prompts.png")


def rows_of(content: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Short name of the context, set and row of each context of each set, by context."""
    for context, short in zip(content["contexts"], content["short_names"], strict=True):
        for each in content["sets"]:
            for row in each["contexts"]:
                if row["context"] == context:
                    yield short, each, row


def tables(content: Mapping[str, Any], *, full: bool) -> Tables:
    """Title, header and rows of each table; `full` gives every number its interval."""
    if content["attribute"] is not None:
        yield _shares(content, full=full)
    yield _sets(content, full=full)
    if content["clip"] is not None and len(content["contexts"]) > 1:
        yield _agreement(content)
    if full and any("unchanged" in each for each in content["sets"]):
        yield _unchanged(content)
    if content["real"] is not None:
        real = (f"Real ({content['real']['name']})", {"quality": content["real"]["quality"]})
        yield from report_quality.tables([real, *((each["name"], each) for each in content["sets"])], (), full=full)
    yield from report_gates.tables([(each["name"], each) for each in content["sets"]])
    if costs := [(each["name"], each["cost"]) for each in content["sets"] if "cost" in each]:
        rows = [[name, str(cost.get("evaluations", "-")), number(cost.get("seconds_per_image"), 3)] for name, cost in costs]
        yield "cost per image", ["set", "evaluations", "seconds"], rows


def cell(value: float | None, ends: Sequence[float | None], digits: int, *, full: bool = True) -> str:
    """A number, with its interval if `full`."""
    return f"{number(value, digits)} {interval(ends, digits)}" if full else number(value, digits)


def largest_deviation(deviation: Sequence[float]) -> int:
    """The value whose share is farthest from its target."""
    return int(np.argmax(deviation))


def _shares(content: Mapping[str, Any], *, full: bool) -> tuple[str, list[str], list[list[str]]]:
    values, rows = content["values"], []
    targets = {tuple(row["parity"]["target"]) for _, _, row in rows_of(content)}
    for short, each, row in rows_of(content):
        parity = row["parity"]
        ends, worst = parity["intervals"], largest_deviation(parity["deviation"])
        cells = [f"{short}: {each['name']}", str(row["count"])]
        cells += [" / ".join(number(share, 2) for share in parity["target"])] if len(targets) > 1 else []
        cells += [cell(share, of, 3, full=full) for share, of in zip(parity["frequency"], ends["frequency"], strict=True)]
        cells.append(cell(parity["deviation"][worst], ends["deviation"][worst], 3, full=full))
        cells.append(cell(parity["discrepancy"], ends["discrepancy"], 3, full=full))
        cells += [cell(parity["divergence"], ends["divergence"], 3)] if full else []
        rows.append([*cells, _within(row)])
    title = f"shares of {content['attribute']}"
    if len(targets) == 1:
        title += f" (target {' / '.join(number(share, 2) for share in next(iter(targets)))})"
    rest = ["target"] * (len(targets) > 1)
    header = [f"{content['by'] or 'prompt'}: set", "n", *rest, *values, "|p-target|", "FD", *(["KL"] if full else []), WITHIN]
    return title, header, rows


def _within(row: Mapping[str, Any]) -> str:
    """Whether all shares are within the tolerance; `unsure` if an interval of a deviation contains it; a dash without any."""
    if np.isnan(row["parity"]["deviation"]).any():
        return "-"
    low, high = np.array(row["parity"]["intervals"]["deviation"], float).T
    answers = {bool((ends <= TOLERANCE).all()) for ends in (low, high)}
    return "unsure" if len(answers) > 1 else "yes" if row["parity"]["within_tolerance"] else "no"


def _sets(content: Mapping[str, Any], *, full: bool) -> tuple[str, list[str], list[list[str]]]:
    """A row for each set: means over its contexts, and what is measured over all its images."""
    sets = content["sets"]
    header, rows = ["set", "n"], [[each["name"], str(each["count"])] for each in sets]

    def add(name: str, cells: Sequence[str]) -> None:
        header.append(name)
        for row, text in zip(rows, cells, strict=True):
            row.append(text)

    if content["attribute"] is not None:
        found = [each["parity"] for each in sets]
        worst = [largest_deviation(each["mean_deviation"]) for each in found]
        of = [each["intervals"]["mean_deviation"][value] for each, value in zip(found, worst, strict=True)]
        deviations = [each["mean_deviation"][value] for each, value in zip(found, worst, strict=True)]
        add("|p-target|", [cell(value, ends, 3, full=full) for value, ends in zip(deviations, of, strict=True)])
        names = {"mean_discrepancy": ("FD", 3), "share_within_tolerance": (WITHIN, 2)}
        for key, (name, digits) in names.items():
            add(name, [cell(each[key], each["intervals"][key], digits, full=full) for each in found])
    if any("unchanged" in each for each in sets):
        cells = [each.get("unchanged") for each in sets]
        add("unchanged", ["-" if each is None else cell(each["mean"], each["interval"], 3, full=full) for each in cells])
    if content["clip"] is not None:
        add("agreement", [cell(each["agreement"]["mean"], each["agreement"]["interval"], 2) for each in sets])
    return f"means over {'the values of ' + content['by'] if content['by'] else 'the prompts'} of each set", header, rows


def _agreement(content: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    """The agreement of each context: a row a context and a column a set."""
    names = [each["name"] for each in content["sets"]]
    rows = []
    for context, short in zip(content["contexts"], content["short_names"], strict=True):
        of = [next((row for row in each["contexts"] if row["context"] == context), None) for each in content["sets"]]
        cells = ["-" if row is None else cell(row["agreement"]["mean"], row["agreement"]["interval"], 2) for row in of]
        rows.append([short, *cells])
    return "agreement of images with their prompt, 100 max(cosine, 0)", [content["by"] or "prompt", *names], rows


def _unchanged(content: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    found = [each for each in content["sets"] if "unchanged" in each]
    names = list(found[0]["unchanged"]["attributes"])
    rows = []
    for each in found:
        attributes = each["unchanged"]["attributes"].values()
        cells = [cell(of["share"], of["interval"], 3) for of in attributes]
        rows.append([each["name"], str(each["unchanged"]["count"]), *cells])
    title = f"share of images whose attribute is that of the same noise in {content['sets'][0]['name']}"
    return title, ["set", "pairs", *names], rows


def notes(content: Mapping[str, Any]) -> Iterator[str]:
    """What classified and compared the images, a line each."""
    for each in content["classifiers"]:
        line = f"{each['attribute']}: classified by {each['classifier']}"
        line += f" ({each['sha256']}), {each['input']}" if "sha256" in each else ""
        if each["accuracy"] is None:
            line += "; no real images to measure its errors on, so that shares are not corrected"
        else:
            line += f"; accuracy on real images {' / '.join(number(100 * share) for share in each['accuracy'])} %"
        yield line
    if content["classifiers"] and content["sets"][0]["parity"]["near_singular"]:
        yield "The confusion matrix is nearly singular: corrected shares are mostly noise."
    if content["clip"] is not None:
        yield f"Agreement: by the CLIP model {content['clip']['folder']} ({content['clip']['fingerprint']})."
    if content["real"] is not None:
        yield report_quality.features_note(content["real"])
    if missing := content.get("missing"):
        yield f"Not measured yet, or ended before: {', '.join(missing)}."


def _markdown(content: Mapping[str, Any]) -> str:
    parts = ["# Sets drawn by prompts"]
    for title, header, rows in tables(content, full=True):
        parts += [f"## {markdown(title[0].upper() + title[1:])}", markdown_table(header, rows)]
    if content["short_names"] != content["contexts"]:
        pairs = zip(content["short_names"], content["contexts"], strict=True)
        parts += ["## Prompts", markdown_table(["name", "prompt"], [list(pair) for pair in pairs], numbers=False)]
    parts += [markdown(note) for note in notes(content)]
    if content["attribute"] is not None and "missing" not in content:
        parts.append("![Shares by prompt](prompts.png)")
    origin = f"{markdown_code(content['command'])}, {content['seconds']} s on {content['machine']}."
    return "\n\n".join([*parts, READING, origin]) + "\n"


def _picture(content: Mapping[str, Any], path: Path) -> None:
    """Plots the share of each value by context, a colour for each set, with intervals and targets."""
    values = content["values"]
    # of two values the first says it all
    shown = range(1) if len(values) == 2 else range(len(values))
    contexts, sets = content["contexts"], content["sets"]
    width = 2.5 + 3.6 * len(shown)
    # an inch holds about eleven letters of a legend, beside half an inch for each mark
    columns = max(1, int(width / (max(len(each["name"]) for each in sets) / 11 + 0.5)))
    height = 1.2 + len(contexts) * (0.25 + 0.16 * len(sets)) + 0.2 * -(-len(sets) // columns)
    with figure(path, 1, len(shown), figsize=(width, height + 0.4), squeeze=False, sharey=True) as (_, axes):
        for axis, value in zip(axes[0], shown, strict=True):
            for place, context in enumerate(contexts):
                for order, each in enumerate(sets):
                    row = next((row for row in each["contexts"] if row["context"] == context), None)
                    if row is None:
                        continue
                    parity = row["parity"]
                    share, (low, high) = parity["frequency"][value], parity["intervals"]["frequency"][value]
                    y = place + 0.6 * ((order + 0.5) / len(sets) - 0.5)
                    colour, label = COLOURS[order % len(COLOURS)], each["name"] if not place and axis is axes[0][0] else None
                    axis.plot([low, high], [y, y], color=colour, linewidth=1.5)
                    axis.plot(share, y, "o" if order else "s", color=colour, markersize=5, label=label, clip_on=False)
                    axis.plot([parity["target"][value]] * 2, [place - 0.42, place + 0.42], color="0.3", linewidth=1, zorder=1)
            axis.set(xlim=(0, 1), xlabel=f"share of {content['attribute']} {values[value]} (lines: target)")
            axis.set_yticks(range(len(contexts)), content["short_names"])
            axis.grid(axis="x", alpha=0.3)
        axes[0][0].invert_yaxis()
        axes[0][0].figure.legend(loc="outside upper center", ncols=min(len(sets), columns))
