"""`jaxdiff evaluate report`: an HTML page of a report of `fairness`, `prompts` or `safety`, with images of the sets."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff._console.arguments import image_size
from jaxdiff._console.output import claimed
from jaxdiff._console.terminal import console
from jaxdiff.boundary import read_bytes, read_json, reading
from jaxdiff.data.images import open_image
from jaxdiff.data.view import View
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.writing import write_text

from . import fairness, prompt_sets, prompts_page
from .data_sets import DataSets
from .options.html_report import HtmlReport
from .page import Contents, Frame, build
from .page_images import ImageSet, read_images
from .provenance import provenance

FILE = "report.html"
GRID = 64
"""Images of each set in its grid."""
ROW = 5
"""Images of each group at each position of the slider."""
KEYS = {
    "attribute", "values", "train_count", "seeds", "training", "real", "synthetic", "command", "options", "versions",
    "machine", "seconds",
}  # fmt: skip
"""The required keys of report.json."""
FIGURES = {
    "criterion.png": "The criterion of each search over τ; the search chooses its minimum.",
    "sweep.png": "Error rates and energy distances of sets drawn at each τ.",
}


def html_report(options: HtmlReport) -> Path:
    """Writes the page; returns its path."""
    with claimed(options.out):
        return _write(options)


def _write(options: HtmlReport) -> Path:
    folder = options.fairness or options.out
    found = [name for name in ("prompts", "safety") if (folder / f"{name}.json").exists()]
    if found and not (folder / "report.json").exists():
        text = _page_of_prompts(options, folder, found[0])
    else:
        report = _read_report(folder, "--fairness" if options.fairness else "--out")
        with reading(folder / "report.json", "run `jaxdiff evaluate fairness` again"):
            text = build(_contents(options, folder, report))
    page = options.out / FILE
    write_text(page, text)
    console.print(f"wrote {page}, {page.stat().st_size / 2**20:.1f} MiB; open it in a browser", highlight=False)
    return page


def _page_of_prompts(options: HtmlReport, folder: Path, name: str) -> str:
    """The page of a report of `jaxdiff evaluate prompts`, or of `safety` of sets drawn by prompts."""
    if options.sweep:
        raise InputError(f"--sweep is for the page of `jaxdiff evaluate fairness`; {folder} has a report of `evaluate {name}`")
    file = folder / f"{name}.json"
    with reading(file, f"run `jaxdiff evaluate {name}` again"):
        content = read_json(file)
        if name == "safety" and "by_prompts" not in content:
            raise InputError("a page is made of the safety of sets drawn by prompts, with --classifier, and this is none")
        stored = content["options"]
        format_of = {"size": image_size(stored["size"]), "channels": stored["channels"]}
        sets = prompt_sets.opened(
            stored["synthetic"],
            by=stored.get("by"),
            most=stored["test_count"],
            image_format=format_of,
            links=stored["follow_links"],
            without_images=name == "safety",
        )
        build_page = prompts_page.build if name == "prompts" else prompts_page.build_safety
        return build_page(content, sets, _picture(folder / f"{name}.png"), provenance(options)["command"])


def _contents(options: HtmlReport, folder: Path, report: dict[str, Any]) -> Contents:
    """What is on the page of a report."""
    evaluated = _report_options(report, folder)
    data = DataSets(evaluated)
    swept = _read_sweep(options.sweep) if options.sweep else {}
    frames = list(_frames(options.sweep, report, swept.get("synthetic", []))) if options.sweep else []
    return Contents(
        report=report,
        real=_read_set(data, evaluated.real, "test", report["real"]["name"], report["values"]),
        sets=[
            _read_set(data, spec, "all", result["name"], report["values"])
            for spec, result in zip(evaluated.synthetic, report["synthetic"], strict=True)
        ],
        frames=frames,
        swept=swept,
        results_figure=_picture(folder / "report.png"),
        figures=[
            (picture, about)
            for name, about in FIGURES.items()
            for place in ([options.sweep, options.sweep / "report"] if options.sweep else [])
            if (picture := _picture(place / name))
        ],
        command=provenance(options)["command"],
    )


def _read_report(folder: Path, option: str) -> dict[str, Any]:
    file = folder / "report.json"
    if not file.exists():
        raise InputError(f"{option} takes a folder that `jaxdiff evaluate fairness` wrote; {folder} has no report.json")
    report = read_json(file)
    if lacking := KEYS - report.keys():
        raise InputError(f"{file} is not a report of `jaxdiff evaluate fairness`: it has no {', '.join(sorted(lacking))}")
    return report


def _report_options(report: Mapping[str, Any], folder: Path) -> fairness.Fairness:
    """The options of the command that wrote the report."""
    # all but those that are not needed to read the images
    names = [field for field in fields(fairness.Fairness) if not field.name.startswith(("limits", "target", "classifier"))]
    stored = {field.name: report["options"].get(field.name, field.default) for field in names}
    stored = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    if isinstance(stored["size"], int):  # reports written before images could be non-square
        stored["size"] = str(stored["size"])
    evaluated = fairness.Fairness(**{**stored, "out": folder})
    if len(evaluated.synthetic) != len(report["synthetic"]):
        count = len(report["synthetic"])
        raise InputError(
            f"{folder}/report.json is damaged: it names {len(evaluated.synthetic)} sets and has results of {count}"
        )
    return evaluated


def _read_set(data: DataSets, spec: str, split: str, name: str, values: Sequence[str]) -> ImageSet:
    try:
        source = data.evaluated(spec, split)
        drawn = SampleSet.open(spec) if (Path(spec) / "samples.json").is_file() else None
        return read_images(source, values, max(1, GRID // len(values)), name, drawn)
    except InputError as error:
        raise InputError(f"the report evaluates {spec}, which cannot be read from here: {error}") from error


def _read_sweep(folder: Path) -> dict[str, Any]:
    """The report of a sweep's sets; empty if there is none."""
    report = folder / "report"
    return _read_report(report, "--sweep") if (report / "report.json").is_file() else {}


def _frames(folder: Path, report: Mapping[str, Any], swept: Sequence[Mapping[str, Any]]) -> Iterator[Frame]:
    """The sets of a sweep by ascending tau, with the results of each if there are any."""
    paths = sorted(path.parent for path in folder.glob("tau-*/samples.json"))
    if not paths:
        raise InputError(f"--sweep takes a folder with sets tau-*, as `jaxdiff sample sweep` draws; {folder} has none")
    results = {result["name"]: result for result in swept}
    sets = sorted((SampleSet.open(path) for path in paths), key=lambda samples: samples.provenance.get("tau", -1))
    for samples in sets:
        for name in ("model", "process", "seed", "values", "tau"):
            if name not in samples.provenance:
                raise InputError(
                    f"--sweep takes sets that a model drew by switching; the provenance of {samples.path} has no {name}"
                )
            if name != "tau" and samples.provenance[name] != sets[0].provenance[name]:
                raise InputError(
                    f"--sweep takes sets from the same noise; {samples.path} has another {name} than {sets[0].path}"
                )
        source = View(samples, indices=np.flatnonzero(~samples.refused), attributes=[report["attribute"]])
        image_set = read_images(source, samples.provenance["values"], ROW, samples.path.name, samples)
        yield Frame(image_set, results.get(samples.path.name))


def _picture(path: Path) -> bytes | None:
    """The bytes of an image file; None if there is none."""
    if not path.is_file():
        return None
    picture = read_bytes(path)
    with reading(path), open_image(io.BytesIO(picture), str(path)) as opened:
        opened.verify()
    return picture
