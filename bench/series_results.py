"""The table of docs/results/series.md: models of one network on published data sets, beside their published scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bench.programs import drawn, run
from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.terminal import console
from jaxdiff.bounds import Count, Seed, Size
from jaxdiff.errors import InputError

DataName = Literal["sines", "stocks", "etth", "energy"]
FILES: Mapping[DataName, str | None] = {
    "sines": None, "stocks": "stock_data.csv", "etth": "ETTh1.csv?time=date", "energy": "energy_data.csv"
}  # fmt: skip
"""The file of each data set in --data; None for one that jaxdiff makes itself."""
MODELS: Mapping[str, tuple[str, ...]] = {
    "ddpm": ("--process", "ddpm_cosine", "--prediction", "edm"),
    "normal": ("--prior", "normal"),
    "moments": ("--prior", "moments"),
    "gp": ("--prior", "gp"),
}
"""The options of training of each model, which all have the network and the steps of the data set's preset."""
WINDOW = 24
"""Steps of a window, as published."""
SCORES = ("context_fid", "correlational", "discriminative", "predictive")
PUBLISHED: Mapping[DataName, tuple[float, float, float, float]] = {
    "sines": (0.006, 0.015, 0.006, 0.093),
    "stocks": (0.147, 0.004, 0.067, 0.036),
    "etth": (0.116, 0.049, 0.061, 0.119),
    "energy": (0.089, 0.856, 0.122, 0.250),
}
"""What Diffusion-TS published of each of `SCORES` (Yuan & Qiao 2024, arXiv 2403.01742, table 1), on shuffled windows."""


@dataclass(frozen=True, kw_only=True)
class SeriesResults(CheckedOptions):
    """Trains a diffusion model and bridges from three priors on each data set, with the same network and steps as published,
    draws a set of windows with each, and compares the sets with real windows by `jaxdiff evaluate series`.

    Sines are made by jaxdiff. The other data sets are files of a folder: stock_data.csv and energy_data.csv of the code of
    TimeGAN (Yoon et al. 2019), and ETTh1.csv (Zhou et al. 2021).

    Prints a table in Markdown, which holds Diffusion-TS as published and the floors, and writes it to results.json and
    results.md. A training takes from a quarter of an hour (stocks) to more than one hour (energy) on two cores. Run the same
    command again to resume.

    Examples:

      python -m bench series-results --data ~/series --out out/series-results

      python -m bench series-results --sets stocks --models normal gp --data ~/series --out out/stocks

      python -m bench series-results --sets stocks --split shuffled --data ~/series --out out/shuffled
    """

    out: Path
    """Output folder: runs, sets, reports and the table."""
    data: Path | None = None
    """Folder of the data sets other than sines."""
    sets: tuple[DataName, ...] = get_args(DataName)
    """Data sets."""
    models: tuple[Literal["ddpm", "normal", "moments", "gp"], ...] = ("ddpm", "normal", "moments", "gp")
    """Models: `ddpm`, a preconditioned diffusion model with the cosine schedule, or a preconditioned bridge, named by its
    prior."""
    split: Literal["time", "shuffled"] = "time"
    """How training and test windows are split."""
    count: Count = 10_000
    """Most windows to draw of each model and to compare; fewer if there are fewer training windows."""
    drawing_steps: Size = 40
    """Steps of drawing."""
    repeats: Size = 5
    """Repeats of each score."""
    seed: Seed = 0
    """Random seed of training, drawing and scores."""

    def __post_init__(self):
        super().__post_init__()
        if needed := [name for name in self.sets if FILES[name]]:
            if self.data is None:
                raise InputError(f"--data must be the folder of the files of {', '.join(needed)}")
            if missing := [name for name in needed if not (self.data / FILES[name].partition("?")[0]).exists()]:
                raise InputError(f"--data {self.data} has no {', '.join(FILES[name].partition('?')[0] for name in missing)}")


def series_results(options: SeriesResults) -> None:
    """Trains, draws and compares; prints the table and writes it."""
    reports = {name: _report(options, name) for name in options.sets}
    rows = [row for name, report in reports.items() for row in _rows(options, name, report)]
    table = _markdown(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "results.json").write_text(json.dumps(rows, indent=2) + "\n")
    (options.out / "results.md").write_text(table)
    console.print(table, highlight=False, markup=False)


def _report(options: SeriesResults, name: DataName) -> dict[str, Any]:
    """The report of the sets of a data set."""
    file = FILES[name]
    data = ("--data", f"{options.data}/{file}") if file else ()
    folders = []
    for model in options.models:
        trained = options.out / "runs" / f"{name}-{model}"
        run("train", "series", "--preset", name, *data, *MODELS[model], "--split", options.split, "--seed", options.seed,
            "--preview-every", 0, "--out", trained)  # fmt: skip
        count = min(options.count, _windows(options, name))
        folder = options.out / "sets" / f"{name}-{model}"
        # the same solver for all, which follows the reverse SDE
        drawn(folder, "--model", trained, "--solver", "dpm_solver_sde", "--steps", options.drawing_steps, "--count", count,
              "--seed", options.seed)  # fmt: skip
        folders.append(folder)
    report = options.out / "reports" / name
    run("evaluate", "series", "--sets", *folders, "--scores", *SCORES, "marginal", "--repeats", options.repeats,
        "--count", options.count, "--seed", options.seed, "--out", report)  # fmt: skip
    return json.loads((report / "report.json").read_text())


def _windows(options: SeriesResults, name: DataName) -> int:
    """The number of training windows of a data set."""
    from jaxdiff.data.series import open_series

    file = FILES[name]
    return len(open_series(f"{options.data}/{file}" if file else name, split="train", by=options.split, window=WINDOW))


def _rows(options: SeriesResults, name: DataName, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each model of a data set, for Diffusion-TS as published, and for the floor."""

    def cell(scores: Mapping[str, Any], score: str, kind: str) -> dict[str, Any]:
        found = scores[score][kind]
        return {"mean": found["mean"], "half_width": found.get("half_width")}

    rows = []
    for model, each in zip(options.models, report["sets"], strict=True):
        scores = {score: cell(each["scores"], score, "train") for score in (*SCORES, "marginal")}
        rows.append({"data": name, "model": model, "n": each["scores"]["marginal"]["train"]["n"], "scores": scores})
    published = {score: {"mean": value, "half_width": None} for score, value in zip(SCORES, PUBLISHED[name], strict=True)}
    rows.append({"data": name, "model": "Diffusion-TS, as published", "n": None, "scores": published})
    first = report["sets"][0]["scores"]
    floor = {score: cell(first, score, "half_floor") for score in (*SCORES, "marginal")}
    rows.append({"data": name, "model": "floor: two halves of the training windows", "n": first["marginal"]["half_floor"]["n"],
                 "scores": floor})  # fmt: skip
    return rows


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table, each mean with the half width of its 95 % interval."""
    names = (*SCORES, "marginal")
    lines = ["| data | model | n | " + " | ".join(name.replace("_fid", "-FID") for name in names) + " |"]
    lines.append("| --- " * (3 + len(names)) + "|")
    for row in rows:
        cells = [_cell(row["scores"].get(name)) for name in names]
        count = "" if row["n"] is None else f"{row['n']:,}"
        lines.append(f"| {row['data']} | {row['model']} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return ""
    half = score["half_width"]
    mean = f"{score['mean']:.3f}".removeprefix("0")
    return mean if half is None or half != half else f"{mean} ± {half:.3f}".replace("± 0.", "± .")
