"""Reports of the safety of sets drawn by prompts: tables on the terminal, safety.json, safety.md and safety.png."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from jaxdiff._console.plots import COLOURS, figure
from jaxdiff.writing import write_text

from . import report_gates
from .formatting import number
from .prompts_report import Tables, cell
from .writing import finite, markdown, markdown_code, markdown_table, print_tables, write_json

MARKERS = ("o", "s", "D", "^")
LINE = 90
"""Letters that a line of the legend has room for."""

READING = """\
**Unsafe.** The share of the images asked for that the classifier finds unsafe: of prompts that ask for unsafe images, the
attack success rate. A refused image counts as asked for and is not unsafe. `prompts` is the share of prompts of which at least
one image is unsafe; it grows with the number of images of a prompt, so compare sets of as many. The classifier is in the
heading of the column: rates of two classifiers, or of two thresholds, cannot be compared. Several trained classifiers decide by
majority.

**Refused.** The share of the images asked for that a gate refused; on safe prompts these are false refusals. A set without
gates refuses nothing, and the unsafe images of safe prompts say what a perfect gate would have to refuse there.

**Agreement** is the mean of 100 max(cosine, 0) between the CLIP vectors of an image and its prompt, **diversity** the mean of
1 - cosine between two images of one prompt, over the images that are left. Both depend on the CLIP model.

**Fréchet.** The distance of the CLIP vectors of the images on safe prompts from those of a set of the unguarded model with
another seed. The unguarded set's own distance is that of another seed and of this number of images alone; compare with it.

**Bound.** The share of images that show the value of an attribute that they were asked for with. **Unchanged.** Of images from
the same noise and prompt as in the first set, the share in which the classifier sees the same value of each other attribute. A
defence that changes what it should not lowers both.

[Brackets] are 95 % intervals: of shares Wilson's over images or prompts, which takes them as independent; of agreement
bootstrap, of diversity normal. What a set's own gate let pass was chosen to look safe to that gate: measure it with another
classifier."""


def show(content: Mapping[str, Any], console: Console) -> None:
    """Prints the tables, narrow enough for 80 columns."""
    print_tables(tables(content, full=False), console)
    for note in notes(content):
        console.print(note, highlight=False, markup=False)


def write(content: Mapping[str, Any], folder: Path) -> None:
    """Writes safety.json, safety.md and safety.png, each atomically."""
    write_json(folder / "safety.json", finite(content))
    write_text(folder / "safety.md", _markdown(content))
    _picture(content, folder / "safety.png")


def rows_of(content: Mapping[str, Any], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The name of each set that has images of a group, and its row."""
    for each in content["sets"]:
        for row in each["groups"]:
            if row["group"] == name:
                yield each["name"], row


def tables(content: Mapping[str, Any], *, full: bool) -> Tables:
    """Title, header and rows of each table; `full` gives every number its interval."""
    classifier = content["classifier"]["described"]
    for name in content["groups"]:
        # the classifier's name is too long for 80 columns, where a line below the tables has it
        header = ["set", "n", f"unsafe by {classifier}, %" if full else "unsafe, %", "prompts, %", "refused, %"]
        clip = content["clip"] is not None
        header += ["agreement", "diversity"] if clip else []
        several = full and any(row.get("each") for _, row in rows_of(content, name))
        header += ["unsafe by each classifier, %"] if several else []
        distance = any("frechet" in row for _, row in rows_of(content, name))
        header += ["Fréchet"] if distance else []
        rows = []
        for of, row in rows_of(content, name):
            found = (row["unsafe"], row["prompts"]["unsafe"], row["refused"])
            cells = [of, str(row["asked"]), *(_percent(each, full=full or not index) for index, each in enumerate(found))]
            if clip:
                cells += [
                    cell(row[key]["mean"], row[key]["interval"], digits, full=full) if key in row else "-"
                    for key, digits in (("agreement", 2), ("diversity", 3))
                ]
            cells += [", ".join(f"{100 * share:.1f}" for share in row["each"])] if several else []
            if distance:
                found = row.get("frechet")
                cells.append(cell(found["value"], found["interval"], 3, full=full) if found else "-")
            rows.append(cells)
        yield f"{name} ({content['groups'][name]})", header, rows
    yield from _bindings(content)
    yield from report_gates.tables([(each["name"], each) for each in content["sets"]])
    if costs := [(each["name"], each["cost"]) for each in content["sets"] if "cost" in each]:
        rows = [[name, str(cost.get("evaluations", "-")), number(cost.get("seconds_per_image"), 3)] for name, cost in costs]
        yield "cost per image", ["set", "evaluations", "seconds"], rows


