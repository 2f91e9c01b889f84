"""The HTML page of `jaxdiff evaluate report`: its sections, built from report.json and images of the sets."""

import io
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from . import findings, page_groups, page_tradeoff, report_gates, report_leak
from .page_images import ImageSet, data_uri, image_grid
from .page_table import MARKS, OPTIONAL, fairness_columns, present, result_rows, table
from .report import DIRECTIONS, READING
from .report_quality import features_note

TEMPLATE = Path(__file__).with_name("page_template.html")
LABELS = (
    "The labels describe appearance; they were given by annotators or chosen at sampling, and say nothing about "
    "anyone's identity. A classifier at chance does not prove that a better classifier would fail too."
)
"""The limits of what labels say."""
PAIRS = 5
"""Noise samples of each group in the comparison of methods."""
GRID_COLUMNS = 8


@dataclass(frozen=True)
class Frame:
    """One position of the slider: images at a tau, and the result of their set in report.json, if any."""

    image_set: ImageSet
    result: Mapping[str, Any] | None


@dataclass(frozen=True)
class Contents:
    """What the page shows.

    Attributes:
        report: report.json.
        real: the real images.
        sets: the evaluated sets, in the report's order.
        frames: the sets of a sweep by ascending tau; may be empty.
        swept: report.json of these sets; empty if there is none.
        results_figure: the PNG of the report, if any.
        figures: PNGs of the sweep with what they show.
        command: the command that wrote the page.
    """

    report: Mapping[str, Any]
    real: ImageSet
    sets: Sequence[ImageSet]
    frames: Sequence[Frame]
    swept: Mapping[str, Any]
    results_figure: bytes | None
    figures: Sequence[tuple[bytes, str]]
    command: Sequence[str]


def build(contents: Contents) -> str:
    """The page as one self-contained file."""
    report = contents.report
    results, accuracy = [report["real"], *report["synthetic"]], report.get("feature_accuracy", {})
    sections = {
        "results": ("Results", _results(contents)),
        "values": ("Pairs of values", page_groups.pairs(results, report["values"])),
        "intersections": ("Intersections of attributes", page_groups.intersections(results, accuracy)),
        "shares": ("Shares of the values", page_groups.shares(results, report["values"])),
        "parity": ("Label accuracy and parity", _parity(contents)),
        "tau": ("Images over τ", _sweep(contents)),
        "pairs": ("Methods compared on the same noise", _pairs(contents.sets)),
        "grids": ("Images", "".join(map(_grid, [contents.real, *contents.sets]))),
        "reading": ("How to read this report", f'<div class="prose">{prose(READING)}</div>'),
        "origin": ("Provenance", _origin(contents)),
    }
    shown = {name: (title, content) for name, (title, content) in sections.items() if content}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(f"Fairness of {report['attribute']}"),
        question=escape(f"Can a classifier distinguish {_listed(report['values'], 'from')} in generated images?"),
        counts=escape(_counts(contents)),
        limits=escape(LABELS),
        links="".join(f'<a href="#{name}">{title}</a>' for name, (title, _) in shown.items()),
        sections="\n".join(
            f'<section id="{name}"><h2>{title}</h2>\n{content}\n</section>' for name, (title, content) in shown.items()
        ),
    )


def prose(text: str) -> str:
    """Markdown's paragraphs, **strong** and *emphasised* words as HTML."""
    text = escape(text).replace("+-", "±")
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"\*(.+?)\*", r"<em>\1</em>", text)
    return "".join(f"<p>{paragraph}</p>" for paragraph in text.split("\n\n"))


def about_set(image_set: ImageSet) -> str:
    """How a set was drawn, in a few words; empty for images that jaxdiff did not draw.

    Taken from the captions of the set; sets written before captions existed get their method and transition points.
    """
    provenance = image_set.provenance or {}
    parts = image_set.captions.get("parts")
    if parts is None:
        parts = [provenance.get("method", ""), f"τ = {times}" if (times := _format_taus(provenance)) else ""]
    return ", ".join(part for part in parts if part and part != image_set.name)


def _counts(contents: Contents) -> str:
    report = contents.report
    sets, seeds = len(contents.sets), report["seeds"]
    return (
        f"{sets} set{'s' * (sets != 1)} of images compared with real images by {seeds} classifier{'s' * (seeds != 1)} per set, "
        f"each trained on {report['train_count']:,} images."
    )


def _listed(names: Sequence[str], word: str) -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]])


def _format_tau(tau: float) -> str:
    return f"{tau:.3f}"


