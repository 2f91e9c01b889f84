"""Fairness by prompt on the shipped text-to-image pipeline: groups by occupation, and methods on pairs of prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.faces import independent
from bench.programs import drawn, run
from jaxdiff.data.embedded_captions import OCCUPATIONS, prompt
from jaxdiff.errors import InputError

PAIR = " | ".join(f"{group}={prompt(group=group)}" for group in ("square", "round"))
METHODS: Mapping[str, Sequence[str]] = {
    "vanilla": (),
    "mixing": (),
    "switching": ("--tau-file", "{tau}"),
    "editing": (),
}
"""Methods that draw the pair of prompts, with their own options."""
REMEDIES: Mapping[str, Sequence[str]] = {
    "fair_instruction": (),
    "fair_diffusion": (),
    "fair_projection": (),
    "switching": ("--start", "none", "--tau", "0.9"),
}
"""Methods that draw the occupations at equal shares of the groups, with their own options."""


@dataclass(frozen=True)
class Text:
    """Runs the commands behind the tables of text-to-image in the documentation, one after another, and prints each.

    First the share of square faces for each occupation, by guidance scale; then with methods that aim at equal shares. Then a
    pair of prompts, drawn with each method at two scales, and evaluated in three directions. The attribute classifiers are
    trained on faces without associations. Takes about an hour on two cores; commands that have ended are not run again.

    Examples:

      python -m bench text

      python -m bench text --count 64 --out out/short
    """

    out: Path = Path("out/text")
    """Output folder."""
    model: Path = Path("embedded-text")
    """Text-to-image model that knows the captions of the embedded faces."""
    count: int = 256
    """Images for each occupation, and for each of the two prompts."""
    scales: tuple[float, ...] = (1, 3, 5, 7.5)
    """Guidance scales at which occupations are drawn as they are."""
    scale: float = 3
    """Guidance scale of the methods."""
    pair_scales: tuple[float, ...] = (3, 7.5)
    """Guidance scales of the pair of prompts."""
    steps: int = 25
    """Steps of DDIM."""

    def __post_init__(self):
        for name in ("count", "steps"):
            if getattr(self, name) < 2:
                raise InputError(f"--{name} must be at least 2, got {getattr(self, name)}")


def text(options: Text) -> None:
    """Draws and evaluates the sets."""
    real = independent(options.out / "independent.npz")
    drawing = ("--model", options.model, "--solver", "ddim", "--steps", options.steps)
    _occupations(options, real, drawing)
    if options.pair_scales:
        _pair(options, real, drawing)


def _occupations(options: Text, real: Path, drawing: Sequence[Any]) -> None:
    file = options.out / "occupations.txt"
    file.write_text("".join(f"{prompt(occupation)}\n" for occupation in OCCUPATIONS))
    given = (*drawing, "--prompts", file, "--count", len(OCCUPATIONS) * options.count)
    sets = []
    for scale in sorted({options.scale, *options.scales}, key=lambda scale: scale != options.scale):
        sets.append(drawn(options.out / f"occupations-{scale:g}", *given, "--guidance-scale", scale))
    for method, own in REMEDIES.items():
        folder = options.out / f"occupations-{method}"
        sets.append(
            drawn(folder, *given, "--guidance-scale", options.scale, "--method", method, "--fair-table", "embedded", *own)
        )
    judged = ("--attribute", "group", "--associated", "all", "--real", real, "--clip", "embedded-clip")
    run("evaluate", "prompts", "--synthetic", *sets, *judged, "--out", options.out / "by-occupation")


def _pair(options: Text, real: Path, drawing: Sequence[Any]) -> None:
    sets = []
    for scale in options.pair_scales:
        given = (*drawing, "--attribute", f"group: {PAIR}", "--guidance-scale", scale)
        tau = options.out / f"tau-{scale:g}.json"
        if not tau.exists():
            run("sample", "search", *given, "--metric", "feature", "--reference", real, "--out", tau)
        for method, own in METHODS.items():
            folder, own = options.out / f"pair-{scale:g}-{method}", [each.format(tau=tau) for each in own]
            sets.append(drawn(folder, *given, "--count", 2 * options.count, "--method", method, *own))
    judged = ("--attribute", "group", "--associated", "all", "--real", real, "--seeds", 2)
    run("evaluate", "fairness", *judged, "--synthetic", *sets, "--out", options.out / "pair")