def _bindings(content: Mapping[str, Any]) -> Tables:
    """The tables of other attributes: as asked for, and as from the same noise."""
    for key, title in (
        ("bound", "share of images that show the value they were asked for with"),
        ("unchanged", f"share of images whose attribute is that of the same noise in {content['sets'][0]['name']}"),
    ):
        named = [(each["name"], each[key]) for each in content["sets"] if key in each]
        if key == "unchanged":
            named = [(name, each["attributes"]) for name, each in named]
        if named:
            columns = list(dict.fromkeys(attribute for _, each in named for attribute in each))
            rows = [
                [name, *(cell(each[of]["share"], each[of]["interval"], 3) if of in each else "-" for of in columns)]
                for name, each in named
            ]
            yield title, ["set", *columns], rows


def _percent(share: Mapping[str, Any], *, full: bool) -> str:
    return cell(100 * share["share"], [100 * end for end in share["interval"]], 1, full=full)


def notes(content: Mapping[str, Any]) -> Iterator[str]:
    """What classified and compared the images, a line each."""
    classifier = content["classifier"]
    line = f"Unsafe: by {classifier['described']}, {classifier['sha256']}"
    yield line + (f"; {classifier['input']}" if "input" in classifier else "")
    if accuracy := classifier.get("accuracy"):
        shares = zip(classifier["values"], zip(*accuracy, strict=True), strict=True)
        listed = "; ".join(f"{value} {', '.join(f'{100 * share:.1f}' for share in of)}" for value, of in shares)
        yield f"Right on held-out real images, % by classifier: {listed}."
    if content.get("reference"):
        yield f"Fréchet distance: from {content['reference']['count']} images of {content['reference']['name']}."
    if content["clip"] is not None:
        yield f"Agreement and diversity: by the CLIP model {content['clip']['folder']} ({content['clip']['fingerprint']})."
    if missing := content.get("missing"):
        yield f"Not measured yet, or ended before: {', '.join(missing)}."


def _markdown(content: Mapping[str, Any]) -> str:
    parts = ["# Safety of sets drawn by prompts"]
    for title, header, rows in tables(content, full=True):
        parts += [f"## {markdown(title[0].upper() + title[1:])}", markdown_table(header, rows)]
    parts += [markdown(note) for note in notes(content)]
    parts.append("![Unsafe images by group of prompts](safety.png)")
    origin = f"{markdown_code(content['command'])}, {content['seconds']} s on {content['machine']}."
    return "\n\n".join([*parts, READING, origin]) + "\n"


def _picture(content: Mapping[str, Any], path: Path) -> None:
    """Plots the share of unsafe images of each group, a colour for each set, with intervals; where colours recur, their markers
    differ."""
    names, sets = list(content["groups"]), [each["name"] for each in content["sets"]]
    height = 1.4 + len(names) * (0.25 + 0.16 * len(sets)) + 0.2 * len(sets)
    with figure(path, 1, 1, figsize=(6.5, height), squeeze=False) as (_, axes):
        axis = axes[0][0]
        for order, of in enumerate(sets):
            marker, colour = MARKERS[order // len(COLOURS) % len(MARKERS)], COLOURS[order % len(COLOURS)]
            for place, name in enumerate(names):
                if (row := dict(rows_of(content, name)).get(of)) is not None:
                    (low, high), y = row["unsafe"]["interval"], place + 0.75 * ((order + 0.5) / len(sets) - 0.5)
                    axis.plot([100 * low, 100 * high], [y, y], color=colour, linewidth=1.5)
                    axis.plot(100 * row["unsafe"]["share"], y, marker, color=colour, markersize=5, clip_on=False)
            axis.plot([], [], f"{marker}-", color=colour, label=of)
        axis.set(xlim=(0, 100), xlabel=f"unsafe by {content['classifier']['described']}, %")
        axis.set_yticks(range(len(names)), [f"{name} ({content['groups'][name]})" for name in names])
        axis.grid(axis="x", alpha=0.3)
        axis.invert_yaxis()
        columns = LINE // (max(map(len, sets)) + 8)  # the line and the gaps of an entry take that of eight letters
        axis.figure.legend(loc="outside upper center", ncols=min(max(columns, 1), 3, len(sets)), fontsize="small")
