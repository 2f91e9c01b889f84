"""Erasing a concept from the weights of the shipped text-to-image pipeline: what is drawn before and after, by method."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.faces import independent
from bench.programs import drawn, run
from jaxdiff._console.pictures import rows, write
from jaxdiff.data.embedded_captions import PHRASES, prompt
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet

METHODS = ("uce", "rece", "speed")
TARGET, CONCEPT = PHRASES["beard"]
NAMING = (
    prompt(group="square", phrases=[CONCEPT]),
    prompt(group="round", phrases=["with glasses", CONCEPT, "smiling"]),
    prompt("firefighter", phrases=[CONCEPT, "on a warm background"]),
    prompt(phrases=[CONCEPT, "with long hair"]),
)
"""Prompts that name the concept."""
OTHERS = (prompt(phrases=["with glasses"]), prompt(group="square", phrases=[TARGET, "with long hair"]))
"""Prompts that do not."""
_SHOWN = 12


@dataclass(frozen=True)
class Erasing:
    """Runs the commands behind the table of erased concepts in the documentation, one after another, and prints each.

    "with a beard" is erased towards "without a beard" with each method, with one prompt for every value of the other attributes
    preserved. Prompts that name the beard and prompts that do not are drawn from the model and from each edited one, and
    attribute classifiers trained on faces without associations say what they show. Takes about an hour on two cores; commands
    that have ended are not run again.

    Examples:

      python -m bench erasing

      python -m bench erasing --count 32 --out out/short
    """

    out: Path = Path("out/erasing")
    """Output folder."""
    count: int = 256
    """Images for each prompt."""
    scale: float = 3
    """Guidance scale."""
    steps: int = 25
    """Steps of DDIM."""

    def __post_init__(self):
        for name in ("count", "steps"):
            if getattr(self, name) < 2:
                raise InputError(f"--{name} must be at least 2, got {getattr(self, name)}")


def erasing(options: Erasing) -> None:
    """Edits the model, and draws and evaluates the sets."""
    real, file = independent(options.out / "independent.npz"), options.out / "prompts.txt"
    file.write_text("".join(f"{each}\n" for each in (*NAMING, *OTHERS)))
    models = {"before": Path("embedded-text")}
    models |= {method: edited("beard", method, options.out) for method in METHODS}
    how = ("--solver", "ddim", "--steps", options.steps, "--guidance-scale", options.scale)
    how += ("--prompts", file, "--count", options.count * len(NAMING + OTHERS))
    sets = [drawn(options.out / name, "--model", model, *how) for name, model in models.items()]
    titles, faces = _faces({"before": sets[0], METHODS[0]: sets[1]})
    write(rows(titles, faces, _SHOWN), options.out / "faces.png")
    judged = ("--attribute", "beard", "--associated", "all", "--real", real)
    run("evaluate", "prompts", "--synthetic", *sets, *judged, "--out", options.out / "report")


def edited(attribute: str, method: str, out: Path) -> Path:
    """The shipped model in which the second phrase of an attribute is erased towards the first, with those of all others
    preserved; written unless it is there."""
    target, concept = PHRASES[attribute]
    phrases = [phrase for name, values in PHRASES.items() if name != attribute for phrase in values]
    kept, folder = out / "kept.txt", out / f"model-{method}"
    kept.write_text("".join(f"{each}\n" for each in (prompt(), "square person", "round person", *phrases)))
    if not folder.exists():
        edit = ("--erase", concept, "--towards", target, "--preserve", kept, "--method", method)
        run("sample", "edit-model", "--model", "embedded-text", *edit, "--out", folder)
    return folder


def _faces(sets: Mapping[str, Path]) -> tuple[list[str], list[np.ndarray]]:
    """The first images of two prompts that name the concept, in each set, with a title for each row."""
    titles, images = [], []
    for row, text in enumerate(NAMING[:2]):
        for name, folder in sets.items():
            samples = SampleSet.open(folder)
            own = np.flatnonzero(samples.labels[:, 0] == row)[:_SHOWN]
            titles.append(f"{name}: {text}")
            images.append(np.stack([samples.image(i) for i in own]).repeat(2, 1).repeat(2, 2))
    return titles, images
