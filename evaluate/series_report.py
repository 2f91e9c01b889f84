"""Reports of `jaxdiff evaluate series`: tables on the terminal, report.json, report.md and report.html."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from rich.console import Console

from jaxdiff.boundary import read_bytes
from jaxdiff.writing import write_text

from .formatting import number
from .page import TEMPLATE, figure_html, prose
from .page_groups import table_html
from .writing import finite, markdown, markdown_code, markdown_table, print_tables, write_json

Table = tuple[str, list[str], list[list[str]]]
"""Title, header and rows."""
PLOTS = {
    "pca.png": "The windows on the first two principal components of the training windows: training windows in grey, others in "
    "colour. Where a set has no points among the grey ones, it lacks such windows.",
    "windows.png": "Some windows of each set, one above the other; a row for each column of the table.",
    "autocorrelation.png": "The autocorrelation of each column within windows.",
    "marginals.png": "The values of each column, on the scale on which the training windows fill [0, 1].",
}
"""The plots with what they show."""
GROUPS = (("context_fid", "correlational", "discriminative", "predictive"), ("marginal", "autocorrelation"))
"""Scores that share a table, which 80 columns can show."""
COMPARED = {
    "train": ("compared with the training windows, as published", None),
    "half": ("compared with a half of the training windows (real: the other half)", "real"),
    "test": ("compared with the test windows (real: training windows)", "real"),
}
"""Each comparison: its title, and the name of its floor."""
READING = """\
**Scores.** Lower is better, and no score is at its best value for a perfect generator: compare each with its *floor*, the row
of real windows above it, at the same number n of windows. A set at the floor cannot be distinguished from real windows by that
score; one below it may repeat its training windows. The predictive score has no best value of its own: its floor is what real
data allow.

**Test windows.** Sets are measured against windows that the model was not trained on, too, and the floor there is that of the
training windows. With a split by time it holds the change of the data over time as well. With a shuffled split the training
windows overlap the test windows, so that this floor is low: it rewards copies, as do published numbers on such a split.

**Intervals.** ± is the half width of the 95 % interval of the mean over repeats, by Student's t. It holds the variation by
the seeds of the score for the same windows, not that of another set or another training.

**Comparing with papers.** Only the first table, with all windows, five repeats and the steps of the papers. The context-FID
is by encoders that are trained here, and the correlational score and the context-FID fall with the number of windows.

