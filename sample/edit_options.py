"""Options of `jaxdiff sample edit-model`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff.bounds import Bounds, NonNegative, Positive
from jaxdiff.choices import table
from jaxdiff.errors import InputError

from .registry import flag

METHODS = {
    "uce": "unified concept editing: least squares of what is erased, what is preserved and the change",
    "rece": "UCE, then again in epochs for what would bring the concepts back",
    "speed": "the change lies in the null space of what is preserved",
}
"""What each method does."""
TAKEN_BY = {
    "erase_scale": ("uce", "rece"),
    "preserve_scale": ("uce", "rece"),
    "epochs": ("rece",),
    "closeness": ("rece",),
    "threshold": ("speed",),
}
"""The options that not every method takes, with the methods that do."""


@dataclass(frozen=True)
class EditModel(CheckedOptions):
    """Erases concepts from the weights of a text-to-image model, in closed form, and writes the edited model as a folder of
    diffusers.

    The outputs of the keys and values of cross attention for each concept become those for its target, while those for the
    targets, the empty prompt and --preserve stay as well as they can. A table says how far each moved. Phrase concepts as the
    captions that the model was trained on do, and preserve many prompts, above all those that share words with concepts: what
    is not preserved moves, too.

    An item of --erase and --preserve that ends with .txt is a file with a prompt on each line.

    Examples:

      jaxdiff sample edit-model --model ~/models/stable-diffusion-v1-5 --erase "Van Gogh" --towards "art"
          --preserve "Monet" "Rembrandt" --out runs/erased

      jaxdiff sample edit-model --model ~/models/stable-diffusion-v1-5 --erase concepts.txt --preserve captions.txt
          --method rece --epochs 2 --out runs/erased
    """

    model: Path
    """Text-to-image model: a folder of diffusers, or embedded-text."""
    erase: tuple[str, ...]
    """Concepts to erase: prompts, or text files with one on each line."""
    out: Path
    """Output folder; must not exist or be empty."""
    towards: tuple[str, ...] = ("",)
    """The prompt whose outputs the concepts get, or one for each; by default the empty prompt."""
    preserve: tuple[str, ...] = ()
    """Prompts whose outputs are to stay, or text files with one on each line."""
    method: Literal["uce", "rece", "speed"] = "uce"
    """How the weights are edited; see the table above."""
    regulariser: Positive | None = None
    """Weight of the squared size of the change, on the scale of the squared norm of a token's state; by default 0.1 of uce and
    rece, 1 of speed. A smaller one comes closer to the targets, and moves more of what is not preserved."""
    erase_scale: NonNegative = 1.0
    """uce, rece: weight of what is erased."""
    preserve_scale: NonNegative = 1.0
    """uce, rece: weight of what is preserved."""
    epochs: Annotated[int, Bounds(least=0, limit=1000)] = 3
    """rece: epochs, of one edit each, after the first edit."""
    closeness: Positive = 0.1
    """rece: weight of the norm of the states that are derived in an epoch."""
    threshold: Positive = 1e-4
    """speed: directions in which preserved states have less than this share of their mean squared norm may change."""
    dry_run: bool = False
    """Edit the weights, print the table, and write nothing."""

    def __post_init__(self):
        super().__post_init__()
        for name, methods in TAKEN_BY.items():
            if self.method not in methods and (given := getattr(self, name)) != getattr(type(self), name):
                raise InputError(
                    f"{flag(name)} is for --method {' and '.join(methods)}, got {given} with --method {self.method}"
                )

    def settings(self) -> dict[str, float]:
        """The options of the method."""
        own = {name: getattr(self, name) for name, methods in TAKEN_BY.items() if self.method in methods}
        return own | ({} if self.regulariser is None else {"regulariser": self.regulariser})


def tables() -> str:
    """The table of methods, for the help."""
    return table(Methods=METHODS)
