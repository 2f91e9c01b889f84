"""Reports of `jaxdiff evaluate conditions`: tables on the terminal, conditions.json, conditions.md and imputation.png."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from jaxdiff._console.plots import COLOURS, figure
from jaxdiff.writing import write_text

from .formatting import interval, number
from .series_imputation import METHODS, gap_length
from .writing import finite, markdown, markdown_code, markdown_table, print_tables, write_json

Table = tuple[str, list[str], list[list[str]]]
"""Title, header and rows."""
FEATURES = 4
"""Columns of the table in the picture, at most."""
READING = """\
**How to read it.** Values are on the scale on which the training windows fill [0, 1], and errors are those of missing values
alone. The error of a model is that of the median of its draws; *ratio* is its mean absolute error over that of linear
interpolation, below 1 where the model is better. CRPS has the unit of the values and counts the whole distribution of the
draws. Coverage is the share of true values within the 90 % intervals of the draws, 90 % if these are right; narrower
intervals (*width*) are better among those that cover. [Brackets] are 95 % bootstrap intervals over windows; windows that
overlap are not independent, so that they are too narrow where many test windows are used of few rows.

**Constraints** count all constrained entries of all draws, at the published tolerance of 0.01 and at 1e-6. The order of
prices is low <= open, close <= high. **Trend** is the mean over windows of the Euclidean distance from the trend that was
given; that of the real windows from their own trend is not 0, and that from trends of other windows is what ignoring the
condition costs."""


def show(content: Mapping[str, Any], console: Console) -> None:
    """Prints the tables, narrow enough for 80 columns."""
    print_tables(_tables(content, full=False), console)
    console.print(_sizes(content), highlight=False)


def write(content: dict[str, Any], folder: Path) -> None:
    """Writes conditions.json, conditions.md and, for imputation, imputation.png; takes the `examples` out of the content."""
    pictured = content.pop("examples", None)
    write_json(folder / "conditions.json", finite(content))
    parts = ["# Conditions of a series model", markdown(_sizes(content))]
    for title, header, rows in _tables(content, full=True):
        parts += [f"## {markdown(title[0].upper() + title[1:])}", markdown_table(header, rows)]
    if pictured:
        parts.append("![imputed windows](imputation.png)")
        _picture(folder / "imputation.png", pictured, content["real"]["columns"])
    origin = f"{markdown_code(content['command'])}, {content['seconds']} s on {content['machine']}."
    write_text(folder / "conditions.md", "\n\n".join([*parts, READING, origin]) + "\n")


def _tables(content: Mapping[str, Any], *, full: bool) -> Iterator[Table]:
    if rows := content.get("imputation"):
        yield from _imputation(rows, full)
    if rows := content.get("constraints"):
        header = ["constraint", "windows", "n", *(f"within {each:g}, %" for each in rows[0]["tolerances"]), "largest"]
        yield "kept constraints", header, [
            [
                row["constraint"], row["windows"], f"{row['count']:,}", *(f"{100 * share:.2f}" for share in row["shares"]),
                f"{row['largest']:.2g}",
            ]
            for row in rows
        ]  # fmt: skip
    if found := content.get("trend"):
        named = {
            "model": found["model"],
            "real windows": found["real"],
            "model, from trends of other windows": found["other_windows"],
        }
        yield "distance from the trend", ["windows", "distance"], [[name, number(each, 4)] for name, each in named.items()]


def _imputation(rows: list[Mapping[str, Any]], full: bool) -> Iterator[Table]:
    names = [f"{row['mask']}, {100 * row['share']:g} %" for row in rows]

    def cell(row: Mapping[str, Any], method: str, name: str, digits: int = 4, scale: float = 1) -> str:
        value = number(scale * row[method][name], digits)
        return f"{value} {interval([scale * end for end in row[method]['intervals'][name]], digits)}" if full else value

    def ratio(row: Mapping[str, Any]) -> str:
        return f"{row['ratio']['value']:.2f} {interval(row['ratio']['interval'], 2)}"

    methods = ["model", *METHODS]
    header = ["missing", *methods, "ratio"]
    yield "mean absolute error", header, [
        [name, *(cell(row, method, "mae") for method in methods), ratio(row)]
        for name, row in zip(names, rows, strict=True)
    ]  # fmt: skip
    yield (
        "mean squared error",
        header[:-1],
        [[name, *(cell(row, method, "mse") for method in methods)] for name, row in zip(names, rows, strict=True)],
    )
    header = ["missing", "CRPS", "coverage of 90 %, %", "width", "observed change"]
    yield "distribution of the draws", header, [
        [
            name, cell(row, "model", "crps"), cell(row, "model", "coverage", 1, 100), number(row["model"]["width"], 4),
            f"{row['largest_change_of_observed']:.1g}",
        ]
        for name, row in zip(names, rows, strict=True)
    ]  # fmt: skip


def _sizes(content: Mapping[str, Any]) -> str:
    real, options = content["real"], content["options"]
    gaps = ""
    if content["prior"] == "imputation" and "gaps" in options["masks"]:
        lengths = ", ".join(f"{gap_length(share):.3g} at {100 * share:g} %" for share in options["shares"])
        gaps = f" Mean length of gaps: {lengths}."
    return (
        f"{real['used']:,} of {real['test']:,} test windows of {real['data']}, split "
        f"{'by time' if real['split'] == 'time' else real['split']}; {options['draws']} draws of each, "
        f"{options['solver']} with {options['steps']} steps, seed {options['seed']}.{gaps}"
    )


def _picture(path: Path, shown: Mapping[str, Any], columns: list[str]) -> None:
    """Plots some windows: observed and true values, the median of the draws and their 90 % intervals."""
    true, draws, missing = shown["true"], shown["draws"], shown["missing"]
    low, middle, high = np.quantile(draws, [0.05, 0.5, 0.95], axis=0, method="weibull")
    features = min(len(columns), FEATURES)
    steps = np.arange(true.shape[1])
    size = (3.2 * features, 1.9 * len(true) + 0.8)
    with figure(path, len(true), features, figsize=size, squeeze=False, sharex=True, cut=True) as (made, axes):
        for i, row in enumerate(axes):
            for feature, axis in enumerate(row):
                known = ~missing[i, :, feature]
                axis.fill_between(
                    steps, low[i, :, feature], high[i, :, feature], color=COLOURS[5], alpha=0.4, linewidth=0,
                    label="90 % interval of the draws",
                )  # fmt: skip
                axis.plot(steps, middle[i, :, feature], color=COLOURS[0], linewidth=1.2, label="median of the draws")
                axis.plot(steps, true[i, :, feature], color="black", linestyle=":", linewidth=1, label="true")
                axis.plot(steps[known], true[i, known, feature], "o", color="black", markersize=3, label="observed")
                axis.tick_params(labelsize=7)
                if not i:
                    axis.set_title(columns[feature], fontsize=9)
        for axis in axes[-1]:
            axis.set_xlabel("row of the window", fontsize=8)
        made.suptitle(f"test windows with missing values: {shown['name']}", fontsize=10)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
