"""Files of prompts: a template with its values, a table with a row for each prompt, or one prompt on each line."""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxdiff.boundary import read_text, reading
from jaxdiff.bounds import Bounds, shortened
from jaxdiff.conditions import published_prompts, templates
from jaxdiff.conditions.templates import MOST_PROMPTS, PROMPT, PromptTable
from jaxdiff.data.attributes import Attribute
from jaxdiff.errors import InputError

SEED, GUIDANCE = "seed", "guidance"
"""The columns of the seed and the scale of guidance of a prompt."""
CATEGORY = "category"
"""The column of the category of a prompt, or of several, separated by commas."""
_BOUNDS = {SEED: Bounds(least=0, most=2**32 - 1), GUIDANCE: Bounds(least=0)}


@dataclass(frozen=True)
class PromptFile:
    """What a file says of prompts.

    Attributes:
        table: the prompts, without attributes or with the attribute `prompt`, or of the template's attributes.
        seeds: the seed of each prompt, None for a prompt without; None for a file without the column.
        scales: the scale of classifier-free guidance of each prompt, likewise.
        categories: the categories of each prompt; None for a file without the column.
    """

    table: PromptTable
    seeds: tuple[int | None, ...] | None = None
    scales: tuple[float | None, ...] | None = None
    categories: tuple[tuple[str, ...], ...] | None = None


def read(file: str | os.PathLike) -> PromptFile:
    """The prompts of a file: TOML with a template, CSV with a column `prompt`, or text with one prompt on each line.

    A CSV file may have the columns `seed`, whole numbers, `guidance`, scales of at least 0, and `category`, names separated by
    commas; a cell may be empty. Other columns are left out, as are prompts that are there again, whose categories are joined.

    Arguments:
        file: the file; its suffix says which of these it is. Or `NAME:FILE`, for the user's copy of a published set of prompts,
            one of `jaxdiff.conditions.published_prompts.SETS`: its columns and its number of rows are checked; of prompts that
            are there again the first counts, and at most 10,000 are read.

    Raises:
        InputError: the file is missing or damaged, has no prompt or too many, or a seed or a scale is no number, is out of
            range, or differs for the same prompt.
    """
    file = Path(file)
    if (published := published_prompts.split(file)) is not None:
        known, copy = published
        with reading(copy):
            found = published_prompts.rows(known, copy, MOST_PROMPTS)
            return _of_rows(copy, list(enumerate(found, 2)), list(found[0]) if found else [])
    if file.suffix.lower() == ".toml":
        return PromptFile(templates.read(file))
    with reading(file):
        text = read_text(file)
        if file.suffix.lower() == ".csv":
            return _of_csv(file, text)
        return PromptFile(_table(file, [line.strip() for line in text.splitlines()]))


def _table(file: Path, prompts: Sequence[str]) -> PromptTable:
    different = tuple(dict.fromkeys(prompt for prompt in prompts if prompt))
    if not different:
        raise InputError(f"{file} has no prompt; it takes one on each line")
    if len(different) > MOST_PROMPTS:
        raise InputError(f"{file} has {len(different):,} prompts; at most {MOST_PROMPTS:,} are taken")
    return PromptTable((Attribute(PROMPT, different),), different)


def _of_csv(file: Path, text: str) -> PromptFile:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    header = list(rows.fieldnames or ())
    if PROMPT not in header:
        raise InputError(f"a CSV file of prompts needs a column {PROMPT}; its columns: {shortened(header)}")
    return _of_rows(file, [(rows.line_num, row) for row in rows], header)


def _of_rows(file: Path, rows: Sequence[tuple[int, Mapping[str, str | None]]], header: Sequence[str]) -> PromptFile:
    """The prompts of rows, each with its line, by the names of our columns."""
    prompts, settings = [], dict[str, tuple[int | None, float | None]]()
    categories: dict[str, dict[str, None]] = {}
    for line, row in rows:
        prompt = (row[PROMPT] or "").strip()
        if not prompt:
            continue
        seed, scale = (_number(line, name, row.get(name) or "", bounds) for name, bounds in _BOUNDS.items())
        own = None if seed is None else int(seed), scale
        if settings.setdefault(prompt, own) != own:
            raise InputError(f"line {line}: the prompt {shortened(prompt)} is there with another seed or guidance")
        prompts.append(prompt)
        names = (name.strip() for name in (row.get(CATEGORY) or "").split(","))
        categories.setdefault(prompt, {}).update(dict.fromkeys(name for name in names if name))
    table = _table(file, prompts)
    seeds, scales = zip(*(settings[prompt] for prompt in table.prompts), strict=True)
    return PromptFile(
        table,
        seeds if SEED in header else None,
        scales if GUIDANCE in header else None,
        tuple(tuple(categories[prompt]) for prompt in table.prompts) if CATEGORY in header else None,
    )


def _number(line: int, name: str, cell: str, bounds: Bounds) -> float | None:
    """The number of a cell, None for an empty one. Whole numbers may be written as 7.0, as pandas does beside empty cells."""
    if not cell.strip():
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    fault = "be a number" if math.isnan(value) else bounds.fault(value)
    if fault is None and name == SEED and value != int(value):
        fault = "be a whole number"
    if fault:
        raise InputError(f"line {line}: `{name}` must {fault}, got {shortened(cell)}")
    return value