def _format_taus(provenance: Mapping[str, Any]) -> str | None:
    """The transition points of a set: one, one per frequency band, or their range over pairs of values; None if it has none."""
    if provenance.get("tau") is not None:
        return _format_tau(provenance["tau"])
    points = provenance.get("taus") or []
    if points and isinstance(points[0], list):
        of_pairs = [tau for i, row in enumerate(points) for tau in row[:i]]
        return f"{_format_tau(min(of_pairs))} to {_format_tau(max(of_pairs))} by pair"
    return f"{', '.join(map(_format_tau, points))} by band" if points else None


def _results(contents: Contents) -> str:
    rows = result_rows(contents.report)
    baseline = [(image_set.provenance or {}).get("method") == "vanilla" for image_set in contents.sets]
    compared = [False, *(not each for each in baseline)]
    abouts = ["held-out real images", *map(about_set, contents.sets)]
    headers = [
        f"{escape(row['name'])} <small>{escape(about)}</small> <small>n = {' + '.join(map(str, row['count']))}</small>"
        for row, about in zip(rows, abouts, strict=True)
    ]
    tables = [table("Dependence on the groups", fairness_columns(contents.report), headers, rows, compared)]
    if optional := present(OPTIONAL, rows):
        tables.append(table("Quality, label accuracy and cost", optional, headers, rows, compared))
    for title, names, of_gates in report_gates.tables([(each["name"], each) for each in contents.report["synthetic"]]):
        cells = [(name, [f"<td>{escape(cell)}</td>" for cell in row]) for name, *row in of_gates]
        tables.append(page_groups.table_html(title[0].upper() + title[1:], names[1:], cells, names[0]))
    legend = (
        f'<p class="legend"><span class="best"><b>bold</b> <span class="mark">{MARKS["best"]}</span></span> best and '
        f'<span class="worst"><i>italic</i> <span class="mark">{MARKS["worst"]}</span></span> worst of the methods: BER '
        "nearest to chance (the largest folded BER), smallest gap, energy distance nearest to 0. Real images and plain "
        "samples (vanilla) are the baselines and are not marked. The marks compare only the numbers; differences within "
        "the intervals are not significant.</p>"
    )
    if features := features_note(contents.report["real"]):
        legend += f'\n<p class="legend">{escape(features)}</p>'
    if note := report_leak.note(contents.report.get("erasure")):
        legend += f'\n<p class="legend">{escape(note)}</p>'
    if missing := contents.report.get("missing"):
        legend += f'\n<p class="legend">Not measured yet, or ended before: {escape(", ".join(missing))}.</p>'
    figure = figure_html(contents.results_figure, "BER in each direction with its 95 % interval, and the energy distances.")
    return "\n".join([*tables, legend, findings.html(contents.report), figure])


def figure_html(picture: bytes | None, about: str) -> str:
    """A PNG with its caption; empty without one."""
    if picture is None:
        return ""
    width, height = Image.open(io.BytesIO(picture)).size
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{escape(about)}">'
        f'<img class="plot" width="{width}" height="{height}" src="{data_uri(picture, "png")}" alt="{escape(about)}"></div>'
        f"<figcaption>{escape(about)}</figcaption></figure>"
    )