**Distances.** Marginal is the mean over columns of the Wasserstein-1 distance between values, autocorrelation that of the
mean absolute difference of the autocorrelations at all lags; both on the scale on which the training windows fill [0, 1]."""


def show(content: Mapping[str, Any], console: Console) -> None:
    """Prints the tables, narrow enough for 80 columns."""
    print_tables(_tables(content), console)
    for note in notes(content):
        console.print(note, highlight=False)


def write(content: Mapping[str, Any], folder: Path, drawn: Sequence[str]) -> None:
    """Writes report.json, report.md and report.html, each atomically.

    Arguments:
        content: the report.
        folder: the folder, which has the plots.
        drawn: the files of plots.
    """
    write_json(folder / "report.json", finite(content))
    write_text(folder / "report.md", _markdown(content, drawn))
    write_text(folder / "report.html", page(content, [(read_bytes(folder / name), PLOTS[name]) for name in drawn]))


def _tables(content: Mapping[str, Any]) -> Iterator[Table]:
    for names in GROUPS:
        given = [name for name in names if name in content["scores"]]
        if not given:
            continue
        headings = [content["scores"][name]["heading"] for name in given]
        what = "scores" if names is GROUPS[0] else "distances"
        for kind, (title, floor) in COMPARED.items():
            rows, floors = [], {}
            for each in content["sets"]:
                scores = each["scores"]
                rows.append([each["name"], f"{scores[given[0]][kind]['n']:,}", *_cells(content, scores, kind, given)])
                if floor:
                    n = scores[given[0]][f"{kind}_floor"]["n"]
                    floors[n] = [floor, f"{n:,}", *_cells(content, scores, f"{kind}_floor", given)]
            yield f"{what}, {title}", ["set", "n", *headings], [*floors.values(), *rows]


def _cells(content: Mapping[str, Any], scores: Mapping[str, Any], kind: str, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        found, digits = scores[name][kind], content["scores"][name]["digits"]
        half = found.get("half_width")
        yield number(found["mean"], digits) + ("" if half is None or half != half else f" ± {number(half, digits)}")


def _by_feature(content: Mapping[str, Any]) -> Iterator[Table]:
    """The distances of each column of each set from a half of the training windows, with the floor."""
    kinds = [("marginal", "by_feature", "Wasserstein"), ("marginal", "kolmogorov", "Kolmogorov-Smirnov"),
             ("autocorrelation", "by_feature", "autocorrelation")]  # fmt: skip
    kinds = [kind for kind in kinds if kind[0] in content["scores"]]
    for each in content["sets"] if kinds else ():
        header = ["column"] + [part for _, _, heading in kinds for part in (heading, "floor")]
        rows = [
            [column]
            + [
                number(each["scores"][score][kind][field][place], 4)
                for score, field, _ in kinds
                for kind in ("half", "half_floor")
            ]
            for place, column in enumerate(content["real"]["columns"])
        ]
        yield f"{each['name']}, compared with a half of the training windows (floor: the other half)", header, rows


def notes(content: Mapping[str, Any]) -> Iterator[str]:
    """Lines on the real windows, and on what is not as in papers."""
    real = content["real"]
    columns, many = real["columns"], len(real["columns"]) != 1
    yield (
        f"Real: {real['data']}, {real['train']:,} training and {real['test']:,} test windows of {real['length']} rows and "
        f"{len(columns)} column{'s' * many}, split {'by time' if real['split'] == 'time' else real['split']}, test share "
        f"{real['test_share']:g}."
    )
    other = [
        f"{score['heading']} {score['iterations'][0]:,} of {score['iterations'][1]:,}"
        for score in content["scores"].values()
        if score["iterations"] and score["iterations"][0] < score["iterations"][1]
    ]
    if other:
        yield f"Fewer steps of training than in the papers, so that scores are not comparable with others: {', '.join(other)}."
    if content["options"]["repeats"] != 5:
        yield f"Repeats: {content['options']['repeats']}, in papers 5."
    if content["encoders"]:
        sums = ", ".join(each["checksum"] for each in content["encoders"])
        yield f"Encoders of the context-FID, seed {content['encoders'][0]['seed']}: {sums}."


def _markdown(content: Mapping[str, Any], drawn: Sequence[str]) -> str:
    parts = ["# Time series", *map(markdown, notes(content))]
    for title, header, rows in [*_tables(content), *_by_feature(content)]:
        parts += [f"## {markdown(title[0].upper() + title[1:])}", markdown_table(header, rows)]
    parts += [f"![{name}]({name})\n\n{PLOTS[name]}" for name in drawn]
    origin = f"{markdown_code(content['command'])}, {content['seconds']} s on {content['machine']}."
    return "\n\n".join([*parts, READING, origin]) + "\n"


def page(content: Mapping[str, Any], plots: Sequence[tuple[bytes, str]]) -> str:
    """The report as one self-contained HTML file.

    Arguments:
        content: the report.
        plots: PNGs with what they show.
    """

    def in_html(tables: Iterator[Table]) -> str:
        made = ""
        for title, header, rows in tables:
            cells = [(first, [f"<td>{escape(cell)}</td>" for cell in row]) for first, *row in rows]
            made += table_html(title[0].upper() + title[1:], header[1:], cells, header[0])
        return made

    legend = "".join(f'<p class="legend">{escape(note)}</p>' for note in notes(content))
    sections = {
        "results": ("Results", in_html(_tables(content)) + legend),
        "plots": ("Plots", "".join(figure_html(*each) for each in plots)),
        "columns": ("Columns", in_html(_by_feature(content))),
        "reading": ("How to read this report", f'<div class="prose">{prose(READING)}</div>'),
        "origin": ("Provenance", _origin(content)),
    }
    shown = {name: section for name, section in sections.items() if section[1]}
    made = "\n".join(f'<section id="{name}"><h2>{title}</h2>\n{html}\n</section>' for name, (title, html) in shown.items())
    count = len(content["sets"])
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title="Time series",
        question="Can drawn windows be distinguished from real ones?",
        limits="A copy of the training windows has perfect scores: measure memorization as well. And a set at every floor may "
        "differ in what no score looks at.",
        counts=escape(f"{count} set{'s' * (count != 1)} of windows compared with {content['real']['data']}."),
        links="".join(f'<a href="#{name}">{title}</a>' for name, (title, _) in shown.items()),
        sections=made,
    )


def _origin(content: Mapping[str, Any]) -> str:
    facts = {
        "report": f"<code>{escape(shlex.join(content['command']))}</code>",
        "machine": escape(f"{content['machine']}, {content['seconds']} s"),
        "versions": escape(", ".join(f"{name} {version}" for name, version in content["versions"].items())),
    }
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    rows = []
    for each in content["sets"]:
        drawn = each["drawn"] or {}
        solver, process, training = (drawn.get(name) or {} for name in ("solver", "process", "model_training"))
        prior = (process.get("prior") or {}).get("name", "")
        cells = (f"{each['count']:,}", process.get("name", "–"), prior or "–", training.get("step", "–"),
                 f"{solver.get('name', '–')} {solver.get('steps', '')}",
                 drawn.get("seed", "–"), drawn.get("model", "–"))  # fmt: skip
        rows.append((each["name"], [f"<td>{escape(str(cell))}</td>" for cell in cells]))
    names = ("windows", "process", "prior", "training steps", "solver, steps", "seed", "model")
    return f'<dl class="facts">{listed}</dl>' + table_html("How the sets were drawn", names, rows, "set")
