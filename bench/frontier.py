"""Label kept and parity of the other attributes by method and setting, over models trained from several seeds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.programs import drawn, run
from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.terminal import console
from jaxdiff.bounds import Count, Seed, Size
from jaxdiff.errors import InputError


class Setting(NamedTuple):
    """A method with its options.

    Attributes:
        method: of `jaxdiff sample draw`.
        options: its options.
        every: whether it needs a model that knows all attributes, instead of the label alone.
        region: options of `jaxdiff sample region`, whose region it needs; None for none.
        joint: whether it needs a classifier of noised images for `JOINT`.
        subspace: options of `jaxdiff sample subspace`, whose subspace it needs; None for none.
    """

    method: str
    options: tuple[str, ...] = ()
    every: bool = False
    region: tuple[str, ...] | None = None
    joint: bool = False
    subspace: tuple[str, ...] | None = None


def _none(tau: float, scale: float = 1.0) -> Setting:
    """Switching from no label at a transition point."""
    return Setting("switching", ("--start", "none", "--tau", f"{tau:g}", *_scale(scale)))


def _minimal(least: float, scale: float = 1.0) -> Setting:
    return Setting("minimal", ("--least-posterior", f"{least:g}", *_scale(scale)))


def _inpainting(scale: float, *region: str) -> Setting:
    return Setting("inpainting", _scale(scale), region=region)


def _scale(scale: float) -> tuple[str, ...]:
    return () if scale == 1 else ("--guidance-scale", f"{scale:g}")


SETTINGS: Mapping[str, Setting] = {
    "vanilla": Setting("vanilla"),
    "unconditional": Setting("unconditional"),
    "balanced": Setting("balanced", every=True),
    "vanilla, all attributes": Setting("vanilla", every=True),
    **{
        f"projected, {strength:g}": Setting("projected", ("--label-strength", f"{strength:g}"), every=True)
        for strength in (1, 2)
    },
    **{
        f"distribution, {strength:g}": Setting("distribution", ("--distribution-strength", f"{strength:g}"), joint=True)
        for strength in (1, 1.5)
    },
    **{
        f"projected, subspace, {strength:g}": Setting("projected", ("--label-strength", f"{strength:g}"), subspace=())
        for strength in (1, 2, 3)
    },
    "projected, following subspace, 2": Setting(
        "projected", ("--label-strength", "2", "--follow"), subspace=("--share", "0.8")
    ),
    **{f"no label until {tau:g}": _none(tau) for tau in (0.5, 0.6, 0.7, 0.8)},
    **{f"no label until {tau:g}, scale 3": _none(tau, 3.0) for tau in (0.5, 0.6, 0.7)},
    **{f"minimal, {least:g}": _minimal(least) for least in (0.3, 0.45)},
    **{f"minimal, {least:g}, scale 3": _minimal(least, 3.0) for least in (0.3, 0.45)},
    **{f"inpainting, scale {scale:g}": _inpainting(scale) for scale in (1, 2, 3)},
    **{f"inpainting, known region, scale {scale:g}": _inpainting(scale, "--known", "embedded") for scale in (1, 2, 3)},
}
"""What is drawn, by the name in the table."""
ATTRIBUTES = ("hair", "beard", "glasses", "hair_color", "lipstick", "smile", "background", "skin")
"""The other attributes of embedded faces."""
JOINT = "group+hair+beard+glasses+hair_color+lipstick"
"""The label and the attributes that go with it, which the classifier of noised images predicts together."""
MEASURES: Mapping[str, tuple[str, ...]] = {
    "label accuracy": ("retention", "overall"),
    "mean difference": ("parity", "mean", "value"),
    "largest difference": ("parity", "largest", "value"),
    "Fréchet distance": ("quality", "frechet"),
    "BER without the label": ("leak", "masked", "ber"),
    "slack": ("slack", "value"),
    "evaluations": ("cost", "evaluations"),
}
"""What is tabulated, with its place in report.json."""


@dataclass(frozen=True, kw_only=True)
class Frontier(CheckedOptions):
    """Trains models of embedded faces from several seeds, draws sets with every fair method and setting, and measures how many
    images keep their label and how far the other attributes differ between the groups.

    The models know the label alone, and for `balanced` and `projected` without a subspace all attributes; preset `tiny`, an
    hour of one core each. The sets of a model come from the same noise. Prints a table in Markdown with means over models and
    their 95 % t intervals, and writes frontier.json and frontier.md; the reports of each model have the parity curve and
    the images.

    Hours of two cores. Run the same command again to resume.

    Examples:

      python -m bench frontier --out out/frontier

      python -m bench frontier --models 1 --sampling-seeds 0 --count 256 --settings vanilla "minimal, 0.45" --out out/quick
    """

    out: Path
    """Output folder: runs, sets, reports and the table."""
    models: Size = 3
    """Number of models of each kind, trained from seeds 0, 1, ..."""
    sampling_seeds: tuple[Seed, ...] = (0, 1)
    """Seeds of the noise."""
    settings: tuple[str, ...] = tuple(SETTINGS)
    """Rows of the table."""
    count: Count = 2048
    """Images of each set."""
    solver: str = "dpm_solver_sde"
    """Solver of all sets; that of `minimal` must follow the reverse SDE."""
    solver_steps: Size = 25
    """Steps of drawing."""
    train_steps: Size | None = None
    """Training steps; by default those of the preset."""

    def __post_init__(self):
        super().__post_init__()
        if unknown := [name for name in self.settings if name not in SETTINGS]:
            raise InputError(f"--settings takes {', '.join(SETTINGS)}, got {', '.join(unknown)}")
        if not self.settings or not self.sampling_seeds:
            raise InputError("--settings and --sampling-seeds take at least one each")


def frontier(options: Frontier) -> None:
    """Trains, draws and measures; prints the table and writes it."""
    reports = [[_report(options, model, seed) for seed in options.sampling_seeds] for model in range(options.models)]
    rows = [_row(name, [[report[i] for report in of_model] for of_model in reports]) for i, name in enumerate(options.settings)]
    table = _markdown(rows)
    (options.out / "frontier.json").write_text(json.dumps(rows, indent=2) + "\n")
    (options.out / "frontier.md").write_text(table)
    console.print(table, highlight=False, markup=False)


def _report(options: Frontier, model: int, seed: int) -> list[dict[str, Any]]:
    """The results of the sets of a model and a sampling seed, in the order of the settings."""
    folders = []
    for name in options.settings:
        setting = SETTINGS[name]
        trained = _trained(options, model, every=setting.every)
        folder = options.out / "sets" / f"model-{model}-seed-{seed}" / name.replace(", ", "-").replace(" ", "-")
        how = ("--solver", options.solver, "--steps", options.solver_steps, "--count", options.count, "--seed", seed)
        if setting.region is not None:
            how += ("--region", _found(options, trained, "region", setting.region, ".png"))
        if setting.subspace is not None:
            how += ("--subspace", _found(options, trained, "subspace", setting.subspace, ".npz"))
        if setting.joint:
            how += ("--joint-classifiers", _classifier(options, trained, model))
        drawn(folder, "--model", trained, "--attribute", "group", "--method", setting.method, *setting.options, *how)
        folders.append(folder)
    report = options.out / "reports" / f"model-{model}-seed-{seed}"
    run("evaluate", "fairness", "--synthetic", *folders, "--attribute", "group", "--associated", "all", "--seeds", 1,
        "--seed", seed, "--out", report)  # fmt: skip
    return json.loads((report / "report.json").read_text())["synthetic"]


def _trained(options: Frontier, model: int, *, every: bool) -> Path:
    """The folder of a model, trained unless it is there."""
    folder = options.out / "runs" / f"{'all' if every else 'group'}-{model}"
    steps = () if options.train_steps is None else ("--steps", options.train_steps)
    if not (folder / "done").exists():
        run("train", "--preset", "tiny", "--data", "embedded", "--attributes", "group", *(ATTRIBUTES if every else ()),
            "--seed", model, *steps, "--out", folder)  # fmt: skip
        (folder / "done").touch()
    return folder


def _classifier(options: Frontier, trained: Path, model: int) -> Path:
    """The folder of the classifier of combinations for a model's process, trained unless it is there."""
    folder = options.out / "runs" / f"joint-{model}"
    steps = () if options.train_steps is None else ("--steps", options.train_steps)
    if not (folder / "done").exists():
        run("train", "classifier", "--preset", "tiny", "--data", "embedded", "--attribute", JOINT, "--model", trained,
            "--seed", model, *steps, "--out", folder)  # fmt: skip
        (folder / "done").touch()
    return folder


