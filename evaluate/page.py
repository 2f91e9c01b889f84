"""The HTML page of `jaxdiff evaluate report`: its sections, built from report.json and images of the sets."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from . import findings, page_groups, page_tradeoff
from .page_faces import Faces, data_uri, sheet
from .page_table import MARKS, OPTIONAL, fairness_columns, present, table, verdicts
from .report import DIRECTIONS, READING

TEMPLATE = Path(__file__).with_name("page_template.html")
PAIRS = 5
"""Noises of each group in the sheet of matched images."""
GRID_COLUMNS = 8


@dataclass(frozen=True)
class Frame:
    """One position of the slider: images at a tau, and the result of their set in report.json, if any."""

    faces: Faces
    verdict: Mapping[str, Any] | None


@dataclass(frozen=True)
class Contents:
    """What the page shows.

    Attributes:
        report: report.json.
        real: the real images.
        sets: the evaluated sets, in the report's order.
        frames: the sets of a sweep by ascending tau; may be empty.
        swept: report.json of these sets; empty if there is none.
        verdict_figure: the PNG of the report, if any.
        figures: PNGs of the sweep with what they show.
        command: the command that wrote the page.
    """

    report: Mapping[str, Any]
    real: Faces
    sets: Sequence[Faces]
    frames: Sequence[Frame]
    swept: Mapping[str, Any]
    verdict_figure: bytes | None
    figures: Sequence[tuple[bytes, str]]
    command: Sequence[str]


def build(contents: Contents) -> str:
    """The whole page as one self-contained file."""
    report = contents.report
    verdicts_told, accuracy = [report["real"], *report["synthetic"]], report.get("feature_accuracy", {})
    sections = {
        "verdict": ("Results", _verdict(contents)),
        "values": ("Pairs of values", page_groups.pairs(verdicts_told, report["values"])),
        "intersections": ("Intersections of attributes", page_groups.intersections(verdicts_told, accuracy)),
        "shares": ("Shares of the values", page_groups.shares(verdicts_told, report["values"])),
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


def about_set(faces: Faces) -> str:
    """How a set was drawn, in few words; nothing of images that no model here drew.

    The set says so itself; one from before sets did has its method and transition points alone.
    """
    drawn = faces.provenance or {}
    parts = faces.captions.get("parts")
    if parts is None:
        parts = [drawn.get("method", ""), f"τ = {times}" if (times := _times(drawn)) else ""]
    return ", ".join(part for part in parts if part and part != faces.name)


def _counts(contents: Contents) -> str:
    report = contents.report
    sets, seeds = len(contents.sets), report["seeds"]
    return (
        f"{sets} set{'s' * (sets != 1)} of images compared with real images by {seeds} classifier{'s' * (seeds != 1)} per set, "
        f"each trained on {report['train_count']:,} images."
    )


def _listed(names: Sequence[str], word: str) -> str:
    return f" {word} ".join([", ".join(names[:-1]), names[-1]])


def _time(tau: float) -> str:
    return f"{tau:.3f}"


def _times(told: Mapping[str, Any]) -> str | None:
    """The transition points of a set: one, one for each band, or the range of those of the pairs; None where there is none."""
    if told.get("tau") is not None:
        return _time(told["tau"])
    points = told.get("taus") or []
    if points and isinstance(points[0], list):
        of_pairs = [tau for i, row in enumerate(points) for tau in row[:i]]
        return f"{_time(min(of_pairs))} to {_time(max(of_pairs))} by pair"
    return f"{', '.join(map(_time, points))} by band" if points else None


def _verdict(contents: Contents) -> str:
    rows = verdicts(contents.report)
    baseline = [(faces.provenance or {}).get("method") == "vanilla" for faces in contents.sets]
    compared = [False, *(not each for each in baseline)]
    abouts = ["held-out real images", *map(about_set, contents.sets)]
    headers = [
        f"{escape(row['name'])} <small>{escape(about)}</small> <small>n = {' + '.join(map(str, row['count']))}</small>"
        for row, about in zip(rows, abouts, strict=True)
    ]
    tables = [table("Dependence on the groups", fairness_columns(contents.report), headers, rows, compared)]
    if optional := present(OPTIONAL, rows):
        tables.append(table("Quality, label accuracy and cost", optional, headers, rows, compared))
    legend = (
        f'<p class="legend"><span class="best"><b>bold</b> <span class="mark">{MARKS["best"]}</span></span> best and '
        f'<span class="worst"><i>italic</i> <span class="mark">{MARKS["worst"]}</span></span> worst of the methods: BER '
        "nearest to chance (the largest folded BER), smallest gap, energy distance nearest to 0. Real images and plain "
        "samples (vanilla) are the baselines and are not marked. The marks compare only the numbers; differences within "
        "the intervals are not significant.</p>"
    )
    figure = _figure(contents.verdict_figure, "BER in each direction with its 95 % interval, and the energy distances.")
    return "\n".join([*tables, legend, findings.html(contents.report), figure])


def _figure(picture: bytes | None, about: str) -> str:
    if picture is None:
        return ""
    width, height = Image.open(io.BytesIO(picture)).size
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{escape(about)}">'
        f'<img class="plot" width="{width}" height="{height}" src="{data_uri(picture, "png")}" alt="{escape(about)}"></div>'
        f"<figcaption>{escape(about)}</figcaption></figure>"
    )


def _sweep(contents: Contents) -> str:
    figures = "".join(_figure(*each) for each in contents.figures)
    if not contents.frames:
        return figures
    taus = [frame.faces.provenance["tau"] for frame in contents.frames]
    used = [(each.provenance or {}).get("tau") for each in contents.sets]
    start = next((tau for tau in used if tau is not None), taus[len(taus) // 2])
    chosen = min(range(len(taus)), key=lambda i: abs(taus[i] - start))
    ticks = "".join(f"<span>{tau:g}</span>" for tau in taus)
    judged = [frame.verdict for frame in contents.frames]
    trade_off = page_tradeoff.curve(taus, judged, contents.swept.get("real", {}), now=chosen)
    first = "without a label" if contents.frames[0].faces.provenance.get("start") == "none" else "as the other group"
    return f"""<p class="prose">Each image starts from the same noise at every τ. It is drawn {first} until τ, then as
