"""The options of commands that estimate something of a label from samples drawn without it."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff.bounds import Seed, Size
from jaxdiff.choices import SOLVERS, SPACINGS, table

from .solving import Solving


@dataclass(frozen=True, kw_only=True)
class FromUnlabelled(Solving):
    """Samples drawn without a label, and the label."""

    model: Path
    """Trained model: the folder of a run, or its model.safetensors."""
    attribute: str | None = None
    """Attribute whose label is looked for, or several joined by + for their combinations; by default the model's only one."""
    count: Size = 64
    """Samples that are drawn; a multiple of the number of devices."""
    seed: Seed = 0
    """Random seed."""


def tables() -> str:
    """The tables of the help."""
    return table(Solvers=SOLVERS, Spacings=SPACINGS)