def _found(options: Frontier, trained: Path, command: str, how: Sequence[str], suffix: str) -> Path:
    """The file of a model's region or subspace, found by this command unless it is there."""
    out = options.out / f"{command}s" / f"{'-'.join((trained.name, *how)).replace('--', '')}{suffix}"
    if not out.exists():
        run("sample", command, "--model", trained, "--attribute", "group", *how, "--solver", options.solver, "--steps",
            options.solver_steps, "--out", out)  # fmt: skip
    return out


def _row(name: str, results: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The mean of each measure over models, with the half width of its 95 % interval; seeds of a model are averaged first."""
    import numpy as np
    import scipy

    row: dict[str, Any] = {"setting": name, "models": len(results), "seeds": len(results[0])}
    for measure, place in MEASURES.items():
        values = np.array([np.mean([_at(each, place) for each in of_model]) for of_model in results])
        count = len(values)
        half = scipy.stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count) if count > 1 else None
        row[measure] = {"mean": float(values.mean()), "half_width": None if half is None else float(half)}
    return row


def _at(result: Mapping[str, Any], place: Sequence[str]) -> float:
    found: Any = result
    for key in place:
        found = found[key]
    return float(found)


def _markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| setting | " + " | ".join(MEASURES) + " |", "| --- " * (1 + len(MEASURES)) + "|"]
    for row in rows:
        lines.append(f"| {row['setting']} | {' | '.join(_cell(row[name]) for name in MEASURES)} |")
    return "\n".join(lines) + "\n"


def _cell(found: Mapping[str, Any]) -> str:
    half = found["half_width"]
    return f"{found['mean']:.3g}" + ("" if half is None else f" ± {half:.2g}")