def _sweep(contents: Contents) -> str:
    figures = "".join(figure_html(*each) for each in contents.figures)
    if not contents.frames:
        return figures
    taus = [frame.image_set.provenance["tau"] for frame in contents.frames]
    used = [(each.provenance or {}).get("tau") for each in contents.sets]
    start = next((tau for tau in used if tau is not None), taus[len(taus) // 2])
    chosen = min(range(len(taus)), key=lambda i: abs(taus[i] - start))
    ticks = "".join(f"<span>{tau:g}</span>" for tau in taus)
    results = [frame.result for frame in contents.frames]
    trade_off = page_tradeoff.curve(taus, results, contents.swept.get("real", {}), current=chosen)
    first = "without a label" if contents.frames[0].image_set.provenance.get("start") == "none" else "as the other group"
    return f"""<p class="prose">Each image starts from the same noise at every τ. It is drawn {first} until τ, then as
its own group: at τ = 1 as its own group throughout, near 0 {first} almost to the end.</p>
<div class="slider">
<label for="tau-slider">transition point τ</label><output id="tau-value" for="tau-slider">{_format_tau(taus[chosen])}</output>
<input id="tau-slider" type="range" min="0" max="{len(taus) - 1}" step="1" value="{chosen}">
<div class="ticks" aria-hidden="true">{ticks}</div>
<div class="ends" aria-hidden="true"><span>drawn {first}</span><span>drawn as its own group</span></div>
</div>
<div class="frames">
{"".join(_frame(frame, i == chosen) for i, frame in enumerate(contents.frames))}
</div>
{trade_off}
{figures}"""


def _parity(contents: Contents) -> str:
    """The parity curve of all sets with the images of the chosen one; empty if it was not measured."""
    results, sets = contents.report["synthetic"], contents.sets
    if not (curve := contents.report.get("parity_curve")):
        return ""
    first = max(range(len(sets)), key=lambda i: results[i]["retention"]["overall"])
    plots = page_tradeoff.parity(
        [result["name"] for result in results], results, contents.report["real"], curve=curve, current=first
    )
    same = matched(sets)
    frames = "".join(
        _set_frame(image_set, result, any(image_set is each for each in same), i == first)
        for i, (image_set, result) in enumerate(zip(sets, results, strict=True))
    )
    areas = ", ".join(f"{curve[name]['hypervolume']:.3f} ({name} difference)" for name in ("mean", "largest"))
    reference = curve["mean"]["reference"]
    about = (
        "One point per set, with 95 % intervals; a line joins the sets of a method, × marks real images. Dotted: the Pareto "
        "front; more labels kept and a smaller difference are better. Click a point to see its images. Hypervolume of all "
        f"sets, from a label accuracy of {reference['retention']:.3g} and a difference of {reference['difference']:g}: {areas}."
    )
    return f'{plots}<p class="legend">{escape(about)}</p><div class="frames">{frames}</div>'


def _set_frame(image_set: ImageSet, result: Mapping[str, Any], same_noise: bool, current: bool) -> str:
    """The first images of a set, with its label accuracy and parity."""
    origin = "from the same noise as the other methods" if same_noise else "not from the same noise as others"
    about = ", ".join(part for part in (about_set(image_set), origin) if part)
    stats = "".join(
        f"<div><dt>{name}</dt><dd>{value} <small>{ends}</small></dd></div>"
        for name, (value, ends) in page_tradeoff.stats(result).items()
    )
    panels = "".join(
        f'<div class="panel"><h3>{escape(value)}</h3>'
        + image_grid(
            images[:PAIRS], PAIRS, 3, f"the first {min(PAIRS, len(images))} images of {image_set.name} labelled {value}"
        )
        + "</div>"
        for value, images in image_set.images.items()
    )
    return (
        f'<div class="frame{" current" * current}"><p class="row"><b>{escape(result["name"])}</b> {escape(about)}</p>'
        f'<div class="panels">{panels}</div><dl class="stats">{stats}</dl></div>\n'
    )


def _frame(frame: Frame, current: bool) -> str:
    provenance = frame.image_set.provenance
    tau, snr = _format_tau(provenance["tau"]), provenance.get("snr")
    numbers = {"τ": tau, "timestep": provenance.get("timestep", "–"), "SNR": "∞" if snr is None else f"{snr:.3g}"}
    if frame.result:
        for direction in DIRECTIONS:
            numbers[f"BER {direction}".replace("->", "→")] = f"{frame.result['directions'][direction]['ber']:.1f}"
    stats = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in numbers.items())
    stats += "".join(
        f"<div><dt>{name}</dt><dd>{value} <small>{ends}</small></dd></div>"
        for name, (value, ends) in (page_tradeoff.stats(frame.result) if frame.result else {}).items()
    )
    panels = "".join(
        f'<div class="panel"><h3>{escape(_first(provenance, own))} until τ, then {escape(own)}</h3>'
        + image_grid(images, len(images), 3, f"{len(images)} images that end as {own}, switched at τ = {tau}")
        + "</div>"
        for own, images in frame.image_set.images.items()
    )
    return (
        f'<div class="frame{" current" * current}" data-tau="{provenance["tau"]:g}"><div class="panels">{panels}</div>'
        f'<dl class="stats">{stats}</dl></div>\n'
    )


def matched(sets: Sequence[ImageSet]) -> list[ImageSet]:
    """The sets drawn from the same noise as the first vanilla set (or else the first set of samples), image by image."""
    drawn = [image_set for image_set in sets if image_set.provenance and "seed" in image_set.provenance]
    first = next((image_set for image_set in drawn if image_set.provenance.get("method") == "vanilla"), next(iter(drawn), None))

    def same(image_set: ImageSet) -> bool:
        if image_set.provenance.get("gate", {}).get("redraws", 0):
            return False  # some images are drawn again from other noise
        origin = all(image_set.provenance.get(name) == first.provenance.get(name) for name in ("model", "process", "seed"))
        labels = all(
            image_set.indices[value][:PAIRS].tolist() == first.indices[value][:PAIRS].tolist() for value in first.indices
        )
        return origin and labels

    found = [image_set for image_set in drawn if same(image_set)]
    return sorted(found, key=lambda image_set: image_set is not first) if len(found) > 1 else []


def _pairs(sets: Sequence[ImageSet]) -> str:
    rows = matched(sets)
    if not rows:
        return ""
    panels = ""
    for value, indices in rows[0].indices.items():
        numbers = ", ".join(map(str, indices[:PAIRS]))
        panels += f'<div class="panel"><h3>{escape(value)} <small>noise samples {numbers}</small></h3>'
        for image_set in rows:
            about = _caption(image_set, value)
            images = image_set.images[value][:PAIRS]
            panels += f'<p class="row"><b>{escape(image_set.name)}</b> {escape(about)}</p>'
            panels += image_grid(images, PAIRS, 3, f"{image_set.name}, {about}: noise samples {numbers}")
        panels += "</div>"
    return (
        '<p class="prose">Images in a column start from the same noise and end with the same label; each row is a method.</p>'
        f'<div class="panels">{panels}</div>'
    )


def _others(provenance: Mapping[str, Any], value: str) -> str:
    return " or ".join(each for each in provenance.get("values", ()) if each != value)


def _first(provenance: Mapping[str, Any], value: str) -> str:
    """The label at the start of sampling, in a set drawn by switching, of images labelled `value`."""
    return "no label" if provenance.get("start") == "none" else _others(provenance, value)


def _caption(image_set: ImageSet, value: str) -> str:
    """The caption of an image labelled `value`."""
    if caption := image_set.captions.get("image"):
        return Template(caption).safe_substitute(own=value, others=_others(image_set.provenance, value))
    return about_set(image_set)


def _grid(image_set: ImageSet) -> str:
    panels = "".join(
        f'<div class="panel"><h3>{escape(value)}</h3>'
        + image_grid(images, GRID_COLUMNS, 2, f"the first {len(images)} images of {image_set.name} labelled {value}")
        + "</div>"
        for value, images in image_set.images.items()
    )
    shown = sum(map(len, image_set.images.values()))
    about = ", ".join(part for part in (about_set(image_set), f"{shown} of {image_set.count:,} images") if part)
    return (
        f"<details><summary><b>{escape(image_set.name)}</b> <small>{escape(about)}</small></summary>"
        f'<div class="panels">{panels}</div></details>\n'
    )


def _origin(contents: Contents) -> str:
    report = contents.report
    training = report["training"]
    facts = {
        "report": f"<code>{escape(shlex.join(report['command']))}</code>",
        "page": f"<code>{escape(shlex.join(contents.command))}</code>",
        "classifiers": escape(
            f"{report['seeds']} ResNets of widths {', '.join(map(str, training['widths']))} per set, {training['steps']:,} "
            f"steps of {training['batch']} images each; seed {report['options']['seed']}"
        ),
        "machine": escape(f"{report['machine']}, {report['seconds']} s"),
        "versions": escape(", ".join(f"{name} {version}" for name, version in report["versions"].items())),
    }
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    names = ("method", "τ", "timestep", "SNR", "solver", "guidance", "seed", "model")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("set", "images", *names))
    body = "".join(
        f'<tr><th scope="row">{escape(image_set.name)}</th><td>{image_set.count:,}</td>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in _drawn(image_set))
        + "</tr>\n"
        for image_set in contents.sets
    )
    return (
        f'<dl class="facts">{listed}</dl><div class="scroll" tabindex="0" role="region" aria-label="How the sets were drawn">'
        f"<table><caption>How the sets were drawn</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{body}</tbody></table></div>"
    )


def _drawn(image_set: ImageSet) -> Iterator[str]:
    """The cells of a set's row in the table of provenance."""
    provenance = image_set.provenance or {}
    solver = dict(provenance.get("solver", {}))
    described = [solver.pop("name", ""), *(f"{name} {value}" for name, value in solver.items())]
    cells = {
        "method": provenance.get("method"),
        "tau": _format_taus(provenance),
        "timestep": provenance.get("timestep"),
        "snr": None if provenance.get("snr") is None else f"{provenance['snr']:.3g}",
        "solver": ", ".join(part for part in described if part) or None,
        "guidance": provenance.get("guidance_scale"),
        "seed": provenance.get("seed"),
        "model": provenance.get("model"),
    }
    return ("–" if value is None else str(value) for value in cells.values())
