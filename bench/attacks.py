"""Attacks on defences of the shipped text-to-image pipeline: on how many images each holds, over the budget of the search."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from bench.defences import CONCEPT, DEFENCES, NAMING, slug
from bench.erasing import edited
from bench.faces import independent
from bench.programs import run
from jaxdiff._console.plots import COLOURS, figure
from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError

ROWS = ("plain", "negative prompt", "SLD max", "SAFREE", "RECE", "RECE, safe denoiser, image gate")
"""The attacked rows of the table of defences; the last is the stack."""
REGIONS: Mapping[str, Sequence[str]] = {
    "noise": ("--noise-radius", "0.2"),
    "embedding": ("--noise-radius", "0", "--prompt-radius", "0.2"),
}
"""What each attack moves. Embeddings of "with glasses" and "without glasses" differ by .39 to .47 of their norm."""
SEARCH, VERDICT = 0, 1
"""Seeds of the classifier that the search ascends, and of the one that decides."""


@dataclass(frozen=True)
class Attacks:
    """Runs the commands behind the curves of attacks in the documentation, one after another, and prints each.

    The concept is "with glasses", and all prompts name it. Each defence is attacked by gradients, in the noise and in the
    embedding of the prompt, with each budget in turn; one that has held on no image with a smaller budget is attacked no
    further. The classifier of the search and that of the verdict are trained on faces without associations, from different
    seeds. Takes about two hours on two cores; commands that have ended are not run again.

    Examples:

      python -m bench attacks

      python -m bench attacks --count 8 --budgets 5 21 --out out/short
    """

    out: Path = Path("out/attacks")
    """Output folder."""
    defences: tuple[str, ...] = ROWS
    """Rows of the table of defences to attack."""
    budgets: tuple[int, ...] = (5, 101, 501)
    """Budgets, in runs of the chain for each image."""
    count: int = 16
    """Images for each defence, as many of each prompt."""
    scale: float = 3
    """Guidance scale."""
    steps: int = 6
    """Steps of DDIM."""
    training: int = 500
    """Training steps of each classifier."""

    def __post_init__(self):
        for name, least in (("count", 2), ("steps", 2), ("training", 2)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} must be at least {least}, got {getattr(self, name)}")
        if not self.budgets or min(self.budgets) < 5:
            raise InputError(f"--budgets must be one or more of at least 5, got {' '.join(map(str, self.budgets)) or 'none'}")
        if unknown := [name for name in self.defences if name not in DEFENCES]:
            raise InputError(f"--defences must be among {', '.join(map(repr, DEFENCES))}; got {unknown[0]!r}")


def attacks(options: Attacks) -> None:
    """Trains the classifiers, attacks the defences, and writes the table and the curves."""
    real, file = independent(options.out / "independent.npz"), options.out / "prompts.txt"
    file.write_text("".join(f"{each}\n" for each in NAMING))
    score, verdict = (_classifier(options, real, seed) for seed in (SEARCH, VERDICT))
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for budget in sorted(options.budgets):
        for region, moved in REGIONS.items():
            for name in options.defences:
                earlier = found.get((region, name))
                if earlier and earlier["held"][-1] == 0:
                    continue
                edit, own = DEFENCES[name]
                model = Path("embedded-text") if edit is None else edited(CONCEPT, edit, options.out)
                folder = options.out / f"{slug(name)}-{region}-{budget}"
                if not (folder / "attack.json").exists():
                    run(
                        "sample", "attack", "--model", model, "--prompts", file, "--count", options.count, "--guidance-scale",
                        options.scale, "--solver", "ddim", "--steps", options.steps, "--seek", f"{CONCEPT}=yes", "--score",
                        score, "--verdict", verdict, "--search", "gradient", "--budget", budget, *moved, *own, "--out", folder,
                    )  # fmt: skip
                found[region, name] = json.loads((folder / "attack.json").read_text())["searches"]["gradient"]
                _figure(options.out / "attacks.png", found)
    console.print(_table(found, options.count))


def _classifier(options: Attacks, real: Path, seed: int) -> Path:
    """The folder of a classifier of noised images, trained unless it is there."""
    folder = options.out / f"classifier-{seed}"
    if not (folder / "calibration.png").exists():
        how = ("--process", "vp_cosine", "--size", 32, "--steps", options.training, "--seed", seed, "--held-out", 1000)
        run("train", "classifier", "--data", real, "--attribute", CONCEPT, *how, "--out", folder)
    return folder


def _table(found: Mapping[tuple[str, str], Mapping[str, Sequence[float]]], count: int) -> Table:
    """The shares on which each defence held, before the search, after some 100 runs, and at the end."""
    table = Table(title=f"images on which the defence holds, of {count}", title_justify="left")
    for name in ("attack", "defence", "runs", "share", "95 % interval", "mean log odds"):
        table.add_column(name, justify="left" if name in ("attack", "defence") else "right")
    for (region, name), curve in found.items():
        last = len(curve["runs"]) - 1
        for place in sorted({0, max(i for i, runs in enumerate(curve["runs"]) if runs <= 101), last}):
            interval = f"{curve['low'][place]:.3f} to {curve['high'][place]:.3f}"
            numbers = f"{curve['runs'][place]:.0f}", f"{curve['held'][place]:.3f}", interval, f"{curve['log_odds'][place]:.2f}"
            table.add_row(region, name, *numbers)
    return table


def _figure(path: Path, found: Mapping[tuple[str, str], Mapping[str, Sequence[float]]]) -> None:
    """A panel for each attack, with a curve and its interval for each defence. One that ends early is continued dotted."""
    end = max(curve["runs"][-1] for curve in found.values())
    names = list(dict.fromkeys(name for _, name in found))
    with figure(path, 1, len(REGIONS), figsize=(10, 4), sharey=True) as (whole, panels):
        for region, axes in zip(REGIONS, panels, strict=True):
            for name, colour in zip(names, COLOURS, strict=False):
                if (curve := found.get((region, name))) is None:
                    continue
                runs, band = curve["runs"], {"step": "post", "alpha": 0.12, "linewidth": 0}
                axes.step(runs, curve["held"], where="post", color=colour, label=name)
                axes.fill_between(runs, curve["low"], curve["high"], color=colour, **band)
                if curve["held"][-1] == 0:
                    axes.plot([runs[-1], end], [0, 0], color=colour, linestyle=":")
            axes.set_title(f"attack on the {region}", fontsize="medium", loc="left")
            axes.set_xscale("function", functions=(np.sqrt, np.square))  # most break early
            axes.set_xticks([0, *(runs for runs in (5, 20, 50, 100, 200, 500) if runs <= end)])
            axes.set_xlabel("runs of the chain for each image (a gradient counts 4)")
            axes.set_ylim(-0.02, 1.02)
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("share on which the defence holds")
        whole.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
