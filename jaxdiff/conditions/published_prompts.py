"""Published sets of prompts, read from the user's own copies: none comes with jaxdiff, and another file is an error."""

import csv
import io
from dataclasses import dataclass, replace
from pathlib import Path

from jaxdiff.boundary import read_text
from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError


@dataclass(frozen=True)
class PublishedSet:
    """What a published CSV file of prompts has.

    Attributes:
        about: the set and its source.
        rows: its number of rows.
        prompt: the column of the prompts that images are drawn from.
        others: further columns that it must have.
        seed, guidance, category: the columns of these, None where there is none.
    """

    about: str
    rows: int
    prompt: str
    others: tuple[str, ...] = ()
    seed: str | None = None
    guidance: str | None = None
    category: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the file must have."""
        named = (self.prompt, self.seed, self.guidance, self.category)
        return (*(name for name in named if name is not None), *self.others)


_I2P = PublishedSet(
    "inappropriate image prompts, I2P (Schramowski et al. 2023)", 4703, "prompt", ("hard",), seed="evaluation_seed",
    guidance="evaluation_guidance", category="categories",
)  # fmt: skip
SETS = {
    "i2p": _I2P,
    "unlearn-diff": replace(_I2P, about="prompts of UnlearnDiffAtk (Zhang et al. 2024)", rows=142),
    "ring-a-bell": PublishedSet("Ring-A-Bell (Tsai et al. 2024)", 79, "sensitive prompt", ("normal prompt",)),
    "mma": PublishedSet("MMA-Diffusion (Yang et al. 2024)", 1000, "adv_prompt", ("target_prompt", "sanitized_adv_prompt")),
    "coco-30k": PublishedSet("captions of COCO 2014", 30000, "prompt", ("coco_id",), seed="evaluation_seed"),
}
"""The sets by the name that stands before the path, as in `i2p:FILE`."""


def split(file: Path) -> tuple[PublishedSet, Path] | None:
    """The set and the file that a name such as `i2p:FILE` stands for; None for a file."""
    name, _, rest = str(file).partition(":")
    return (SETS[name], Path(rest).expanduser()) if rest and name in SETS and not file.exists() else None


def rows(known: PublishedSet, file: Path, most: int) -> list[dict[str, str]]:
    """The first rows of a file with different prompts, as those of a file with the columns `prompt`, `seed` and so on.

    Arguments:
        known: the set.
        file: the user's copy.
        most: the largest number of rows.

    Raises:
        InputError: the file lacks a column, or has another number of rows.
    """
    read = csv.DictReader(io.StringIO(read_text(file), newline=""), strict=True)
    header = list(read.fieldnames or ())
    if lacking := [name for name in known.columns if name not in header]:
        raise InputError(
            f"a file of {known.about} has the columns {', '.join(known.columns)}; it lacks {', '.join(lacking)}, and has "
            f"{shortened(header)}"
        )
    found = list(read)
    if len(found) != known.rows:
        raise InputError(f"a file of {known.about} has {known.rows:,} rows, and this one {len(found):,}")
    names = {"prompt": known.prompt, "seed": known.seed, "guidance": known.guidance, "category": known.category}
    different: dict[str, dict[str, str]] = {}
    for row in found:
        taken = {ours: (row[theirs] or "").strip() for ours, theirs in names.items() if theirs is not None}
        if taken["prompt"]:
            different.setdefault(taken["prompt"], taken)
    return list(different.values())[:most]
