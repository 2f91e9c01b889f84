"""The work of `jaxdiff demo`: search, draw and evaluate on the embedded faces, and write pictures."""

import importlib.util
import time
from pathlib import Path

import numpy as np

from jaxdiff import shipped
from jaxdiff._console import plots
from jaxdiff._console.output import claimed
from jaxdiff._console.pictures import grid, write
from jaxdiff._console.terminal import console
from jaxdiff._programs.evaluate.fairness import Fairness, fairness
from jaxdiff._programs.evaluate.html_report import HtmlReport, html_report
from jaxdiff._programs.evaluate.options.prompts import PromptSets
from jaxdiff._programs.evaluate.prompts import prompts
from jaxdiff._programs.sample.draw import draw
from jaxdiff._programs.sample.methods import METHODS
from jaxdiff._programs.sample.modifiers import MODIFIERS
from jaxdiff._programs.sample.options import Draw, Sampling, Search
from jaxdiff._programs.sample.search import find_transition, search
from jaxdiff._programs.sample.setting import setting
from jaxdiff.data.embedded import ATTRIBUTES
from jaxdiff.data.embedded_captions import prompt
from jaxdiff.phases import boundary_times
from jaxdiff.sampleset import SampleSet

from .options import Demo
from .pictures import matched_pairs, strip

GROUPS = ATTRIBUTES[0].values
SCALE = 3.0
"""Guidance scale of the text-to-image model."""


def run(options: Demo) -> None:
    """Runs the demo."""
    with claimed(options.out):
        _run(options)


def _run(options: Demo) -> None:
    start = time.monotonic()
    out = options.out
    count, steps, batch = (32, 4, 8) if options.reduced else (options.count, options.steps, 32)
    sampling = {"solver": "ddim", "steps": steps}  # as in the paper
    chosen = setting(options.model, "group", (), Sampling(**sampling))

    console.rule("1. the transition point")
    found = search(Search(options.model, "group", **sampling, batch=batch, out=out / "tau.json"))
    authors = Search(
        options.model, "group", **sampling, batch=batch, mode="prefix", path="own", weight="beta_eps", norm="batch"
    )
    paper = find_transition(authors, chosen, None)
    curves = [(result.mode, result.taus, result.curve, result.tau) for result in (found, paper)]
    plots.transition(out / "tau.png", curves, "search for tau on the embedded faces", boundary_times(chosen.model.process))
    console.print(f"the paper's criterion finds {paper.tau:.3f} (residual {paper.residual:.2f}); curves in {out / 'tau.png'}")

    console.rule("2. three sets of images")
    sets = []
    for method in ("vanilla", "mixing", "switching"):
        tau = {"tau_file": out / "tau.json"} if method == "switching" else {}
        sets += draw(Draw(options.model, out / method, METHODS[method](**tau), "group", count=count, **sampling))

    console.rule("3. the evaluation")
    settings = {"seeds": options.seeds, "test_count": 2000}
    if options.reduced:
        settings = {"steps": 4, "seeds": 1, "permutations": 19, "replicates": 20, "test_count": 100}
    fairness(Fairness("group", out / "report", tuple(map(str, sets)), **settings))

    console.rule("4. pictures")
    for folder in sets:
        samples = SampleSet.open(folder)
        by_group = np.argsort(samples.labels[:64, 0], kind="stable")
        write(grid(np.stack([samples.image(int(i)) for i in by_group]), 16), out / f"{folder.name}.png")
    write(matched_pairs(chosen, found.tau, 12 if not options.reduced else 2), out / "pairs.png")
    write(strip(chosen, np.linspace(0, 1, 11) if not options.reduced else np.linspace(0, 1, 3)), out / "strip.png")
    console.print(
        f"vanilla.png, mixing.png, switching.png  the first 64 images of each set, {' then '.join(chosen.attribute.values)}"
    )
    console.print(
        "pairs.png    top: not switched; bottom: the same noise, switched at tau; "
        "left half starts in one group, right half in the other"
    )
    console.print(
        "strip.png    one face (a row for each starting group) over tau from 0 (not switched) to 1 (fully the other group)"
    )
    console.print("tau.png      the criterion over tau; report/report.md and report.png: the evaluation")

    console.rule("5. fair faces by prompt")
    _by_prompt(options)
    page = html_report(HtmlReport(out / "report"))
    console.print(f"done in {time.monotonic() - start:.0f} s: {out}; open {page} in a browser")


def _by_prompt(options: Demo) -> None:
    """Draws firefighters with the shipped text-to-image model, plain and with a drawn group, and counts the groups."""
    if importlib.util.find_spec("tokenizers") is None:
        console.print("left out: prompts need tokenizers, pip install 'jaxdiff[text]'", markup=False, highlight=False)
        return
    count, steps = (4, 2) if options.reduced else (64, 25)
    sampling = {
        "prompt": prompt("firefighter"), "solver": "ddim", "steps": steps, "count": count,
        "modifiers": (MODIFIERS["classifier_free"](guidance_scale=SCALE),),
    }  # fmt: skip
    sets = []
    for method, own in (("vanilla", {}), ("fair_instruction", {"fair_table": "embedded"})):
        folder = options.out / f"firefighters-{method.replace('_', '-')}"
        sets += draw(Draw(Path(shipped.TEXT), folder, METHODS[method](**own), **sampling))
        samples = SampleSet.open(folder)
        images = np.stack([samples.image(number) for number in range(count)])
        write(grid(images, min(16, count)), options.out / f"{folder.name}.png")
    prompts(
        PromptSets(
            options.out / "prompts", tuple(map(str, sets)), attribute="group", classifier=Path(shipped.CLIP),
            classifier_prompts=(f"group: {' | '.join(f'{group}={prompt(group=group)}' for group in GROUPS)}",),
        )
    )  # fmt: skip
    console.print(
        "firefighters-vanilla.png, firefighters-fair-instruction.png  faces of firefighters, as the model draws them and with "
        "a drawn group in each prompt"
    )
