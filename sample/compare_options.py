"""Options of `jaxdiff sample compare`."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff._console.commands import parsed
from jaxdiff.bounds import Count, Seed, Size
from jaxdiff.errors import InputError

if TYPE_CHECKING:
    from .options import Draw

OWN = ("--prompts", "--prompt", "--attribute", "--values", "--count", "--seed", "--out", "--format", "--dry-run")
"""Options of `sample draw` that a column does not take."""


@dataclass(frozen=True)
class Compare(CheckedOptions):
    """Draws one picture of several defences of a text-to-image model: a column for each, and a row for each prompt.

    All columns start from the same noise. Each is a set of its own, drawn as by `jaxdiff sample draw` into OUT/NAME, which
    `jaxdiff evaluate safety` and `prompts` take. Writes OUT/compare.png. Run the same command again to resume.

    For example:

      jaxdiff sample compare --model embedded-text --prompts prompts.csv --out out/figure
          --columns "plain: --guidance-scale 3 --solver ddim --steps 25" "negative prompt: --negative 'a face with glasses'"
          "erased: --model out/no-glasses"
    """

    model: Path
    """Text-to-image model: a folder of diffusers, or `embedded-text`."""
    prompts: Path
    """File of prompts, as of `jaxdiff sample draw --prompts`."""
    out: Path
    """Output folder of the picture and the sets."""
    columns: tuple[str, ...] = ()
    """Columns from left to right, each NAME: OPTIONS of `jaxdiff sample draw`. The options of the first column are those of the
    others too, which add their own; --model there is an edited model, with images of the same size."""
    images: Size = 1
    """Images of each prompt, one below the other."""
    batch_size: Count | None = None
    """Images per batch, as of `jaxdiff sample draw`."""
    seed: Seed = 0
    """Random seed."""

    def __post_init__(self):
        super().__post_init__()
        names = [name for name, _ in self._split()]
        slugs = {_slug(name) for name in names}
        if not names or len(slugs) < len(names) or "" in slugs:
            raise InputError(f"--columns takes one or more columns NAME: OPTIONS with different names, got {names or 'none'}")
        self.draws(1)

    def draws(self, count: int) -> "dict[str, Draw]":
        """The options of each column by name, to draw `count` images.

        Raises:
            InputError: a column has options that `sample draw` refuses, or that are not its own.
        """
        from . import command_line

        columns = self._split()
        given = ["--prompts", str(self.prompts), "--count", str(count), "--seed", str(self.seed)]
        given += [] if self.batch_size is None else ["--batch-size", str(self.batch_size)]
        draws = {}
        for place, (name, own) in enumerate(columns):
            if wrong := [word for word in own if word.split("=")[0] in OWN]:
                raise InputError(f"--columns {name!r} has {wrong[0]}, which all columns share or do not take")
            options = [*columns[0][1], *(own if place else [])]
            edited = any(word.split("=")[0] == "--model" for word in options)
            words = [*([] if edited else ["--model", str(self.model)]), *given, "--out", str(self.out / _slug(name)), *options]
            try:
                draws[name] = parsed(command_line.DrawOptions, "jaxdiff sample draw", words).command
            except InputError as error:
                raise InputError(f"--columns {name!r}: {error}") from error
            except SystemExit as error:
                raise InputError(f"--columns {name!r} has options that `jaxdiff sample draw` does not take") from error
        return draws

    def _split(self) -> list[tuple[str, list[str]]]:
        """The name of each column, and its options as words."""
        found = []
        for column in self.columns:
            name, _, options = column.partition(":")
            try:
                found.append((name.strip(), shlex.split(options)))
            except ValueError as error:
                raise InputError(f"--columns {column!r} has an open quotation mark") from error
        return found


def _slug(name: str) -> str:
    """The folder of a column."""
    return re.sub(r"[^\w+-]+", "-", name.lower()).strip("-")
