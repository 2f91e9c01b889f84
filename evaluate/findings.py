"""The findings on each set: collecting, printing, and formatting as Markdown and HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from jaxdiff.fairness.evaluation import FairnessEvaluation
from jaxdiff.fairness.findings import Finding, Limits, find_faults
from jaxdiff.quality.real_comparison import ImageFeatures, RealComparison, compare_with_real

from .writing import markdown_table

ABOUT = """\
The tests are exact and share one level by Bonferroni's correction: random permutations of the labels for independence and
direction, and of the real images over training and held-out ones for memorisation. Quality and diversity are compared with
held-out real images, by stated limits, since no generator reproduces the data distribution. `label` is a note and not a fault:
images that are independent of their labels cannot show them. Classifiers trained on the set and tested on real images give no
valid test: a classifier of random labels still learns some direction, in which the real groups may differ."""


def collect(
    evaluation: FairnessEvaluation,
    measured: tuple[np.ndarray, Sequence[ImageFeatures]] | None,
    train: np.ndarray,
    *,
    values: Sequence[str],
    limits: Limits,
    seed: int,
) -> list[dict[str, Any]]:
    """The findings on each synthetic set, with the comparison with real images that they use, JSON-ready.

    Arguments:
        evaluation: the evaluation of all sets.
        measured: features of the reference, of the held-out real images and of the sets, from `measures.featured`; None
            omits quality, diversity and memorisation.
        train: the training images of the generator.
        values: names of the attribute values.
        limits: the level of the tests, and the limits.
        seed: seed of the permutations.
    """
    comparisons: Sequence[RealComparison | None] = [None] * len(evaluation.synthetic)
    if measured:
        reference, (held_out, *sets) = measured
        comparisons = compare_with_real(reference, held_out, sets, values=len(values), train=train, seed=seed)
    answers = []
    for result, compared in zip(evaluation.synthetic, comparisons, strict=True):
        found = find_faults(result, compared, values=values, limits=limits)
        answer: dict[str, Any] = {"findings": [asdict(finding) for finding in found]}
        answers.append(answer | ({"real_comparison": asdict(compared)} if compared else {}))
    return answers


def names(findings: Sequence[Finding | Mapping[str, Any]]) -> str:
    """The names of findings; notes in brackets."""
    plain = [finding if isinstance(finding, Mapping) else asdict(finding) for finding in findings]
    return ", ".join(each["name"] if each["flag"] else f"({each['name']})" for each in plain) or "none"


def show(sets: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Prints the findings on each set; nothing for reports without findings."""
    findings = {name: each["findings"] for name, each in sets.items() if "findings" in each}
    if not findings:
        return
    table = Table(title="findings", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0),
                  pad_edge=False)  # fmt: skip
    for name in ("set", "finding", "problem"):
        table.add_column(name, overflow="fold")
    for name, of_set in findings.items():
        for i, finding in enumerate(of_set or [{"name": "none", "text": "", "flag": True}]):
            table.add_row("" if i else name, names([finding]), finding["text"])
    console.print(table)


def markdown(sets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The sections of report.md; none for reports without findings."""
    findings = {name: each["findings"] for name, each in sets.items() if "findings" in each}
    if not findings:
        return []
    rows = []
    for name, of_set in findings.items():
        for finding in of_set or [{"name": "none", "text": "", "against": "", "flag": True}]:
            rows.append([name, names([finding]), finding["text"], finding["against"]])
    table = markdown_table(["set", "finding", "problem", "compared with"], rows, numbers=False)
    return ["## findings: problems of each set", table, ABOUT]


def html(report: Mapping[str, Any]) -> str:
    """The findings on each set, for the page; empty for reports without findings."""
    rows = ""
    for result in report["synthetic"]:
        if "findings" not in result:
            continue
        faults = "".join(
            f"<li><strong>{escape(names([each]))}</strong>: {escape(each['text'])} "
            f"<small>against {escape(each['against'])}</small></li>"
            for each in result["findings"]
        )
        rows += f"<dt>{escape(result['name'])}</dt><dd>{f'<ul>{faults}</ul>' if faults else 'none'}</dd>\n"
    return f'<h3>Findings</h3>\n<dl class="findings">\n{rows}</dl>' if rows else ""
