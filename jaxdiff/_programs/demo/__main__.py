"""`jaxdiff demo`: search, draw, judge and look, on the embedded faces, with the model that the repository carries."""

import inspect
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxdiff._console.terminal import console, run


@dataclass(frozen=True)
class Demo:
    """The main job from end to end, on faces that jaxdiff draws itself.

    Searches the transition point tau of the shipped model, draws a set by each method (vanilla, mixing, switching),
    judges the sets by classifiers and energy distance, and writes pictures: a grid for each method, matched pairs (the
    same noise, unswitched and switched), one face over a sweep of tau, and the curves of the search. Takes about four
    minutes on two cores.

    Examples:

      jaxdiff demo

      jaxdiff demo --count 4096 --seeds 3 --out out/thorough
    """

    out: Path = Path("out/demo")
    """Folder for all that is made; drawn sets there are not drawn again."""
    model: Path = Path("checkpoints/embedded")
    """The model: the shipped one, or a run trained on the embedded faces."""
    count: int = 512
    """Images in each set."""
    steps: int = 25
    """Steps of DDIM."""
    seeds: int = 2
    """Classifiers trained on each set."""
    reduced: bool = False
    """A much smaller run (32 images, 4 steps) that only shows that everything works."""


def main() -> None:
    """Runs the demo."""
    options = tyro.cli(Demo, prog="jaxdiff demo", description=inspect.getdoc(Demo))
    import numpy as np

    from jaxdiff._console import plots
    from jaxdiff._console.pictures import grid, write
    from jaxdiff._programs.evaluate.fairness import Fairness, fairness
    from jaxdiff._programs.evaluate.html_report import HtmlReport, html_report
    from jaxdiff._programs.sample.common import Sampling, setting
    from jaxdiff._programs.sample.draw import Draw, draw
    from jaxdiff._programs.sample.search import Search, find_transition, search
    from jaxdiff.phases import boundary_times
    from jaxdiff.sampleset import SampleSet

    from .pictures import matched_pairs, strip

    start = time.monotonic()
    out = options.out
    count, steps, batch = (32, 4, 8) if options.reduced else (options.count, options.steps, 32)
    sampling = {"solver": "ddim", "steps": steps}  # the paper's
    chosen = setting(options.model, "group", (), Sampling(**sampling))

    console.rule("1. the transition point")
    found = search(Search(options.model, "group", **sampling, batch=batch, out=out / "tau.json"))
    authors = Search(
        options.model, "group", **sampling, batch=batch, mode="prefix", path="own", weight="beta_eps", norm="batch"
    )
    paper = find_transition(authors, chosen, None)
    curves = [(result.mode, result.taus, result.curve, result.tau) for result in (found, paper)]
    plots.transition(out / "tau.png", curves, "search for tau on the embedded faces", boundary_times(chosen.model.process))
    console.print(
        f"the paper's own criterion finds {paper.tau:.3f} (residual {paper.residual:.2f}); curves in {out / 'tau.png'}"
    )

    console.rule("2. three sets of images")
    sets = []
    for method in ("vanilla", "mixing", "switching"):
        tau = {"tau_file": out / "tau.json"} if method == "switching" else {}
        sets += draw(Draw(options.model, out / method, method, "group", count=count, **sampling, **tau))

    console.rule("3. the verdict")
    judged = {"seeds": options.seeds, "test_count": 2000}
    if options.reduced:
        judged = {"steps": 4, "seeds": 1, "permutations": 19, "replicates": 20, "test_count": 100}
    fairness(Fairness("group", out / "report", tuple(map(str, sets)), **judged))

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
    console.print("strip.png    one face (a row for each start) over tau from 0 (never switched) to 1 (wholly the other group)")
    console.print("tau.png      the criterion over tau; report/report.md and report.png: the verdict")
    page = html_report(HtmlReport(out / "report"))
    console.print(f"all of it in {out}, {time.monotonic() - start:.0f} s; open {page} in a browser")


def start() -> None:
    """Runs the program."""
    run(main)


if __name__ == "__main__":
    start()