its own group: at τ = 1 as its own group throughout, near 0 {first} almost to the end.</p>
<div class="slider">
<label for="tau-slider">transition point τ</label><output id="tau-told" for="tau-slider">{_time(taus[chosen])}</output>
<input id="tau-slider" type="range" min="0" max="{len(taus) - 1}" step="1" value="{chosen}">
<div class="ticks" aria-hidden="true">{ticks}</div>
<div class="ends" aria-hidden="true"><span>drawn {first}</span><span>drawn as its own group</span></div>
</div>
<div class="frames">
{"".join(_frame(frame, i == chosen) for i, frame in enumerate(contents.frames))}
</div>
{trade_off}
{figures}"""


def _frame(frame: Frame, current: bool) -> str:
    told = frame.faces.provenance
    tau, snr = _time(told["tau"]), told.get("snr")
    numbers = {"τ": tau, "timestep": told.get("timestep", "–"), "SNR": "∞" if snr is None else f"{snr:.3g}"}
    if frame.verdict:
        for direction in DIRECTIONS:
            numbers[f"BER {direction}".replace("->", "→")] = f"{frame.verdict['directions'][direction]['ber']:.1f}"
    stats = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in numbers.items())
    stats += "".join(
        f"<div><dt>{name}</dt><dd>{value} <small>{ends}</small></dd></div>"
        for name, (value, ends) in (page_tradeoff.stats(frame.verdict) if frame.verdict else {}).items()
    )
    panels = "".join(
        f'<div class="panel"><h3>{escape(_first(told, own))} until τ, then {escape(own)}</h3>'
        + sheet(images, len(images), 3, f"{len(images)} images that end as {own}, switched at τ = {tau}")
        + "</div>"
        for own, images in frame.faces.images.items()
    )
    return (
        f'<div class="frame{" current" * current}" data-tau="{told["tau"]:g}"><div class="panels">{panels}</div>'
        f'<dl class="stats">{stats}</dl></div>\n'
    )


def matched(sets: Sequence[Faces]) -> list[Faces]:
    """The sets that start from the same noise as the first vanilla one (or the first that a model drew), image by image."""
    drawn = [faces for faces in sets if faces.provenance and "seed" in faces.provenance]
    first = next((faces for faces in drawn if faces.provenance.get("method") == "vanilla"), next(iter(drawn), None))

    def same(faces: Faces) -> bool:
        origin = all(faces.provenance.get(name) == first.provenance.get(name) for name in ("model", "process", "seed"))
        labels = all(faces.indices[value][:PAIRS].tolist() == first.indices[value][:PAIRS].tolist() for value in first.indices)
        return origin and labels

    found = [faces for faces in drawn if same(faces)]
    return sorted(found, key=lambda faces: faces is not first) if len(found) > 1 else []


def _pairs(sets: Sequence[Faces]) -> str:
    rows = matched(sets)
    if not rows:
        return ""
    panels = ""
    for value, indices in rows[0].indices.items():
        numbers = ", ".join(map(str, indices[:PAIRS]))
        panels += f'<div class="panel"><h3>{escape(value)} <small>noises {numbers}</small></h3>'
        for faces in rows:
            about = _way(faces, value)
            images = faces.images[value][:PAIRS]
            panels += f'<p class="row"><b>{escape(faces.name)}</b> {escape(about)}</p>'
            panels += sheet(images, PAIRS, 3, f"{faces.name}, {about}: noises {numbers}")
        panels += "</div>"
    return (
        '<p class="prose">Images in a column start from the same noise and end with the same label; each row is a method.</p>'
        f'<div class="panels">{panels}</div>'
    )


def _others(told: Mapping[str, Any], value: str) -> str:
    return " or ".join(each for each in told.get("values", ()) if each != value)


def _first(told: Mapping[str, Any], value: str) -> str:
    """The label that sampling started with, in a switched set, for images labelled `value`."""
    return "no label" if told.get("start") == "none" else _others(told, value)


def _way(faces: Faces, value: str) -> str:
    """The caption of an image labelled `value`."""
    if caption := faces.captions.get("image"):
        return Template(caption).safe_substitute(own=value, others=_others(faces.provenance, value))
    return about_set(faces)


def _grid(faces: Faces) -> str:
    panels = "".join(
        f'<div class="panel"><h3>{escape(value)}</h3>'
        + sheet(images, GRID_COLUMNS, 2, f"the first {len(images)} images of {faces.name} labelled {value}")
        + "</div>"
        for value, images in faces.images.items()
    )
    shown = sum(map(len, faces.images.values()))
    about = ", ".join(part for part in (about_set(faces), f"{shown} of {faces.count:,} images") if part)
    return (
        f"<details><summary><b>{escape(faces.name)}</b> <small>{escape(about)}</small></summary>"
        f'<div class="panels">{panels}</div></details>\n'
    )


def _origin(contents: Contents) -> str:
    report = contents.report
    training = report["training"]
    facts = {
        "report": f"<code>{escape(' '.join(report['command']))}</code>",
        "page": f"<code>{escape(' '.join(contents.command))}</code>",
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
        f'<tr><th scope="row">{escape(faces.name)}</th><td>{faces.count:,}</td>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in _drawn(faces))
        + "</tr>\n"
        for faces in contents.sets
    )
    return (
        f'<dl class="facts">{listed}</dl><div class="scroll" tabindex="0" role="region" aria-label="How the sets were drawn">'
        f"<table><caption>How the sets were drawn</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{body}</tbody></table></div>"
    )


def _drawn(faces: Faces) -> Iterator[str]:
    """The cells of a set's provenance."""
    told = faces.provenance or {}
    solver = dict(told.get("solver", {}))
    described = [solver.pop("name", ""), *(f"{name} {value}" for name, value in solver.items())]
    cells = {
        "method": told.get("method"),
        "tau": _times(told),
        "timestep": told.get("timestep"),
        "snr": None if told.get("snr") is None else f"{told['snr']:.3g}",
        "solver": ", ".join(part for part in described if part) or None,
        "guidance": told.get("guidance_scale"),
        "seed": told.get("seed"),
        "model": told.get("model"),
    }
    return ("–" if value is None else str(value) for value in cells.values())
